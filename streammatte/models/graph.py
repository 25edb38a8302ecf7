"""OpenVINO graphs: the normalisation in front of the network, one form of input and output. Needs no Paddle."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.errors import ConfigError, ModelError
from streammatte.models.input_rule import InputRule, as_table, checked
from streammatte.optional_imports import import_openvino

__all__ = [
    "RULE_KEY",
    "RULE_PLACE",
    "TRIMAP",
    "check_alpha",
    "first_line",
    "needs_trimap",
    "normalised",
    "read_facts",
    "read_graph",
    "rule_text",
    "static",
]

log = logging.getLogger(__name__)

RULE_KEY = "streammatte_input"
"""Where the rule stands in an ONNX file's ``metadata_props``."""
RULE_PLACE = ["framework", RULE_KEY]
"""Where it stands in a model's ``rt_info``: OpenVINO keeps an ONNX file's metadata there."""
TRIMAP = "trimap"
"""Name of the second input of networks that need one."""
ALPHA_NAMES = ("alpha", "pha", "matte")
"""What networks with several outputs call the one that is meant."""


def read_graph(path: Path) -> Any:
    """Read an ``.xml``, ``.onnx`` or ``.pdmodel`` as an OpenVINO model.

    ONNX goes to its own reader at once: OpenVINO tries a damaged file as TensorFlow too, which prints pages about that.

    Raises
    ------
    RuntimeError
        As OpenVINO.
    """
    ov = import_openvino()
    from openvino import frontend

    if path.suffix.lower() != ".onnx":
        return ov.Core().read_model(str(path))
    reader = frontend.FrontEndManager().load_by_framework("onnx")
    failures = (
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    )
    try:
        return reader.convert(reader.load(str(path)))
    except failures as error:
        raise RuntimeError(str(error)) from error


def first_line(error: Exception) -> str:
    """The line of an OpenVINO message that describes the fault; the others name places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    return (plain or lines or [type(error).__name__])[0].rstrip(":")


def rule_text(rule: InputRule, *, normalises: bool) -> str:
    """A rule as the ``input`` table of a card, in JSON; without mean and std where the graph ``normalises`` itself."""
    table = as_table(rule)
    if normalises:
        del table["mean"], table["std"]
    return json.dumps(table)


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """A graph's own metadata: its input's rule, and whether it was quantised to 8 bits."""

    rule: InputRule = field(default_factory=InputRule)
    int8: bool = False


def read_facts(path: Path) -> GraphFacts:
    """The metadata of a graph's file; the defaults where it cannot be read, which its engine reports."""
    try:
        model = read_graph(path)
    except RuntimeError:
        return GraphFacts()
    return GraphFacts(_rule_of(model), any(op.get_type_name() == "FakeQuantize" for op in model.get_ops()))


def _rule_of(model: Any) -> InputRule:
    """The rule written into a graph, else whether it needs a trimap; and its size where it takes one only."""
    rule = InputRule(trimap=needs_trimap(model))
    if model.has_rt_info(RULE_PLACE):
        try:
            rule = checked(InputRule, json.loads(model.get_rt_info(RULE_PLACE).astype(str)), RULE_KEY)
        except (ConfigError, ValueError) as error:
            log.warning("invalid input metadata in the graph: %s", error)
    shapes = [port.get_partial_shape() for port in _images(model)]
    if not shapes or shapes[0].rank.is_dynamic or shapes[0].rank.get_length() != 4:
        return rule
    first = 1 if _is_normalised(model) else 2
    sides = [shapes[0][axis] for axis in (first, first + 1)]
    return rule if any(side.is_dynamic for side in sides) else rule.at((sides[0].get_length(), sides[1].get_length()))


def needs_trimap(model: Any) -> bool:
    """True where the graph (or compiled model) has a second input of that name."""
    return any(TRIMAP in port.names for port in model.inputs)


def static(model: Any, shape: Sequence[int]) -> None:
    """Give a graph's inputs their shape in place: ``shape`` is (N, H, W, 3), a trimap follows it."""
    model.reshape({port: [*shape[:3], 1 if TRIMAP in port.names else 3] for port in model.inputs})


