"""Which CPU kernels of the installed Paddle can run a network, found by trying in another process.

oneDNN of some versions refuses some networks at the first run, and a damaged file can end the whole process; neither
reaches the caller's process this way. The verdict is kept, so a network is tried once; what may pass (no time, no
memory, no other process) is no verdict.
"""

from __future__ import annotations

import logging
import platform
from pathlib import Path

from streammatte.cache import user_cache_dir
from streammatte.engines.paddle.cache import digest, keep, recall
from streammatte.engines.paddle.config import PaddleSettings, check_inputs, input_shape, make_config
from streammatte.engines.paddle.subprocess_call import Answer, call_in_child
from streammatte.errors import ModelError
from streammatte.models.graph import TRIMAP

__all__ = ["choose_kernels", "in_child"]

log = logging.getLogger(__name__)

LONGEST_RUN = 300.0
"""Seconds for importing Paddle and one run: the slowest network at 2048 stays well below. A try of oneDNN makes two."""
AGREEMENT = 1e-2
"""Largest difference of alpha that oneDNN may have from the plain kernels; reordered float32 sums stay below 1e-4."""


def choose_kernels(settings: PaddleSettings, size: tuple[int, int], version: str) -> bool:
    """True where oneDNN runs the network and agrees with the plain kernels; False where only these run it.

    Parameters
    ----------
    settings : PaddleSettings
        Names the model and the threads.
    size : (int, int)
        Height and width to try.
    version : str
        Of Paddle; a new one is tried anew.

    Raises
    ------
    ModelError
        Neither runs it: the files are damaged, or need another version.
    """
    key = digest((version, size, _processor()), settings.program, settings.params)
    verdict = user_cache_dir("paddle") / f"kernels-{key}"
    kernels, _, reason = recall(verdict).partition("\n")
    if kernels not in ("onednn", "plain"):
        found = _try(settings, size, version)
        if found.kind == "passing":
            log.warning(
                "Paddle %s: oneDNN could not be tried with %s (%s), so it runs without, several times slower; "
                "--engine openvino is faster on the CPU",
                version,
                settings.program.name,
                found.reason,
            )
            return False
        kernels, reason = ("onednn", "") if found.kind == "done" else ("plain", found.reason)
        keep(verdict, f"{kernels}\n{reason}")
    if kernels == "plain":
        log.warning(
            "Paddle %s runs %s without oneDNN, several times slower; --engine openvino is faster on the CPU",
            version,
            settings.program.name,
        )
        log.info("oneDNN does not run %s: %s", settings.program, reason)
    return kernels == "onednn"


def _try(settings: PaddleSettings, size: tuple[int, int], version: str) -> Answer:
    """How oneDNN did. Raises ModelError where the plain kernels refuse too."""
    asked = (str(settings.program), str(settings.params), str(settings.threads), *map(str, size))
    found = call_in_child(__name__, "onednn", *asked, seconds=2 * LONGEST_RUN)
    if found.kind == "refused":
        plain = call_in_child(__name__, "plain", *asked, seconds=LONGEST_RUN)
        if plain.kind == "refused":
            raise ModelError(
                f"{settings.program} does not run on Paddle {version} ({plain.reason}); export or fetch it again"
            )
    if found.kind == "model":
        raise ModelError(found.reason)
    return found


def _processor() -> str:
    """The processor's model and what it can do: oneDNN chooses its kernels by them."""
    told = recall(Path("/proc/cpuinfo")).splitlines()
    lines = [next((line for line in told if line.startswith(name)), "") for name in ("model name", "flags", "Features")]
    return "".join(lines) or platform.processor() or platform.machine()


def in_child(kernels: str, program: str, params: str, threads: str, height: str, width: str) -> None:
    """Run the network once with the plain kernels and, for ``onednn``, once with those; raises where they differ."""
    import numpy as np
    import paddle
    from paddle import inference

    major = int(paddle.__version__.split(".")[0])
    results = []
    for onednn in (False, True) if kernels == "onednn" else (False,):
        settings = PaddleSettings(Path(program), Path(params), threads=int(threads), onednn=onednn, major=major)
        predictor = inference.create_predictor(make_config(settings)[0])
        names = predictor.get_input_names()
        check_inputs(names, settings.program)
        rng = np.random.default_rng(0)
        for name in names:
            value = rng.random(input_shape(name, (int(height), int(width))), np.float32)
            if name == TRIMAP:  # attention over unknown pixels needs some of every kind
                value = np.select([value < 0.3, value > 0.7], [0.0, 255.0], 128.0).astype(np.float32)
            predictor.get_input_handle(name).copy_from_cpu(value)
        predictor.run()
        results.append(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
    # not-a-number in both is the network's own doing (untrained weights), not the kernels'
    if not np.allclose(results[0], results[-1], rtol=0.0, atol=AGREEMENT, equal_nan=True):
        raise ArithmeticError("alpha differs from the plain kernels'")
