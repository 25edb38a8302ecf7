"""OpenVINO graphs: the normalisation in front of the network, one form of input and output. Needs no Paddle."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.errors import ConfigError, ModelError
from streammatte.models.graph_rule import GraphRule, constant_for, pair_states
from streammatte.models.input_rule import InputRule, as_table, checked
from streammatte.optional_imports import import_openvino

__all__ = [
    "NEXT",
    "RULE_KEY",
    "RULE_PLACE",
    "STATE",
    "TRIMAP",
    "Ports",
    "check_alpha",
    "first_line",
    "is_state",
    "needs_trimap",
    "normalised",
    "read_facts",
    "read_graph",
    "read_ports",
    "rule_text",
    "static",
]

log = logging.getLogger(__name__)

RULE_KEY = "streammatte_input"
"""The rule's key in an ONNX file's ``metadata_props``."""
RULE_PLACE = ["framework", RULE_KEY]
"""Its key in a model's ``rt_info``: OpenVINO keeps an ONNX file's metadata there."""
TRIMAP = "trimap"
"""Name of the second input of networks that need one."""
ALPHA_NAMES = ("alpha", "pha", "matte")
"""What networks with several outputs call the one that is meant."""
FOREGROUND = ("fgr", "foreground")
"""What they call the person's own colours."""
STATE, NEXT = "state", ".next"
"""How :func:`normalised` names a recurrent network's memory: ``state0`` and what becomes of it, ``state0.next``."""


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


def read_facts(path: Path, rule: InputRule | None = None, reading: GraphRule | None = None) -> GraphFacts:
    """The metadata of a graph's file, whose ``rule`` and ``reading`` may be known from a card; the defaults where it
    cannot be read, which its engine reports.

    Parameters
    ----------
    path : Path
        ``.xml``, ``.onnx`` or ``.pdmodel``.
    rule : InputRule, optional
    reading : GraphRule, optional
        What a card says of it.
    """
    try:
        model = read_graph(path)
    except RuntimeError:
        return GraphFacts(rule or InputRule())
    return GraphFacts(
        _rule_of(model, rule, reading or GraphRule()),
        any(op.get_type_name() == "FakeQuantize" for op in model.get_ops()),
    )


def _rule_of(model: Any, known: InputRule | None, reading: GraphRule) -> InputRule:
    """The known rule, or the one written into a graph, else whether it needs a trimap; and its size where it takes one
    only.
    """
    rule = known or InputRule(trimap=needs_trimap(model))
    if known is None and model.has_rt_info(RULE_PLACE):
        try:
            rule = checked(InputRule, json.loads(model.get_rt_info(RULE_PLACE).astype(str)), RULE_KEY)
        except (ConfigError, ValueError) as error:
            log.warning("invalid input metadata in the graph: %s", error)
    images = _images(model)
    shapes = [port.get_partial_shape() for port in images if reading.image in (None, *port.names)]
    if not shapes or shapes[0].rank.is_dynamic or shapes[0].rank.get_length() != 4:
        return rule
    first = 1 if _is_normalised(model) or reading.layout == "nhwc" else 2
    sides = [shapes[0][axis] for axis in (first, first + 1)]
    return rule if any(side.is_dynamic for side in sides) else rule.at((sides[0].get_length(), sides[1].get_length()))


def needs_trimap(model: Any) -> bool:
    """True where the graph (or compiled model) has a second input of that name."""
    return any(TRIMAP in port.names for port in model.inputs)


def is_state(port: Any) -> bool:
    """Whether an input carries a recurrent network's memory."""
    return any(name.startswith(STATE) and name.removeprefix(STATE).isdecimal() for name in port.names)


