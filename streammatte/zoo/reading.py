"""Reading a graph's file, and the input rule that ``models export`` writes into it."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError
from streammatte.zoo.rules import InputRule

__all__ = ["RULE_KEY", "RULE_PLACE", "read_graph", "rule_in", "rule_text"]

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
