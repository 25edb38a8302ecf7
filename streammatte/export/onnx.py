"""From a Paddle network to what the engines read: ONNX, then OpenVINO IR with the normalisation inside.

Exported graphs keep batch, height and width open unless a size is given; the engine makes them static when it compiles.
Needs the ``export`` extra (paddlepaddle, paddle2onnx, nncf); each package is imported by the function that uses it.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, ModelError
from streammatte.export.native_output import hushed
from streammatte.export.paddle_program import PARAMS, check_room, write_program
from streammatte.models.graph import RULE_KEY, normalised, rule_text
from streammatte.models.input_rule import InputRule
from streammatte.optional_imports import need, told

__all__ = ["onnx_to_onnx", "program_to_onnx", "quantise", "save_openvino", "to_onnx", "to_openvino"]

log = logging.getLogger(__name__)

OPSET = 17
"""ONNX operator set: the newest that both paddle2onnx and today's engines know in full."""


def to_onnx(
    network: Any,
    path: str | Path,
    forward: Callable[..., Any] | None = None,
    size: tuple[int, int] | None = None,
    trimap: bool = False,
    rule: InputRule | None = None,
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
    rule : InputRule, optional
        Written into the file, where :func:`streammatte.models.graph.read_facts` finds it.

    Raises
    ------
    EngineUnavailableError
        Paddle or paddle2onnx is not installed.
    ModelError
        The network cannot be converted.
    OSError
        The disk is full.
    """
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=Path(path).parent) as folder:
        program = write_program(network, Path(folder), "image", trimap=trimap, size=size, forward=forward)
        model = _from_paddle(program, program.with_name(PARAMS), type(network).__name__)
    return _write(model, Path(path), rule)


def program_to_onnx(
    program: Path, params: Path, path: Path, size: tuple[int, int] | None = None, rule: InputRule | None = None
) -> Path:
    """Write a Paddle program as ONNX; otherwise as :func:`to_onnx`."""
    model = _from_paddle(program, params, str(program))
    return _write(_sized(model, size, program) if size else model, path, rule)


def onnx_to_onnx(source: Path, path: Path, size: tuple[int, int], rule: InputRule | None = None) -> Path:
    """Write an ONNX file again with its height and width fixed. Raises ModelError where it cannot take them."""
    onnx = need("onnx")
    try:
        model = onnx.load(str(source))
    except need("google.protobuf.message").DecodeError as error:
        raise ModelError(f"{source} cannot be read as ONNX: {told(error)}") from error
    return _write(_sized(model, size, source), path, rule)


def _from_paddle(program: Path, params: Path, name: str) -> Any:
    """A program as an ONNX model, corrected."""
    paddle2onnx, onnx = need("paddle2onnx"), need("onnx")
    try:
        with hushed():
            data = paddle2onnx.export(str(program), str(params), None, opset_version=OPSET, optimize_tool="None")
    except NameError as error:  # it prints what went wrong and then returns a result that it never got
        raise ModelError(f"{name} cannot be written as ONNX; paddle2onnx says above which operator it is") from error
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise ModelError(f"{name} cannot be written as ONNX: {told(error)}") from error
    model = onnx.load_from_string(data)
    _repair(model)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:  # weights that were cut off, say
        raise ModelError(f"{name} cannot be written as ONNX: {told(error)}; fetch or export it again") from error
    return model


def _repair(model: Any) -> None:
    """Correct what the converter gets wrong.

    Where a resize's result is one pixel long Paddle takes the first pixel; the converter writes ``half_pixel``, which
    takes the centre. And it leaves the value that a map is padded with uninitialised; the networks pad with zero, which
    is what the operator takes when told nothing.
    """
    for node in model.graph.node:
        if node.op_type == "Pad":
            del node.input[2:]
        for attribute in node.attribute:
            if node.op_type == "Resize" and attribute.s == b"half_pixel":
                attribute.s = b"pytorch_half_pixel"


def _sized(model: Any, size: tuple[int, int], source: Path) -> Any:
    """The model with the height and width of its inputs fixed, and every shape that follows from them."""
    onnx = need("onnx")
    constants = {tensor.name for tensor in model.graph.initializer}  # old files list them among the inputs
    for port in (port for port in model.graph.input if port.name not in constants):
        dims = port.type.tensor_type.shape.dim
        if len(dims) != 4:
            raise ModelError(f"{source} has an input {port.name!r} of {len(dims)} axes, not of four; leave --size out")
        first = 1 if port.type.tensor_type.elem_type == onnx.TensorProto.UINT8 else 2
        for dim, side in zip(dims[first : first + 2], size, strict=True):
            dim.dim_value = side
    del model.graph.value_info[:]  # it speaks of the open sides
    for port in model.graph.output:
        for dim in list(port.type.tensor_type.shape.dim)[1:]:
            if dim.dim_value <= 0:
                dim.Clear()
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"{source} cannot take pictures of {size[0]}x{size[1]}: {told(error)}") from error


def _write(model: Any, path: Path, rule: InputRule | None) -> Path:
    if rule is not None:
        need("onnx").helper.set_model_props(
            model,
            {entry.key: entry.value for entry in model.metadata_props} | {RULE_KEY: rule_text(rule, normalises=False)},
        )
    path.write_bytes(model.SerializeToString())
    return path


def to_openvino(onnx: str | Path, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Read an ONNX network (input (N, 3, H, W), output (N, 1, h, w)) and put the normalisation in front.

    Returns
    -------
    openvino.Model
        As :func:`streammatte.models.graph.normalised` gives it.
    """
    import openvino as ov

    model = normalised(ov.convert_model(str(onnx)), mean, std)
    model.set_friendly_name(Path(onnx).stem)
    return model


def quantise(
    model: Any, samples: Iterable[tuple[npt.NDArray[np.uint8], ...]], count: int, *, accurate: bool = False
) -> Any:
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
    accurate : bool
        Correct biases layer by layer on the quantised network instead of by its float statistics: three times as long.
        On the embedded network MAD of stills is then that of float32 (11.7 for 11.9), and one empty room in 24 that
        was a haze of 0.04 alpha becomes clean.

    Raises
    ------
    ConfigError
        There are fewer pictures than ``count``.
    """
    nncf = need("nncf")
    batches = [[part[None] for part in sample] for sample, _ in zip(samples, range(count), strict=False)]
    if len(batches) < count:
        raise ConfigError(f"calibration needs {count} pictures, found {len(batches)}; give a larger folder")
    first = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"][:1]
    scope = nncf.IgnoredScope(names=first, types=["MatMul"], validate=False)
    with _without_infos("nncf"):
        return nncf.quantize(
            model,
            nncf.Dataset(batches),
            subset_size=count,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=scope,
            fast_bias_correction=not accurate,
        )


@contextmanager
def _without_infos(name: str) -> Iterator[None]:
    """Let a library's log begin at warnings, unless ours is at debug: it has a handler of its own, on what was standard
    output when it was imported.
    """
    theirs = logging.getLogger(name)
    level = theirs.level
    if not log.isEnabledFor(logging.DEBUG):
        theirs.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        theirs.setLevel(level)


def save_openvino(model: Any, path: str | Path, half: bool = True) -> int:
    """Write IR (``.xml`` and ``.bin``), weights in float16 where ``half``; gives the bytes of both files.

    Operations are numbered anew and white space is left out: the file is smaller and the same from run to run.

    Raises
    ------
    ModelError
        The model cannot be written.
    OSError
        The disk is full.
    """
    import openvino as ov

    path = Path(path)
    for number, operation in enumerate(model.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}{number}")
    try:
        ov.save_model(model, str(path), compress_to_fp16=half)
    except RuntimeError as error:
        for written in (path.with_suffix(".bin"), path):
            check_room(written)
        raise ModelError(f"{path} cannot be written: {told(error)}") from error
    path.write_text(re.sub(r">\s+<", "><", path.read_text(encoding="utf-8")), encoding="utf-8")
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size
