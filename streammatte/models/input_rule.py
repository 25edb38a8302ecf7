"""How an image becomes a network's input: its sides and the normalisation, from a card or from a ``deploy.yaml``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from streammatte.errors import ConfigError, ModelError

__all__ = ["STRICT", "TRANSFORMS", "Deploy", "InputRule", "SizeStep", "as_table", "checked", "read_deploy"]

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
"""How dataclasses that are read from files are checked: no unknown keys, no text taken for a number."""
T = TypeVar("T")
_UNKNOWN = "unexpected_keyword_argument"

_STEPS = {"limit_short": 2, "limit_long": 2, "short": 1, "long": 1, "fixed": 2, "multiple": 1}
"""Size steps and how many numbers each takes."""


def checked(kind: type[T], data: object, where: str) -> T:
    """An object of a dataclass, made from what YAML or JSON holds.

    Parameters
    ----------
    kind : type
        A dataclass with ``STRICT`` as its ``__pydantic_config__``.
    data : object
        As parsed.
    where : str
        Names the source in errors.

    Raises
    ------
    ConfigError
        A key is unknown or missing, or a value is of the wrong kind; the message names the first.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        faults = error.errors(include_url=False)
        # a misspelled key is both unknown and missing; the first is more informative
        first = next((fault for fault in faults if fault["type"] == _UNKNOWN), faults[0])
        key = ".".join(map(str, first["loc"])) or "it"
        if first["type"] in (_UNKNOWN, "missing"):
            kind_of_fault = "unknown" if first["type"] == _UNKNOWN else "missing"
            raise ConfigError(f"{where}: {kind_of_fault} key {key}") from error
        message = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        raise ConfigError(f"{where}: {key}: {message}; got {first['input']!r}") from error


def _is_side(value: object) -> bool:
    """Whether it is a whole number above 0; YAML's true and false are whole numbers to Python."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True, slots=True)
class SizeStep:
    """One step from an image's sides to the network's.

    ``kind`` and ``values``: ``limit_short``/``limit_long`` (at least, at most; None is no bound), ``short``/``long``
    (that side exactly, the other in proportion), ``fixed`` (height, width), ``multiple`` (both sides down to one).
    """

    kind: str
    values: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if _STEPS.get(self.kind) != len(self.values):
            known = ", ".join(f"{kind} ({count})" for kind, count in _STEPS.items())
            raise ConfigError(f"a size step is one of {known} with that many numbers; got {self.kind} {self.values}")
        bounded = self.kind.startswith("limit")
        if not all((bounded and value is None) or _is_side(value) for value in self.values):
            raise ConfigError(f"a size step takes whole numbers above 0; got {self.kind} {self.values}")

    def __str__(self) -> str:
        """In words: ``short side 512``, ``multiples of 32``."""
        if self.kind == "fixed":
            return f"always {self.values[1]}x{self.values[0]}"
        if self.kind == "multiple":
            return f"multiples of {self.values[0]}"
        side = f"{self.kind.removeprefix('limit_')} side"
        if not self.kind.startswith("limit"):
            return f"{side} {self.values[0]}"
        bounds = zip(("at least", "at most"), self.values, strict=True)
        return f"{side} {', '.join(f'{label} {value}' for label, value in bounds if value is not None)}"

    def apply(self, height: int, width: int) -> tuple[int, int]:
        """The sides after this step."""
        first = self.values[0] or 1
        if self.kind == "fixed":
            return first, self.values[1] or 1
        if self.kind == "multiple":
            return max(first, height - height % first), max(first, width - width % first)
        side = target = min(height, width) if self.kind.endswith("short") else max(height, width)
        if self.kind.startswith("limit"):
            low, high = self.values
            target = min(max(side, low or side), high or max(side, low or side))
        else:
            target = first
        return max(1, round(height * target / side)), max(1, round(width * target / side))


def _step(entry: object) -> SizeStep:
    """A step from ``{kind: values}``."""
    if isinstance(entry, SizeStep):
        return entry
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ConfigError("a size step is one key with its numbers, such as {long: 512}")
    ((kind, values),) = entry.items()
    return SizeStep(kind, tuple(values) if isinstance(values, list) else (values,))


Side = Annotated[int, Field(gt=0)]
Divisor = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True)
class InputRule:
    """What a network expects.

    Parameters
    ----------
    size : (int, int)
        Height and width it was trained at; the default where a graph leaves its size open.
    mean, std : 3 floats
        Of RGB in [0, 1]: the network gets ``(rgb / 255 - mean) / std``.
    trimap : bool
        Whether it needs a trimap beside the image.
    steps : tuple of SizeStep
        How an image's sides become the network's, in order.
    """

    __pydantic_config__ = STRICT

    size: tuple[Side, Side] = (512, 512)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Divisor, Divisor, Divisor] = (0.5, 0.5, 0.5)
    trimap: bool = False
    steps: tuple[Annotated[SizeStep, PlainValidator(_step)], ...] = (
        SizeStep("limit_short", (None, 512)),
        SizeStep("multiple", (32,)),
    )

    @property
    def fixed(self) -> tuple[int, int] | None:
        """(height, width) where the network takes no other."""
        return next((step.apply(1, 1) for step in self.steps if step.kind == "fixed"), None)

    @property
    def multiple(self) -> int:
        """What both sides must be multiples of."""
        return math.lcm(*(int(step.values[0] or 1) for step in self.steps if step.kind == "multiple"))

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the network's input for an image of these sides, made by resizing alone."""
        for step in self.steps:
            height, width = step.apply(height, width)
        return height, width

    def sides_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the image as the network should get it, before its sides become multiples."""
        steps = tuple(step for step in self.steps if step.kind != "multiple")
        return replace(self, steps=steps).size_for(height, width)

    def at(self, size: tuple[int, int] | None) -> InputRule:
        """The rule of the same network with its height and width fixed; this one where no size is given."""
        return replace(self, size=size, steps=(SizeStep("fixed", size),)) if size else self


def as_table(rule: InputRule) -> dict[str, Any]:
    """A rule as the ``input`` table of a card, of plain lists and numbers."""
    table = asdict(rule) | {"steps": [{step.kind: step.values} for step in rule.steps]}
    plain: dict[str, Any] = json.loads(json.dumps(table))
    return plain


@dataclass(frozen=True, slots=True)
class Deploy:
    """The description of an exported model in the ``deploy.yaml`` beside it. File names are relative to it."""

    model: str
    params: str
    architecture: str
    input: InputRule


TRANSFORMS = {
    "limit_short": ("LimitShort", ("min_short", "max_short")),
    "limit_long": ("LimitLong", ("min_long", "max_long")),
    "short": ("ResizeByShort", ("short_size",)),
    "long": ("ResizeByLong", ("long_size",)),
    "multiple": ("ResizeToIntMult", ("mult_int",)),
}
"""Our size steps, with PaddleSeg's name of each and of its arguments."""
_OURS = {name: (step, keys) for step, (name, keys) in TRANSFORMS.items()}
_DEFAULTS = {"short_size": 512, "long_size": 512, "mult_int": 32}
_WITHOUT_SIZE = ("LoadImages", "Padding")
_WITH_TRIMAP = ("DIM", "GCA", "GCABaseline")
"""Networks of PaddleSeg that need a trimap; its own files do not say so."""
_LARGE = 4096
"""A side that every rule with a bound makes smaller."""


