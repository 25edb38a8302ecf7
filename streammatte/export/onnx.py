"""From a Paddle network to what the engines read: ONNX, then OpenVINO IR with the normalisation inside.

Exported graphs keep batch, height and width open unless a size is given; the engine makes them static when it compiles.
Needs the ``export`` extra (paddlepaddle, paddle2onnx); each package is imported by the function that uses it.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from streammatte.errors import ModelError
from streammatte.export.paddle_program import PARAMS, check_room, write_program
from streammatte.models.graph import RULE_KEY, rule_text
from streammatte.models.input_rule import InputRule
from streammatte.optional_imports import import_openvino, message, need

__all__ = ["onnx_to_onnx", "program_to_onnx", "save_openvino", "to_onnx"]

OPSET = 17
"""ONNX operator set: the newest that both paddle2onnx and today's engines support in full."""

Size = tuple[int, int] | None
"""Fixed height and width; None leaves both open."""


def to_onnx(network: Any, path: str | Path, size: Size = None, rule: InputRule | None = None) -> Path:
    """Write a network as ONNX; of one that has an ``alpha_half`` that is written.

    Parameters
    ----------
    network : paddle.nn.Layer
        Put into evaluation mode.
    path : path
        The ``.onnx`` to write.
    size : (int, int), optional
        Fixed height and width; without it both stay open.
    rule : InputRule, optional
        Whether there is a second input, ``trimap``; written into the file, where
        :func:`streammatte.models.graph.read_facts` finds it.

    Raises
    ------
    EngineUnavailableError
        Paddle or paddle2onnx is not installed.
    ModelError
        The network cannot be converted.
    OSError
        The disk is full.
    """
    rule = rule or InputRule()
    with tempfile.TemporaryDirectory(prefix=".streammatte-", dir=Path(path).parent) as folder:
        program = write_program(network, Path(folder), "image", trimap=rule.trimap, size=size)
        model = _from_paddle(program, program.with_name(PARAMS), type(network).__name__)
    return _write(model, Path(path), rule)


def program_to_onnx(program: Path, params: Path, path: Path, size: Size, rule: InputRule) -> Path:
    """Write a Paddle program (``.pdmodel`` or ``.json``, and ``.pdiparams``) as ONNX; otherwise as :func:`to_onnx`.

    Parameters
    ----------
    program, params : Path
        The program's file and its weights.
    path : Path
        The ONNX file to write.
    size : (int, int)
        Height and width.
    rule : InputRule
        Written into the file's metadata.
    """
    model = _from_paddle(program, params, str(program))
    return _write(_sized(model, size, program) if size else model, path, rule)


def onnx_to_onnx(source: Path, path: Path, size: tuple[int, int], rule: InputRule) -> Path:
    """Write an ONNX file again with its height and width fixed. Raises ModelError where it cannot take them.

    Parameters
    ----------
    source, path : Path
        The file, and the one to write.
    size : (int, int)
        Height and width.
    rule : InputRule
        Written into the file's metadata.
    """
    onnx = need("onnx")
    try:
        model = onnx.load(str(source))
    except need("google.protobuf.message").DecodeError as error:
        raise ModelError(f"{source} cannot be read as ONNX: {message(error)}") from error
    return _write(_sized(model, size, source), path, rule)


def _from_paddle(program: Path, params: Path, name: str) -> Any:
    """A program as an ONNX model, corrected."""
    paddle2onnx, onnx = need("paddle2onnx"), need("onnx")
    try:
        data = paddle2onnx.export(str(program), str(params), None, opset_version=OPSET, optimize_tool="None")
    except NameError as error:  # it prints the error and then returns an unbound result
        raise ModelError(f"{name} cannot be written as ONNX; paddle2onnx names the operator in the log") from error
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise ModelError(f"{name} cannot be written as ONNX: {message(error)}") from error
    model = onnx.load_from_string(data)
    _repair(model)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:  # weights that were cut off, say
        raise ModelError(f"{name} cannot be written as ONNX: {message(error)}; fetch or export it again") from error
    return model


def _repair(model: Any) -> None:
    """Correct what the converter gets wrong.

    Where a resize's result is one pixel long Paddle takes the first pixel; the converter writes ``half_pixel``, which
    takes the centre. And it leaves the value that a map is padded with uninitialised; the networks pad with zero, which
    is the operator's default.
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
    del model.graph.value_info[:]  # shapes of the open sides
    for port in model.graph.output:
        for dim in list(port.type.tensor_type.shape.dim)[1:]:
            if dim.dim_value <= 0:
                dim.Clear()
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"{source} cannot take images of {size[1]}x{size[0]}: {message(error)}") from error


def _write(model: Any, path: Path, rule: InputRule) -> Path:
    properties = {entry.key: entry.value for entry in model.metadata_props}
    need("onnx").helper.set_model_props(model, properties | {RULE_KEY: rule_text(rule, normalises=False)})
    path.write_bytes(model.SerializeToString())
    return path


def save_openvino(model: Any, path: str | Path, half: bool = True) -> int:
    """Write IR (``.xml`` and ``.bin``), weights in float16 where ``half``; returns the bytes of both files.

    Operations are renumbered and white space is left out: the file is smaller and the same from run to run.

    Parameters
    ----------
    model : openvino.Model
    path : path
        The ``.xml``.
    half : bool

    Raises
    ------
    ModelError
        The model cannot be written.
    OSError
        The disk is full.
    """
    ov = import_openvino()

    path = Path(path)
    for number, operation in enumerate(model.get_ordered_ops()):
        if operation.get_type_name() not in ("Parameter", "Result"):
            operation.set_friendly_name(f"{operation.get_type_name()}{number}")
    try:
        ov.save_model(model, str(path), compress_to_fp16=half)
    except RuntimeError as error:
        for written in (path.with_suffix(".bin"), path):
            check_room(written)
        raise ModelError(f"{path} cannot be written: {message(error)}") from error
    path.write_text(re.sub(r">\s+<", "><", path.read_text(encoding="utf-8")), encoding="utf-8")
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size