def static(model: Any, shape: Sequence[int]) -> None:
    """Give a graph's inputs their shape in place: ``shape`` is (N, H, W, 3); a trimap and states follow it.

    Raises
    ------
    RuntimeError
        As OpenVINO; or the shapes of states do not follow.
    """
    images = {port: [*shape[:3], 1 if TRIMAP in port.names else 3] for port in model.inputs if not is_state(port)}
    states = [port for port in model.inputs if is_state(port)]
    if not states:
        model.reshape(images)
        return
    declared = {port: port.get_partial_shape() for port in states}
    for unknown in (-1, 1):  # a graph that enlarges its first state takes one cell; another works from open sides
        try:
            model.reshape(images | {port: _filled(given, unknown) for port, given in declared.items()})
            after = {port: _next_of(model, port).get_partial_shape() for port in states}
            if all(found.is_static for found in after.values()):
                model.reshape(images | after)
                if all(_next_of(model, port).get_partial_shape() == found for port, found in after.items()):
                    return
        except RuntimeError:
            continue
    raise RuntimeError("the shapes of its states do not follow from the image's")


def _filled(shape: Any, unknown: int) -> list[int]:
    if shape.rank.is_dynamic:
        return [unknown] * 4
    return [unknown if side.is_dynamic else side.get_length() for side in shape]


def _next_of(model: Any, port: Any) -> Any:
    return model.output(f"{min(port.names)}{NEXT}")


@dataclass(frozen=True, slots=True)
class Ports:
    """What the inputs and outputs of a graph are: names of inputs, numbers of outputs, in the graph's order.

    ``states`` gives each input that carries a recurrent network's memory the name of the output that follows it;
    ``numbers`` are inputs of one number, with their values.
    """

    image: str
    alpha: int
    foreground: int | None
    states: Mapping[str, str]
    numbers: Mapping[str, float]


def read_ports(model: Any, reading: GraphRule, size: tuple[int, int] | None) -> Ports:
    """Inputs and outputs of a graph that is not normalised. Parameters and errors as of :func:`normalised`."""
    axis = 1 if reading.layout == "nchw" else 3
    alpha, colours = _alpha_port(model, reading), _foreground_port(model, reading)
    names = [min(port.names, default="") for port in model.outputs]
    spare = [name for name, port in zip(names, model.outputs, strict=True) if name and port not in (alpha, colours)]
    inputs = [port for port in model.inputs if TRIMAP not in port.names]
    image_ports = [port for port in inputs if _has_shape(port, 4, 3, axis)]
    chosen = [port for port in image_ports if reading.image in port.names] or image_ports
    if reading.image is None and len(chosen) > 1:  # a state may have three channels, or open ones
        chosen = [port for port in chosen if not port.get_partial_shape()[axis].is_dynamic] or chosen
    others = [port for port in inputs if port not in chosen[:1]]
    single = [port for port in others if _rank(port) in (0, 1)]
    numbers = {name: constant_for(name, reading, size) for name in (min(port.names, default="") for port in single)}
    states = pair_states([min(port.names, default="") for port in others if port not in single], spare, reading)
    values = {name: value for name, value in numbers.items() if value is not None}
    if not chosen or not chosen[0].names or states is None or len(values) < len(numbers):
        given = ", ".join(map(_described, model.inputs)) or "none"
        raise ModelError(
            f"its inputs are {given}; a matting network takes one image (N, 3, H, W), and maybe a trimap, or states "
            "that come back as outputs; a card beside it can say which is which (docs/models.md)"
        )
    # By place, since outputs may have no names.
    foreground = None if colours is None else model.outputs.index(colours)
    return Ports(min(chosen[0].names), model.outputs.index(alpha), foreground, states, values)


