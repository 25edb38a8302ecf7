"""Declaration of options: one attribute of a class each, with its default, type, limits and help.

The command line (``streammatte.cli.options``), YAML presets, Python keywords, live ``/set`` and ``bench --compare`` all
check values by :func:`check` and parse text by :func:`from_text`. The classes are made by attrs: frozen, validated
whenever an object is made, and imported in a fifth of the time that pydantic needs, which every command would pay.
"""

import dataclasses
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar, dataclass_transform

import attrs

from streammatte.errors import ConfigError

__all__ = [
    "Option",
    "Options",
    "as_arguments",
    "check",
    "declared",
    "from_text",
    "option",
    "option_class",
    "options_of",
    "shortened",
]

T = TypeVar("T")

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_TRUE, _FALSE = ("true", "on", "yes"), ("false", "off", "no")
_FORMS = {
    2: ("WxH", "x", "a size is written WIDTHxHEIGHT, as in 1280x720"),
    1: ("x,y", ",", "a point is written x,y in pixels, as in 320,180"),
    4: ("x,y,w,h", ",", "a box is written x,y,w,h in pixels, as in 100,0,800,720"),
}


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is named, checked and explained.

    Parameters
    ----------
    help : str
        One sentence; the default is appended.
    group : str
        Which commands take it: a command names the groups it takes of a class.
    choices : tuple of str
        Allowed values.
    low, high : float, optional
        Allowed range, both ends included; ``above`` excludes ``low``.
    unit : str
        Of a number, for messages.
    flag : str, optional
        Name on the command line where it differs: ``--bg``, or ``--no-audio`` for what is on by default.
    switch : bool
        A boolean that is written ``--name on|off``.
    metavar : str, optional
    shown : str, optional
        The default in the help text where it differs; ``""`` for none.
    optional_value : str, optional
        The value of the option when it is given without one.
    point : bool
        Two numbers are a place in the image, not a size.
    """

    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: bool = False
    unit: str = ""
    flag: str | None = None
    switch: bool = False
    metavar: str | None = None
    shown: str | None = None
    optional_value: str | None = None
    point: bool = False
    name: str = ""
    type: Any = str
    default: Any = None
    length: int = 0

    @property
    def label(self) -> str:
        """What messages call it: as on the command line."""
        flag = self.flag or f"--{self.name.replace('_', '-')}"
        return self.name if flag.startswith("--no-") else flag

    @property
    def form(self) -> str:
        """What is written for a value on the command line."""
        if self.choices or self.switch:
            return "[" + "|".join(self.choices or ("on", "off")) + "]"
        if self.metavar:
            return self.metavar
        if self.length:
            return self.how[0]
        return {int: "N", float: "X"}.get(self.type, "TEXT")

    @property
    def how(self) -> tuple[str, str, str]:
        """Of several numbers: the form, what stands between them, and a message."""
        return _FORMS[1 if self.point else self.length]

    @property
    def range(self) -> str:
        """The allowed range in words."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"{'above ' if self.above else ''}{self.low:g} to {self.high:g}{unit}"
        return f"above {self.low:g}{unit}" if self.above else f"{self.low:g} or more{unit}"


def option(*, default: Any, help: str, **facts: Any) -> Any:  # noqa: A002
    """Declare an option; ``facts`` are the fields of :class:`Option`."""
    return attrs.field(default=default, metadata={"option": Option(help, **facts)})


def _complete(cls: type, fields: list["attrs.Attribute[Any]"]) -> list["attrs.Attribute[Any]"]:
    """Give every declared option its name, type and default, and the check as converter."""
    hints = typing.get_type_hints(cls)
    done = []
    for field in fields:
        declared_as = field.metadata.get("option")
        if declared_as is None:
            done.append(field)
            continue
        kinds = [kind for kind in typing.get_args(hints[field.name]) if kind is not types.NoneType]
        kind = kinds[0] if isinstance(hints[field.name], types.UnionType) else hints[field.name]
        parts = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
        entry = dataclasses.replace(
            declared_as,
            name=field.name,
            type=tuple if parts else kind,
            default=field.default,
            length=0 if Ellipsis in parts else len(parts),
        )
        done.append(field.evolve(metadata={"option": entry}, converter=_checker(entry)))
    return done


def _checker(entry: Option) -> Callable[[Any], Any]:
    return lambda value: check(entry, value)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(option,))
def option_class(cls: type[T]) -> type[T]:
    """Make a class of options: frozen, keyword-only, every value checked."""
    return attrs.frozen(cls, kw_only=True, slots=False, field_transformer=_complete)  # type: ignore[return-value]


