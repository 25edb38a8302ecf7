"""From a Paddle network to what the engines read: ONNX, then OpenVINO IR with the normalisation inside.

Exported graphs keep batch, height and width open; the engine makes them static when it compiles. Needs the ``export``
extra (paddlepaddle, paddle2onnx, nncf); each package is imported by the function that uses it.
"""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, EngineUnavailableError, ModelError
from streammatte.zoo.graph import normalised

__all__ = ["quantise", "repair", "save_openvino", "to_onnx", "to_openvino"]

OPSET = 17
"""ONNX operator set: the newest that both paddle2onnx and today's engines know in full."""


def to_onnx(
    network: Any,
    path: str | Path,
    forward: Callable[..., Any] | None = None,
    size: tuple[int, int] | None = None,
    trimap: bool = False,
) -> Path:
    """Write a network as ONNX.

    Parameters
    ----------
    network : paddle.nn.Layer
        Put into evaluation mode.
    path : path
        The ``.onnx`` to write.
    forward : callable, optional
        What to export instead of ``network.forward``: a method that takes the image and gives alpha.
    size : (int, int), optional
        Fixed height and width; without it both stay open.
    trimap : bool
        Whether the network takes a trimap (N, 1, H, W) as its second input, ``trimap``.

    Raises
    ------
    EngineUnavailableError
        Paddle or paddle2onnx is not installed.
    ModelError
        The network cannot be converted.
    """
    paddle, paddle2onnx = _need("paddle"), _need("paddle2onnx")
    network.eval()
    run = forward or network

    class Traced(paddle.nn.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any, trimap: Any = None) -> Any:
            return run(image) if trimap is None else run(image, trimap)

    # the networks are traced as they run: Paddle's source transformation knows only a part of Python
    paddle.jit.ignore_module([sys.modules[name] for name in list(sys.modules) if name.startswith("streammatte.zoo")])
    height, width = size or (None, None)
    channels = {"image": 3, "trimap": 1} if trimap else {"image": 3}
    spec = [paddle.static.InputSpec([None, c, height, width], "float32", name) for name, c in channels.items()]
    with tempfile.TemporaryDirectory(prefix="streammatte-export-") as folder:
        try:
            paddle.jit.save(paddle.jit.to_static(Traced(), input_spec=spec, full_graph=True), f"{folder}/model")
            graph = next(p for p in Path(folder).iterdir() if p.suffix in (".json", ".pdmodel"))
            paddle2onnx.export(
                str(graph), f"{folder}/model.pdiparams", str(path), opset_version=OPSET, optimize_tool="None"
            )
        except (RuntimeError, TypeError, ValueError, StopIteration) as error:
            raise ModelError(f"{type(network).__name__} cannot be written as ONNX: {error}") from error
    repair(Path(path))
    return Path(path)


def repair(path: Path) -> None:
    """Correct what the converter gets wrong in an ONNX file.

    Where a resize's result is one pixel long Paddle takes the first pixel; the converter writes ``half_pixel``, which
    takes the centre. And it leaves the value that a map is padded with uninitialised; the networks pad with zero, which
    is what the operator takes when told nothing.
    """
    onnx = _need("onnx")
    model = onnx.load(str(path))
    for node in model.graph.node:
        if node.op_type == "Pad":
            del node.input[2:]
        for attribute in node.attribute:
            if node.op_type == "Resize" and attribute.s == b"half_pixel":
                attribute.s = b"pytorch_half_pixel"
    onnx.save(model, str(path))


def to_openvino(onnx: str | Path, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Read an ONNX network (input (N, 3, H, W), output (N, 1, h, w)) and put the normalisation in front.

    Returns
    -------
    openvino.Model
        As :func:`streammatte.zoo.graph.normalised` gives it.
    """
    import openvino as ov

    model = normalised(ov.convert_model(str(onnx)), mean, std)
    model.set_friendly_name(Path(onnx).stem)
    return model


def quantise(model: Any, samples: Iterable[tuple[npt.NDArray[np.uint8], ...]], count: int) -> Any:
    """Post-training quantisation to 8 bits; attention's products and the convolution that reads the picture stay float.

    Measured on the embedded network: that first convolution in float takes 2 % more time, brings alpha a fifth closer
    to the float network's, and takes away a fifth of the haze that 8 bits lay over rooms with nobody in them.

    Parameters
    ----------
    model : openvino.Model
        As :func:`to_openvino` gives it.
    samples : iterable of tuple
        A picture (H, W, 3) uint8 RGB, and its trimap (H, W, 1) uint8 for a network that needs one: what the network
        will see; sides multiples of 32; varied.
    count : int
        How many of them to use.

    Raises
    ------
    ConfigError
        There are fewer pictures than ``count``.
    """
    nncf = _need("nncf")
    batches = [[part[None] for part in sample] for sample, _ in zip(samples, range(count), strict=False)]
    if len(batches) < count:
        raise ConfigError(f"calibration needs {count} pictures, found {len(batches)}; give a larger folder")
    first = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"][:1]
    scope = nncf.IgnoredScope(names=first, types=["MatMul"], validate=False)
    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        subset_size=count,
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=scope,
        fast_bias_correction=True,
    )


def save_openvino(model: Any, path: str | Path, half: bool = True) -> int:
    """Write IR (``.xml`` and ``.bin``), weights in float16 where ``half``; gives the bytes of both files.

    Operations are numbered anew and white space is left out: the file is smaller and the same from run to run.
    """
    import openvino as ov

    path = Path(path)
    for number, operation in enumerate(model.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}{number}")
    ov.save_model(model, str(path), compress_to_fp16=half)
    path.write_text(re.sub(r">\s+<", "><", path.read_text(encoding="utf-8")), encoding="utf-8")
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size


def _need(package: str) -> Any:
    """Import a package of the ``export`` extra."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"exporting needs {package}, which is not installed; install streammatte[export]"
        ) from error
