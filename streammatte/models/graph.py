"""OpenVINO graphs: the normalisation in front of the network, one form of input and output. Needs no Paddle."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.errors import ConfigError, ModelError
from streammatte.models.input_rule import InputRule, SizeStep

__all__ = [
    "RULE_KEY",
    "RULE_PLACE",
    "TRIMAP",
    "check_alpha",
    "is_normalised",
    "needs_trimap",
    "normalised",
    "read_facts",
    "read_graph",
    "rule_in",
    "rule_text",
    "static",
]

log = logging.getLogger(__name__)

RULE_KEY = "streammatte_input"
"""Where the rule stands in an ONNX file's ``metadata_props``."""
RULE_PLACE = ["framework", RULE_KEY]
"""Where it stands in a model's ``rt_info``: OpenVINO keeps an ONNX file's metadata there."""


def read_graph(path: Path) -> Any:
    """Read an ``.xml``, ``.onnx`` or ``.pdmodel`` as an OpenVINO model.

    ONNX goes to its own reader at once: asked in general, OpenVINO tries a file that it cannot read as TensorFlow too,
    which prints pages about that.

    Raises
    ------
    RuntimeError
        As OpenVINO.
    """
    import openvino as ov

    if path.suffix.lower() != ".onnx":
        return ov.Core().read_model(str(path))
    from openvino import frontend

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


def rule_text(rule: InputRule, *, normalises: bool) -> str:
    """A rule as the ``input`` table of a card, in JSON; without mean and std where the graph ``normalises`` itself."""
    table = asdict(rule) | {"steps": [{step.kind: step.values} for step in rule.steps]}
    if normalises:
        del table["mean"], table["std"]
    return json.dumps(table)


def rule_in(model: Any) -> InputRule | None:
    """The rule that :func:`rule_text` wrote into a graph; None where there is none that can be read."""
    if not model.has_rt_info(RULE_PLACE):
        return None
    text = model.get_rt_info(RULE_PLACE).astype(str)
    try:
        return InputRule.from_mapping(json.loads(text), RULE_KEY)
    except (ConfigError, ValueError, TypeError, AttributeError) as error:
        log.warning("the graph's own word on its input (%s) cannot be read: %s", RULE_KEY, error)
        return None


TRIMAP = "trimap"
"""Name of the second input of networks that need one."""
ALPHA_NAMES = ("alpha", "pha", "matte")
"""What networks with several outputs call the one that is meant."""


def is_normalised(model: Any) -> bool:
    """True where the graph takes uint8 pictures (N, H, W, 3), as :func:`normalised` makes it."""
    return all(str(port.element_type.to_string()) == "u8" for port in model.inputs)


def needs_trimap(model: Any) -> bool:
    """True where the graph (or compiled model) has a second input of that name."""
    return any(TRIMAP in port.names for port in model.inputs)


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a graph says of itself: its input's rule, and whether it was quantised to 8 bits."""

    rule: InputRule = field(default_factory=InputRule)
    int8: bool = False


@lru_cache(maxsize=32)
def read_facts(path: Path, version: int) -> GraphFacts:
    """What a graph's file says of itself.

    ``version`` tells a file from one that stood there before. A graph that cannot be read says nothing here; who runs
    it says why.
    """
    try:
        model = read_graph(path)
    except RuntimeError:
        return GraphFacts()
    return GraphFacts(_rule_of(model), any(op.get_type_name() == "FakeQuantize" for op in model.get_ops()))


def _rule_of(model: Any) -> InputRule:
    """The rule written into a graph, else a trimap, and a size where it takes one only."""
    rule = rule_in(model) or InputRule(trimap=needs_trimap(model))
    pictures = _pictures(model)
    shape = pictures[0].get_partial_shape() if pictures else None
    if shape is None or shape.rank.is_dynamic or shape.rank.get_length() != 4:
        return rule
    sides = [shape[axis] for axis in ((1, 2) if is_normalised(model) else (2, 3))]
    if any(side.is_dynamic for side in sides):
        return rule
    height, width = (side.get_length() for side in sides)
    return replace(rule, size=(height, width), steps=(SizeStep("fixed", (height, width)),))