@option_class
class Options:
    """Base of the classes of options."""

    @classmethod
    def build(cls, base: Mapping[str, Any] | None = None, /, **given: Any) -> Self:
        """Defaults, then ``base`` (a preset), then ``given`` (None is not given). Raises ConfigError."""
        merged = {**(base or {}), **{key: value for key, value in given.items() if value is not None}}
        known = {entry.name for entry in options_of(cls)}
        unknown = sorted(set(merged) - known)
        if unknown:
            raise ConfigError(f"unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return cls(**merged)

    def replace(self, **changes: Any) -> Self:
        """The same options with some changed, checked again. Raises ConfigError."""
        return attrs.evolve(self, **changes)  # type: ignore[misc]


def options_of(cls: type, *groups: str) -> list[Option]:
    """The options of a class as declared; where groups are named, theirs only and in that order."""
    found: list[Option] = [field.metadata["option"] for field in attrs.fields(cls) if "option" in field.metadata]
    return [entry for group in groups for entry in found if entry.group == group] if groups else found


def declared(cls: type, name: str) -> Option:
    """The declaration of one option. Raises KeyError."""
    return next(entry for entry in options_of(cls) if entry.name == name)


def as_arguments(cls: type, values: Mapping[str, Any]) -> list[str]:
    """Options of a class as arguments of the command line; a boolean that is its default is left out."""
    parts: list[str] = []
    for name, value in values.items():
        entry = declared(cls, name)
        flag = entry.flag or f"--{name.replace('_', '-')}"
        if entry.type is bool and not entry.switch:
            parts += [flag] if value != entry.default else []
        elif entry.type is bool:
            parts += [flag, "on" if value else "off"]
        elif entry.type is tuple:
            each = [entry.how[1].join(map(str, value))] if entry.length else list(value)
            parts += [part for text in each for part in (flag, text)]
        else:
            parts += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return parts


def check(entry: Option, value: Any) -> Any:
    """A value of the option's type and within its limits. Raises ConfigError.

    ``False`` and ``True`` stand for the choices ``off`` and ``on``, which YAML reads so, and a number for a choice that
    is written so. A size or a box may be text; a number may not.
    """
    if value is None and entry.default is None:
        return None
    if entry.type is bool:
        return _typed(entry, value, bool, "true or false")
    if entry.type is int or entry.type is float:
        return _number(entry, value)
    if entry.type is tuple:
        return _numbers(entry, value) if entry.length else _texts(entry, value)
    if isinstance(value, bool) and entry.choices:
        value = "on" if value else "off"
    if isinstance(value, int) and entry.choices and 0 <= value < 1000:
        value = str(value)
    if entry.choices and value not in entry.choices:
        raise ConfigError(f"{entry.label} must be one of {', '.join(entry.choices)}; got {shortened(value)}")
    return _typed(entry, value, str, "text")


def from_text(entry: Option, text: str) -> Any:
    """A value from the text of a command line. Raises ConfigError."""
    if entry.type is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ConfigError(f"{entry.label} must be on or off; got {shortened(text)}")
    if entry.type is int and _WHOLE.fullmatch(text):
        return check(entry, int(text))
    if entry.type is float and _DECIMAL.fullmatch(text):
        return check(entry, float(text))
    return check(entry, text)


def shortened(value: Any) -> str:
    """A value as messages show it, at most 40 characters of it."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        text = f"{value:g}" if plain else repr(value)
    except (OverflowError, ValueError):
        text = "a number of many digits"
    return text if len(text) <= 40 else f"{text[:37]}..."


def _typed(entry: Option, value: Any, kind: type, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{entry.label} must be {expected}; got {shortened(value)}")
    return value


def _number(entry: Option, value: Any) -> int | float:
    whole = entry.type is int
    expected = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        allowed = f", {entry.range}" if entry.low is not None else ""
        raise ConfigError(f"{entry.label} must be {expected}{allowed}; got {shortened(value)}")
    low, high = entry.low, entry.high
    below = low is not None and (value < low or (entry.above and value == low))
    outside = below or (high is not None and value > high)
    if outside or not (whole or math.isfinite(value)):
        allowed = entry.range if entry.low is not None else "finite"
        raise ConfigError(f"{entry.label} must be {allowed}; got {shortened(value)}")
    return value if whole else float(value)


def _numbers(entry: Option, value: Any) -> tuple[int, ...]:
    _, mark, how = entry.how
    parts = value.lower().split(mark) if isinstance(value, str) else value
    if isinstance(value, str) and all(_WHOLE.fullmatch(part.strip()) for part in parts):
        parts = tuple(int(part) for part in parts)
    if (
        not isinstance(parts, list | tuple)
        or len(parts) != entry.length
        or any(type(part) is not int for part in parts)
    ):
        raise ConfigError(f"{entry.label}: {how}; got {shortened(value)}")
    numbers = tuple(int(part) for part in parts)
    low, high = int(entry.low or 1), int(entry.high or 1 << 20)
    if entry.point:
        if not all(0 <= coordinate <= high for coordinate in numbers):
            raise ConfigError(f"{entry.label} must lie between 0,0 and {high},{high}; got {shortened(value)}")
        return numbers
    if not all(low <= side <= high for side in numbers[-2:]):
        raise ConfigError(f"{entry.label} must have sides of {low} to {high} pixels; got {shortened(value)}")
    if not all(0 <= corner <= high for corner in numbers[:-2]):
        raise ConfigError(f"{entry.label} must have a corner of 0,0 to {high},{high}; got {shortened(value)}")
    return numbers


def _texts(entry: Option, value: Any) -> tuple[str, ...]:
    parts = (value,) if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not parts or not all(isinstance(part, str) for part in parts):
        raise ConfigError(f"{entry.label} must be one text or several; got {shortened(value)}")
    return tuple(parts)