def normalised(model: Any, rule: InputRule) -> Any:
    """Put the normalisation in front of a network and give its input and output the engine's form.

    Parameters
    ----------
    model : openvino.Model
        One input (N, 3, H, W) float32 and, maybe, ``trimap`` (N, 1, H, W) float32; an output (N, 1, h, w) or (N, h, w)
        of floats: where there are several, the one with a name of ``ALPHA_NAMES``, else the first of that form.
        One whose inputs are uint8 has this form already and is given back.
    rule : InputRule
        Gives mean and standard deviation.

    Returns
    -------
    openvino.Model
        Takes ``image`` (N, H, W, 3) uint8 RGB (and ``trimap`` (N, H, W, 1) uint8), gives ``alpha`` (N, h, w) float32.

    Raises
    ------
    ModelError
        It has other inputs, or no such output.
    """
    ov = import_openvino()
    from openvino import opset15 as ops
    from openvino.preprocess import PrePostProcessor

    if _is_normalised(model):
        for port in _images(model):
            port.add_names({"image"})
        return model
    _check_inputs(model)
    alpha = _alpha_of(model)
    if alpha.get_partial_shape().rank.get_length() == 4:
        alpha = ops.squeeze(alpha, ops.constant(np.array([1], np.int64)), name="alpha").output(0)
    marked = [TRIMAP in port.names for port in model.inputs]
    steps = PrePostProcessor(ov.Model([alpha], model.get_parameters(), model.get_friendly_name()))
    for index, is_trimap in enumerate(marked):
        steps.input(index).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input(index).model().set_layout(ov.Layout("NCHW"))
        work = steps.input(index).preprocess().convert_element_type(ov.Type.f32)
        if not is_trimap:
            work.mean([255 * value for value in rule.mean]).scale([255 * value for value in rule.std])
    model = steps.build()
    for port, is_trimap in zip(model.inputs, marked, strict=True):
        port.set_names({TRIMAP if is_trimap else "image"})
    model.output(0).set_names({"alpha"})
    return model


def check_alpha(model: Any) -> None:
    """Refuse a graph of static shape whose output is no alpha of its input's aspect. Raises ModelError.

    Sides that the graph works out while it runs are not known here and pass.
    """
    image, alpha = list(_images(model)[0].shape), model.output(0).get_partial_shape()
    known = alpha.is_static
    if len(alpha) != 3 or (known and alpha[1].get_length() * image[2] != alpha[2].get_length() * image[1]):
        raise ModelError(f"for images {image} it gives {alpha}, no alpha (N, h, w); it is no matting network")


def _is_normalised(model: Any) -> bool:
    """True where the graph takes uint8 images (N, H, W, 3), as :func:`normalised` makes it."""
    return bool(_images(model)) and all(str(port.element_type.to_string()) == "u8" for port in model.inputs)


def _images(model: Any) -> list[Any]:
    return [port for port in model.inputs if TRIMAP not in port.names]


def _check_inputs(model: Any) -> None:
    images = _images(model)
    if len(images) != 1 or not _has_shape(images[0], 4, 3) or len(model.inputs) > 2:
        given = ", ".join(map(_described, model.inputs)) or "none"
        raise ModelError(f"its inputs are {given}; a matting network takes one image (N, 3, H, W), and maybe a trimap")


def _alpha_of(model: Any) -> Any:
    """The output that holds alpha, before its Result."""
    fitting = [port for port in model.outputs if _has_shape(port, 4, 1) or _has_shape(port, 3, None)]
    fitting = [port for port in fitting if port.get_element_type().is_real()]
    if not fitting:
        given = ", ".join(map(_described, model.outputs))
        raise ModelError(f"it gives {given}, no alpha (N, 1, h, w) of floats; it is no matting network")
    chosen = next((port for port in fitting if port.names & set(ALPHA_NAMES)), fitting[0])
    return chosen.node.input_value(0)


def _has_shape(port: Any, rank: int, channels: int | None) -> bool:
    """Whether a port has so many dimensions and may have so many channels; an open rank may be anything."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return rank == 4
    if shape.rank.get_length() != rank:
        return False
    return channels is None or shape[1].is_dynamic or shape[1].get_length() == channels


def _described(port: Any) -> str:
    kind = port.get_element_type().get_type_name()
    return f"{min(port.names, default='unnamed')} {port.get_partial_shape()} {kind}"
