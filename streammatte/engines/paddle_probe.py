"""Which CPU kernels of the installed Paddle can run a network, found by trying in another process.

oneDNN of some versions refuses some networks at the first run, and a damaged file can end the whole process; neither
reaches the caller's process this way. The verdict is kept, so a network is tried once.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from pathlib import Path

from streammatte.cache import user_cache_dir
from streammatte.engines.paddle_config import PaddleSettings, input_shape, make_config
from streammatte.errors import ModelError
from streammatte.zoo.graph import TRIMAP

__all__ = ["choose_kernels"]

log = logging.getLogger(__name__)

LONGEST_TRY = 300.0
"""Seconds a try may take: importing Paddle and one run of the slowest network at 2048 stay well below."""
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
    program, params = settings.program, settings.params
    verdict = user_cache_dir("paddle") / f"kernels-{_key(program, params, size, version)}"
    if verdict.is_file() and (known := verdict.read_text(encoding="ascii")) in ("onednn", "plain"):
        return known == "onednn"
    asked = [str(program), str(params), str(settings.threads), *map(str, size)]
    refusal = _try("onednn", asked)
    if refusal is not None:
        log.warning(
            "Paddle %s: oneDNN does not run %s (%s); plain kernels, several times slower", version, program, refusal
        )
        broken = _try("plain", asked)
        if broken is not None:
            raise ModelError(f"{program} does not run on Paddle {version} ({broken}); export or fetch it again")
    verdict.write_text("plain" if refusal is not None else "onednn", encoding="ascii")
    return refusal is None


def _key(program: Path, params: Path, size: tuple[int, int], version: str) -> str:
    digest = hashlib.sha256(f"{version} {size}".encode())
    for path in (program, params):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]


def _try(kernels: str, asked: list[str]) -> str | None:
    """None where it ran, else the reason on one line."""
    command = [sys.executable, "-m", __name__, kernels, *asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_TRY, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer in {LONGEST_TRY:.0f} s"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return next(
        (line.split(" (at ")[0].strip()[:200] for line in reversed(lines) if "Error" in line),
        f"exit code {done.returncode}",
    )


def _main(kernels: str, program: str, params: str, threads: str, height: str, width: str) -> int:
    import numpy as np
    from paddle import inference

    results = []
    for onednn in (False, True) if kernels == "onednn" else (False,):
        settings = PaddleSettings(Path(program), Path(params), threads=int(threads), onednn=onednn)
        predictor = inference.create_predictor(make_config(settings))
        rng = np.random.default_rng(0)
        for name in predictor.get_input_names():
            value = rng.random(input_shape(name, (int(height), int(width))), np.float32)
            if name == TRIMAP:  # attention over unknown pixels needs some of every kind
                value = np.select([value < 0.3, value > 0.7], [0.0, 255.0], 128.0).astype(np.float32)
            predictor.get_input_handle(name).copy_from_cpu(value)
        predictor.run()
        results.append(predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
    # not-a-number in both is the network's own doing (untrained weights), not the kernels'
    if not np.allclose(results[0], results[-1], rtol=0.0, atol=AGREEMENT, equal_nan=True):
        sys.stderr.write("Error: alpha differs from the plain kernels'\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
