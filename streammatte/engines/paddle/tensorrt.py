"""TensorRT under Paddle Inference: the shapes of inner tensors for ``.pdmodel``, the conversion for ``.json``.

Both need a GPU and are done once for a network, a batch, a size and a kind of GPU; what they make is kept in the user's
cache, in one folder each.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.cache import user_cache_dir
from streammatte.engines.paddle.cache import digest, keep, locked, recall
from streammatte.engines.paddle.config import (
    TRT_SMALLEST_SUBGRAPH,
    TRT_WORKSPACE,
    PaddleSettings,
    check_inputs,
    gpu_index,
    input_shape,
    make_config,
)
from streammatte.engines.paddle.errors import paddle_calls
from streammatte.engines.paddle.subprocess_call import call_in_child
from streammatte.errors import EngineUnavailableError, ModelError, StreammatteError
from streammatte.optional_imports import import_paddle

__all__ = [
    "Ranges",
    "building",
    "check_tensorrt",
    "convert",
    "in_child",
    "input_names",
    "only_gpu",
    "prepare",
    "record_shapes",
    "shape_ranges",
]

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


log = logging.getLogger(__name__)

WITHOUT = "run it without --trt"


def shape_ranges(names: Iterable[str], size: tuple[int, int], batch: int) -> Ranges:
    """Smallest, most frequent and largest shape of each input: batches of 1 to ``batch``, whole ones most often.

    Height and width are the ones the engine was opened for.
    """
    whole = {name: input_shape(name, size, batch) for name in sorted(names)}
    return {name: (input_shape(name, size), shape, shape) for name, shape in whole.items()}


def prepare(settings: PaddleSettings, size: tuple[int, int]) -> PaddleSettings:
    """Settings whose program, shapes and cache are ready for TensorRT.

    Raises
    ------
    EngineUnavailableError
        This Paddle was built without TensorRT, or its library is not here.
    ModelError
        The network cannot be run or converted.
    """
    check_tensorrt(settings)
    key = digest((_hardware(settings), settings.precision, settings.batch, size), settings.program, settings.params)
    folder = user_cache_dir("tensorrt", key).resolve()  # converted programs name their engines by it
    shapes = folder / "shapes.pbtxt"
    try:
        with locked(folder):
            ranges = shape_ranges(input_names(settings, folder), size, settings.batch)
            if settings.converted:
                return convert(settings, ranges, folder)
            if not shapes.is_file():
                record_shapes(settings, ranges, shapes)
    except StreammatteError:
        raise
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written ({error.strerror}); set STREAMMATTE_HOME, or {WITHOUT}"
        ) from error
    return replace(settings, shapes=shapes, cache=folder)


@contextmanager
def building(settings: PaddleSettings) -> Iterator[None]:
    """Hold the cache while a predictor is made and runs first, which is when Paddle builds and writes its engines.

    What an earlier process left half written is removed first.
    """
    if settings.cache is None:
        yield
        return
    marker = settings.cache / "ready"
    with locked(settings.cache):
        if not marker.is_file():
            for engine in settings.cache.rglob("trt_serialized_*"):
                engine.unlink()
        yield
        keep(marker, "")


def check_tensorrt(settings: PaddleSettings) -> None:
    """Raises EngineUnavailableError where this Paddle has no TensorRT, or does not find it."""
    from paddle import inference

    built = ".".join(map(str, inference.get_trt_compile_version()))
    if built == "0.0.0":
        raise EngineUnavailableError(
            f"this Paddle was built without TensorRT; install a paddlepaddle-gpu that has it, or {WITHOUT}"
        )
    try:
        inference.get_trt_runtime_version()
    except Exception as error:  # a RuntimeError where the library is not there, others where it does not load
        raise EngineUnavailableError(
            f"this Paddle wants TensorRT {built}, which is not found; install that version and put its folder on "
            f"LD_LIBRARY_PATH, or {WITHOUT}"
        ) from error
    missing = [name for name in ("paddle.tensorrt", "tensorrt") if find_spec(name) is None]
    if settings.converted and missing:
        raise EngineUnavailableError(
            f"TensorRT of a .json program needs the Python package {missing[0]}; install TensorRT {built} with its "
            f"Python package beside a paddlepaddle-gpu for Linux, or {WITHOUT}"
        )


def input_names(settings: PaddleSettings, folder: Path) -> list[str]:
    """Names of a program's inputs, kept in ``folder``. Raises ModelError.

    Only a predictor knows them; the cheapest one is on the CPU with plain kernels.
    """
    from paddle import inference

    kept = folder / "inputs"
    if names := recall(kept).splitlines():
        return names
    plain = replace(settings, device="cpu", precision="f32", trt=False, onednn=False)
    with paddle_calls(f"{settings.program} cannot be read as a Paddle model", "export or fetch it again"):
        names = list(inference.create_predictor(make_config(plain)[0]).get_input_names())
    check_inputs(names, settings.program)
    keep(kept, "\n".join(names))
    return names


def record_shapes(settings: PaddleSettings, ranges: Ranges, shapes: Path) -> None:
    """Run every shape once under Paddle's recorder, which writes the file ``shapes``. Raises ModelError.

    It does so when the predictor ends, also after a run that failed: so the file gets its name afterwards.
    """
    from paddle import inference

    part = shapes.with_name("shapes.part")
    part.unlink(missing_ok=True)
    log.info("recording the shapes of %s for TensorRT", settings.program.name)
    with paddle_calls(f"{settings.program} cannot be prepared for TensorRT", WITHOUT):
        predictor = inference.create_predictor(make_config(replace(settings, shapes=part), collect=True)[0])
        for step in range(3):
            for name, range_ in ranges.items():
                predictor.get_input_handle(name).copy_from_cpu(np.zeros(range_[step], np.float32))
            predictor.run()
        del predictor
    if not part.is_file():
        raise ModelError(f"Paddle wrote no shapes for {settings.program}; {WITHOUT}")
    part.replace(shapes)


def _hardware(settings: PaddleSettings) -> tuple[Any, ...]:
    """What a built engine is good for: this version of everything, this kind of GPU."""
    from paddle import inference

    paddle, index = import_paddle("TensorRT"), gpu_index(settings.device)
    with paddle_calls(f"{settings.device} cannot be asked for its kind", "see nvidia-smi, or take --device cpu"):
        return (
            paddle.__version__,
            paddle.version.cuda(),
            inference.get_trt_runtime_version(),
            paddle.device.cuda.get_device_name(index),
            paddle.device.cuda.get_device_capability(index),
        )
