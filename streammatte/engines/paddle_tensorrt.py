"""TensorRT under Paddle Inference: the shapes of inner tensors for ``.pdmodel``, the conversion for ``.json``.

Both need a GPU and are done once for a network, a batch, a size and a kind of GPU; what they make is kept in the user's
cache, in one folder each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.cache import user_cache_dir
from streammatte.engines.paddle_cache import digest, keep, locked, recall
from streammatte.engines.paddle_calls import paddle_calls
from streammatte.engines.paddle_config import PaddleSettings, check_inputs, gpu_index, input_shape, make_config
from streammatte.engines.paddle_convert import Ranges, convert
from streammatte.errors import EngineUnavailableError, ModelError, StreammatteError
from streammatte.zoo.program import import_paddle

__all__ = ["building", "check_tensorrt", "input_names", "prepare", "record_shapes", "shape_ranges"]

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
