"""TensorRT under Paddle Inference: the shapes of inner tensors for ``.pdmodel``, the conversion for ``.json``.

Both need a GPU and are done once for a network, a batch and a size; what they make is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.cache import user_cache_dir
from streammatte.engines.paddle_config import PaddleSettings, input_shape, make_config
from streammatte.errors import EngineUnavailableError, ModelError
from streammatte.zoo.program import told

__all__ = ["prepare", "shape_ranges"]

log = logging.getLogger(__name__)

Ranges = dict[str, tuple[tuple[int, ...], ...]]


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
        This Paddle was built without TensorRT.
    ModelError
        The network cannot be run or converted.
    """
    ranges = shape_ranges(_input_names(settings), size, settings.batch)
    folder = user_cache_dir("tensorrt", _key(settings, ranges))
    ready = replace(settings, shapes=folder / "shapes.pbtxt", cache=folder)
    try:
        if settings.converted:
            return _converted(ready, ranges, folder)
        if not (folder / "shapes.pbtxt").is_file():
            _collect(ready, ranges)
    except RuntimeError as error:
        raise ModelError(
            f"{settings.program} cannot be prepared for TensorRT: {told(error)}; run it without --trt"
        ) from error
    return ready


def _collect(settings: PaddleSettings, ranges: Ranges) -> None:
    """Run every shape once under Paddle's recorder, which writes its file when the predictor ends."""
    from paddle import inference

    log.info("recording the shapes of %s for TensorRT", settings.program.name)
    predictor = inference.create_predictor(make_config(settings, collect=True))
    for step in range(3):
        for name, range_ in ranges.items():
            predictor.get_input_handle(name).copy_from_cpu(np.zeros(range_[step], np.float32))
        predictor.run()
    del predictor
    if settings.shapes is None or not settings.shapes.is_file():
        raise ModelError(f"Paddle wrote no shapes for {settings.program}; run it without --trt")


def _converted(settings: PaddleSettings, ranges: Ranges, folder: Path) -> PaddleSettings:
    """Put TensorRT into a ``.json`` program (Paddle 3.x); the result stands in the cache."""
    program, params = folder / "model.json", folder / "model.pdiparams"
    if not (program.is_file() and params.is_file()):
        tensorrt = _tensorrt()
        log.info("building TensorRT engines for %s, once; this takes minutes", settings.program.name)
        inputs = [
            tensorrt.Input(min_input_shape=low, optim_input_shape=best, max_input_shape=high, name=name)
            for name, (low, best, high) in ranges.items()
        ]
        config = tensorrt.TensorRTConfig(inputs=inputs)
        half = settings.precision == "f16"
        config.precision_mode = tensorrt.PrecisionMode.FP16 if half else tensorrt.PrecisionMode.FP32
        work = folder / "building"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        config.save_model_dir = str(work / "model")
        tensorrt.convert(str(settings.program.with_suffix("")), config)
        (work / "model.pdiparams").replace(params)
        (work / "model.json").replace(program)
    return replace(settings, program=program, params=params)


def _tensorrt() -> Any:
    try:
        from paddle.tensorrt import export
    except ImportError as error:
        raise EngineUnavailableError(
            "this Paddle has no TensorRT; install a paddlepaddle-gpu that has, or run without --trt"
        ) from error
    return export


def _input_names(settings: PaddleSettings) -> list[str]:
    """Only a predictor knows them; the cheapest one is on the CPU with plain kernels."""
    from paddle import inference

    plain = replace(settings, device="cpu", precision="f32", trt=False, onednn=False)
    return list(inference.create_predictor(make_config(plain)).get_input_names())


def _key(settings: PaddleSettings, ranges: Ranges) -> str:
    import paddle

    told = (paddle.__version__, settings.device, settings.precision, sorted(ranges.items()))
    digest = hashlib.sha256(repr(told).encode())
    for path in (settings.program, settings.params):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:24]