def normalised(
    model: Any, rule: InputRule, reading: GraphRule | None = None, size: tuple[int, int] | None = None
) -> Any:
    """Put the normalisation in front of a network and give its inputs and outputs the engine's form.

    Parameters
    ----------
    model : openvino.Model
        An image input (N, 3, H, W) and, maybe, ``trimap`` (N, 1, H, W), numbers and states; an output (N, 1, h, w) or
        (N, h, w) of floats: where there are several, the one that the card or ``ALPHA_NAMES`` names, else the first.
        One whose inputs are uint8 has this form already and is given back.
    rule : InputRule
        Gives mean and standard deviation.
    reading : GraphRule, optional
        What a card says of the graph.
    size : (int, int), optional
        Height and width that it will run at, from which constants may follow.

    Returns
    -------
    openvino.Model
        Takes ``image`` (N, H, W, 3) uint8 RGB (and ``trimap`` (N, H, W, 1) uint8, and states ``state0`` ...), gives
        ``alpha`` (N, h, w) float32 (and ``foreground`` (N, h, w, 3) float32, and ``state0.next`` ...).

    Raises
    ------
    ModelError
        It has other inputs, or no such output.
    """
    ov = import_openvino()
    from openvino.preprocess import ColorFormat, PrePostProcessor

    if _is_normalised(model):
        for port in _images(model):
            port.add_names({"image"})
        model.output(0).add_names({"alpha"})
        return model
    reading = reading or GraphRule()
    ports = read_ports(model, reading, size)
    outputs = {"alpha": _alpha_of(model.outputs[ports.alpha], reading)}
    if ports.foreground is not None:
        outputs["foreground"] = _foreground_of(model.outputs[ports.foreground], reading)
    for index, after in enumerate(ports.states.values()):
        outputs[f"{STATE}{index}{NEXT}"] = model.output(after).node.input_value(0)
    for name, value in ports.numbers.items():
        _make_constant(model, model.input(name), value)
    # By a port's own name: inputs may be renumbered below.
    roles = {name: f"{STATE}{index}" for index, name in enumerate(ports.states)} | {ports.image: "image"}
    roles[TRIMAP] = TRIMAP
    named = [next(roles[name] for name in port.names if name in roles) for port in model.inputs]
    steps = PrePostProcessor(ov.Model(list(outputs.values()), model.get_parameters(), model.get_friendly_name()))
    for index, role in enumerate(named):
        if role.startswith(STATE):
            continue
        steps.input(index).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input(index).model().set_layout(ov.Layout(reading.layout.upper() if role == "image" else "NCHW"))
        if role == "image":
            steps.input(index).tensor().set_color_format(ColorFormat.RGB)
        work = steps.input(index).preprocess().convert_element_type(ov.Type.f32)
        if role == "image":
            mean, std = ([255 * value for value in values] for values in (rule.mean, rule.std))
            if reading.channels == "bgr":
                work.convert_color(ColorFormat.BGR)
                mean, std = mean[::-1], std[::-1]
            work.mean(mean).scale(std)
    model = steps.build()
    for port, role in zip(model.inputs, named, strict=True):
        port.set_names({role})
    for port, role in zip(model.outputs, outputs, strict=True):
        port.set_names({role})
    return model


def check_alpha(model: Any) -> None:
    """Refuse a graph of static shape whose output is no alpha of its input's aspect. Raises ModelError.

    Sides that the graph works out while it runs are not known here and pass.
    """
    image, alpha = list(_images(model)[0].shape), model.output("alpha").get_partial_shape()
    known = alpha.is_static
    if len(alpha) != 3 or (known and alpha[1].get_length() * image[2] != alpha[2].get_length() * image[1]):
        raise ModelError(f"for images {image} it gives {alpha}, no alpha (N, h, w); it is no matting network")


def _is_normalised(model: Any) -> bool:
    """True where the graph takes uint8 images (N, H, W, 3), as :func:`normalised` makes it."""
    ours = [port for port in model.inputs if not is_state(port)]
    return bool(_images(model)) and all(str(port.element_type.to_string()) == "u8" for port in ours)


def _images(model: Any) -> list[Any]:
    return [port for port in model.inputs if TRIMAP not in port.names and not is_state(port)]


def _make_constant(model: Any, port: Any, value: float) -> None:
    from openvino import opset15 as ops

    shape = [1 if side.is_dynamic else side.get_length() for side in port.get_partial_shape()]
    constant = ops.constant(np.full(shape, value, port.get_element_type().to_dtype()))
    for reader in port.node.output(0).get_target_inputs():
        reader.replace_source_output(constant.output(0))
    model.remove_parameter(port.node)