def static(model: Any, shape: Sequence[int]) -> None:
    """Give a graph's inputs their shape in place: ``shape`` is (N, H, W, 3), a trimap follows it."""
    model.reshape({port: [*shape[:3], 1 if TRIMAP in port.names else 3] for port in model.inputs})


def normalised(model: Any, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Put the normalisation in front of a network and give its input and output the engine's form.

    Parameters
    ----------
    model : openvino.Model
        One input (N, 3, H, W) float32 and, maybe, ``trimap`` (N, 1, H, W) float32; an output (N, 1, h, w) or (N, h, w)
        of floats: where there are several, the one with a name of ``ALPHA_NAMES``, else the first of that form.
    mean, std : three floats
        Of RGB in [0, 1].

    Returns
    -------
    openvino.Model
        Takes ``image`` (N, H, W, 3) uint8 RGB (and ``trimap`` (N, H, W, 1) uint8), gives ``alpha`` (N, h, w) float32.

    Raises
    ------
    ModelError
        It has other inputs, or no such output.
    """
    import openvino as ov
    from openvino import opset15 as ops
    from openvino.preprocess import PrePostProcessor

    _check_inputs(model)
    alpha = _alpha_of(model)
    if alpha.get_partial_shape().rank.get_length() == 4:
        alpha = ops.squeeze(alpha, ops.constant(np.array([1], np.int64)), name="alpha").output(0)
    marked = [TRIMAP in port.names for port in model.inputs]
    steps = PrePostProcessor(ov.Model([alpha], model.get_parameters(), model.get_friendly_name()))
    scale = [255 * value for value in std]
    for index, is_trimap in enumerate(marked):
        steps.input(index).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input(index).model().set_layout(ov.Layout("NCHW"))
        work = steps.input(index).preprocess().convert_element_type(ov.Type.f32)
        if not is_trimap:
            work.mean([255 * value for value in mean]).scale(scale)
    model = steps.build()
    for port, is_trimap in zip(model.inputs, marked, strict=True):
        port.set_names({TRIMAP if is_trimap else "image"})
    model.output(0).set_names({"alpha"})
    return model


def check_alpha(model: Any) -> None:
    """Refuse a graph of static shape whose output is no alpha of its input's aspect. Raises ModelError.

    Sides that the graph works out while it runs are not known here and pass.
    """
    picture, alpha = list(_pictures(model)[0].shape), model.output(0).get_partial_shape()
    known = alpha.is_static
    if len(alpha) != 3 or (known and alpha[1].get_length() * picture[2] != alpha[2].get_length() * picture[1]):
        raise ModelError(f"for pictures {picture} it gives {alpha}, no alpha (N, h, w); it is no matting network")


def _pictures(model: Any) -> list[Any]:
    return [port for port in model.inputs if TRIMAP not in port.names]


def _check_inputs(model: Any) -> None:
    pictures = _pictures(model)
    planar = [port for port in pictures if _has_shape(port, 4, 3)]
    if len(pictures) != 1 or len(planar) != 1 or len(model.inputs) > 2:
        told = ", ".join(_told(port) for port in model.inputs) or "none"
        raise ModelError(f"its inputs are {told}; a matting network takes one picture (N, 3, H, W), and maybe a trimap")


def _alpha_of(model: Any) -> Any:
    """The output that holds alpha, before its Result."""
    fitting = [port for port in model.outputs if _has_shape(port, 4, 1) or _has_shape(port, 3, None)]
    fitting = [port for port in fitting if port.get_element_type().is_real()]
    if not fitting:
        told = ", ".join(_told(port) for port in model.outputs)
        raise ModelError(f"it gives {told}, no alpha (N, 1, h, w) of floats; it is no matting network")
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


def _told(port: Any) -> str:
    kind = port.get_element_type().get_type_name()
    return f"{min(port.names, default='unnamed')} {port.get_partial_shape()} {kind}"
