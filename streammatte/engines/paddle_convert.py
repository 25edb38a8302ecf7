"""TensorRT engines built into a ``.json`` program by ``paddle.tensorrt`` (Paddle 3.x).

That converter takes the first GPU it sees, loads the weights into the process's global scope, prints, and writes into
the program the absolute path of every engine. So it runs in a process that sees the wanted GPU only, and builds where
the files will stay.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from streammatte.engines.paddle_cache import keep, recall
from streammatte.engines.paddle_child import call_in_child
from streammatte.engines.paddle_config import TRT_SMALLEST_SUBGRAPH, TRT_WORKSPACE, PaddleSettings, gpu_index
from streammatte.errors import ModelError

__all__ = ["Ranges", "convert", "in_child", "only_gpu"]

log = logging.getLogger(__name__)

Ranges = dict[str, tuple[tuple[int, ...], ...]]
"""Name of an input -> its smallest, most frequent and largest shape."""
LONGEST_BUILD = 3600.0
"""Seconds a conversion may take: TensorRT times kernels for minutes, for the largest networks at 2048 many of them."""


def convert(settings: PaddleSettings, ranges: Ranges, folder: Path) -> PaddleSettings:
    """Settings for the program with TensorRT in it, built in ``folder`` where it is not there.

    The caller holds that folder, an absolute path. A ``ready`` file, written last, says that all is there, and for
    which path it was made.

    Raises
    ------
    ModelError
        The network cannot be converted.
    """
    program, params, engines = folder / "model.json", folder / "model.pdiparams", folder / "model"
    if recall(folder / "ready") != str(folder):
        shutil.rmtree(engines, ignore_errors=True)
        program.unlink(missing_ok=True)
        log.info("building TensorRT engines for %s, once; this takes minutes", settings.program.name)
        job = {
            "program": str(settings.program),
            "params": str(settings.params),
            "target": str(engines),
            "half": settings.precision == "f16",
            "ranges": ranges,
        }
        environment = only_gpu(gpu_index(settings.device) or 0, os.environ)
        made = call_in_child(__name__, json.dumps(job), seconds=LONGEST_BUILD, environment=environment)
        if made.kind != "done" or not (program.is_file() and params.is_file()):
            reason = made.reason or "Paddle wrote no program"
            raise ModelError(
                f"{settings.program} cannot be prepared for TensorRT: {reason}; run it without --trt "
                "(--log-level debug shows what Paddle said)"
            )
        keep(folder / "ready", str(folder))
    return replace(settings, program=program, params=params)


def only_gpu(index: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables under which GPU ``index`` of this process is the only one of a child."""
    seen = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    kept = {name: value for name, value in environment.items() if name != "FLAGS_selected_gpus"}
    return {**kept, "CUDA_VISIBLE_DEVICES": seen[index] if index < len(seen) else str(index)}


def in_child(job: str) -> None:
    """Convert; the program and its parameters come to stand beside the folder ``target``, which holds the engines."""
    from paddle.tensorrt import export

    told = json.loads(job)
    inputs = [
        export.Input(min_input_shape=low, optim_input_shape=best, max_input_shape=high, name=name)
        for name, (low, best, high) in told["ranges"].items()
    ]
    config = export.TensorRTConfig(inputs=inputs, min_subgraph_size=TRT_SMALLEST_SUBGRAPH)
    config.workspace_size = TRT_WORKSPACE
    config.precision_mode = export.PrecisionMode.FP16 if told["half"] else export.PrecisionMode.FP32
    config.save_model_dir = told["target"]
    with tempfile.TemporaryDirectory(prefix="streammatte-") as folder:
        # the converter takes one stem for both files and finds the parameters by it
        stem = Path(folder) / "model"
        shutil.copyfile(told["program"], stem.with_suffix(".json"))
        shutil.copyfile(told["params"], stem.with_suffix(".pdiparams"))
        export.convert(str(stem), config)