def _alpha_port(model: Any, reading: GraphRule) -> Any:
    """The output that holds alpha."""
    wide = reading.range == "softmax" or reading.channel > 0
    axis = 1 if reading.layout == "nchw" else 3
    channels = None if wide else 1
    fitting = [port for port in model.outputs if _has_shape(port, 4, channels, axis) or _has_shape(port, 3, None)]
    fitting = [port for port in fitting if port.get_element_type().is_real()]
    named = [port for port in fitting if port.names & ({reading.alpha} if reading.alpha else set(ALPHA_NAMES))]
    if not fitting or (reading.alpha and not named):
        given = ", ".join(map(_described, model.outputs))
        wanted = f"{reading.alpha} (N, 1, h, w)" if reading.alpha else "alpha (N, 1, h, w)"
        raise ModelError(f"it gives {given}, no {wanted} of floats; it is no matting network")
    return (named or fitting)[0]


def _alpha_of(port: Any, reading: GraphRule) -> Any:
    """Alpha (N, h, w) in [0, 1], before its Result."""
    ov = import_openvino()
    from openvino import opset15 as ops

    wide = reading.range == "softmax" or reading.channel > 0
    axis = 1 if reading.layout == "nchw" else 3
    alpha = port.node.input_value(0)
    if alpha.get_element_type() != ov.Type.f32:
        alpha = ops.convert(alpha, "f32").output(0)
    if alpha.get_partial_shape().rank.get_length() == 4:
        if reading.range == "softmax":
            alpha = ops.softmax(alpha, axis).output(0)
        if wide:
            alpha = ops.gather(alpha, ops.constant(reading.channel), ops.constant(axis)).output(0)
        else:
            alpha = ops.squeeze(alpha, ops.constant(np.array([axis], np.int64)), name="alpha").output(0)
    if reading.range == "logits":
        alpha = ops.sigmoid(alpha).output(0)
    elif reading.range == "levels":
        alpha = ops.divide(alpha, np.float32(255)).output(0)
    elif reading.range == "minmax":
        low, high = (f(alpha, np.array([1, 2]), keep_dims=True) for f in (ops.reduce_min, ops.reduce_max))
        spread = ops.maximum(ops.subtract(high, low), np.float32(1e-6))
        alpha = ops.divide(ops.subtract(alpha, low), spread).output(0)
    return alpha


def _foreground_port(model: Any, reading: GraphRule) -> Any:
    """The output with the person's own colours; None where there is none."""
    wanted = {reading.foreground} if reading.foreground else set(FOREGROUND)
    axis = 1 if reading.layout == "nchw" else 3
    return next((port for port in model.outputs if port.names & wanted and _has_shape(port, 4, 3, axis)), None)


def _foreground_of(port: Any, reading: GraphRule) -> Any:
    """The person's own colours (N, h, w, 3) float32, before its Result."""
    from openvino import opset15 as ops

    colours = ops.convert(port.node.input_value(0), "f32").output(0)
    return colours if reading.layout == "nhwc" else ops.transpose(colours, np.array([0, 2, 3, 1])).output(0)


def _rank(port: Any) -> int | None:
    rank = port.get_partial_shape().rank
    return None if rank.is_dynamic else rank.get_length()


def _has_shape(port: Any, rank: int, channels: int | None, axis: int = 1) -> bool:
    """Whether a port has so many dimensions and may have so many channels; an open rank may be anything."""
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return rank == 4
    if shape.rank.get_length() != rank:
        return False
    return channels is None or shape[axis].is_dynamic or shape[axis].get_length() == channels


def _described(port: Any) -> str:
    kind = port.get_element_type().get_type_name()
    return f"{min(port.names, default='unnamed')} {port.get_partial_shape()} {kind}"