def read_deploy(path: str | Path) -> Deploy:
    """Read the ``deploy.yaml`` (FastDeploy: ``inference.yml``) of a model that PaddleSeg's Matting tools exported.

    Raises
    ------
    ModelError
        It is not YAML of that layout, holds a value of the wrong kind, or a transform that is more than sides and a
        normalisation.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        table, network = data["Deploy"], str(data.get("ModelName", ""))
        model, params = str(table["model"]), str(table["params"])
        rule = checked(InputRule, _input_table(table, network), str(path))
    except ConfigError as error:
        raise ModelError(f"{error}; correct {path} or export the model again") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is no deploy.yaml of an exported matting model ({type(error).__name__}); "
            "it needs Deploy with model, params and transforms"
        ) from error
    size = rule.fixed or rule.size_for(_LARGE, _LARGE)
    return Deploy(model, params, network, replace(rule, size=size) if max(size) < _LARGE else rule)


def _input_table(deploy: Mapping[str, Any], network: str) -> dict[str, Any]:
    """The same as a card's ``input`` table."""
    table: dict[str, Any] = {"trimap": deploy.get("trimap", network in _WITH_TRIMAP)}
    steps = []
    for transform in deploy.get("transforms") or ():
        kind = transform["type"]
        if kind == "Normalize":
            table |= {key: transform[key] for key in ("mean", "std") if key in transform}
        elif kind == "Resize":
            target = transform.get("target_size", 512)
            width, height = (target, target) if isinstance(target, int) else target
            steps.append({"fixed": [height, width]})
        elif kind in _OURS:
            step, keys = _OURS[kind]
            steps.append({step: [transform.get(key, _DEFAULTS.get(key)) for key in keys]})
        elif kind not in _WITHOUT_SIZE:
            known = ", ".join([*_OURS, "Resize", "Normalize", *_WITHOUT_SIZE])
            raise ConfigError(f"transform {kind} is unknown; known: {known}")
    sides = list(deploy.get("input_shape") or ())[2:]
    if len(sides) == 2 and all(map(_is_side, sides)):
        steps = [{"fixed": sides}]
    return {**table, "steps": steps} if steps else table
