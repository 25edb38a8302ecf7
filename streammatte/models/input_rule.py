"""How a picture becomes a network's input: the sides and the normalisation, from a card or from a ``deploy.yaml``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from streammatte.errors import ConfigError, ModelError

__all__ = ["Deploy", "InputRule", "SizeStep", "read_deploy"]

_HALF = (0.5, 0.5, 0.5)

_STEPS = {  # step -> how many numbers it takes
    "limit_short": 2,
    "limit_long": 2,
    "short": 1,
    "long": 1,
    "fixed": 2,
    "multiple": 1,
}


def _is_side(value: Any) -> bool:
    """Whether it is a whole number above 0; YAML's true and false are whole numbers to Python."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


@dataclass(frozen=True, slots=True)
class SizeStep:
    """One step from a picture's sides to the network's.

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
        return f"{side} {', '.join(f'{word} {value}' for word, value in bounds if value is not None)}"

    def apply(self, height: int, width: int) -> tuple[int, int]:
        """The sides after this step."""
        first = self.values[0]
        if self.kind == "fixed":
            return int(self.values[0] or 0), int(self.values[1] or 0)
        if self.kind == "multiple":
            step = int(first or 1)
            return max(step, height - height % step), max(step, width - width % step)
        side = min(height, width) if self.kind.endswith("short") else max(height, width)
        if self.kind.startswith("limit"):
            low, high = self.values
            target = max(side, low or side) if high is None else min(max(side, low or side), high)
        else:
            target = int(first or side)
        return max(1, round(height * target / side)), max(1, round(width * target / side))


@dataclass(frozen=True, slots=True)
class InputRule:
    """What a network expects.

    Parameters
    ----------
    size : (int, int)
        Height and width it was trained at; the default where a graph leaves its size open.
    mean, std : 3 floats
        Of RGB in [0, 1]: the network sees ``(rgb / 255 - mean) / std``.
    trimap : bool
        Whether it needs a trimap beside the picture.
    steps : tuple of SizeStep
        How a picture's sides become the network's, in order.
    """

    size: tuple[int, int] = (512, 512)
    mean: tuple[float, ...] = _HALF
    std: tuple[float, ...] = _HALF
    trimap: bool = False
    steps: tuple[SizeStep, ...] = (SizeStep("limit_short", (None, 512)), SizeStep("multiple", (32,)))

    @property
    def fixed(self) -> tuple[int, int] | None:
        """(height, width) where the network takes no other."""
        return next((step.apply(1, 1) for step in self.steps if step.kind == "fixed"), None)

    @property
    def multiple(self) -> int:
        """What both sides must be multiples of."""
        return math.lcm(*(int(step.values[0] or 1) for step in self.steps if step.kind == "multiple"))

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the network's input for a picture of these sides, made by resizing alone."""
        for step in self.steps:
            height, width = step.apply(height, width)
        return height, width

    def sides_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the picture as the network should see it, before its sides become multiples."""
        return replace(self, steps=tuple(step for step in self.steps if step.kind != "multiple")).size_for(
            height, width
        )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], where: str) -> InputRule:
        """Read the ``input`` table of a card; ``where`` names it in errors. Raises ConfigError."""
        unknown = sorted(data.keys() - {"size", "mean", "std", "trimap", "steps"})
        if unknown:
            raise ConfigError(
                f"{where}: unknown key {', '.join(unknown)} in input; known: size, mean, std, trimap, steps"
            )
        default = cls()
        size = data.get("size", default.size)
        if not (isinstance(size, list | tuple) and len(size) == 2 and all(_is_side(side) for side in size)):
            raise ConfigError(f"{where}: input.size must be [height, width] in pixels; got {size!r}")
        steps, trimap = data.get("steps", default.steps), data.get("trimap", False)
        if not isinstance(trimap, bool):
            raise ConfigError(f"{where}: input.trimap must be true or false; got {trimap!r}")
        if not isinstance(steps, list | tuple):
            raise ConfigError(
                f"{where}: input.steps must be a list such as [{{long: 512}}, {{multiple: 32}}]; got {steps!r}"
            )
        return cls(
            size=(size[0], size[1]),
            mean=_triple(data.get("mean", default.mean), f"{where}: input.mean"),
            std=_divisors(data.get("std", default.std), f"{where}: input.std"),
            trimap=trimap,
            steps=tuple(step if isinstance(step, SizeStep) else _step(step, where) for step in steps),
        )


@dataclass(frozen=True, slots=True)
class Deploy:
    """What a ``deploy.yaml`` says of the exported model beside it. File names are as written, relative to it."""

    model: str
    params: str
    architecture: str
    input: InputRule


_TRANSFORMS: Mapping[str, tuple[str, tuple[str, ...]]] = {  # their name -> (our step, their arguments)
    "LimitShort": ("limit_short", ("min_short", "max_short")),
    "LimitLong": ("limit_long", ("min_long", "max_long")),
    "ResizeByShort": ("short", ("short_size",)),
    "ResizeByLong": ("long", ("long_size",)),
    "ResizeToIntMult": ("multiple", ("mult_int",)),
}
_DEFAULTS = {"short_size": 512, "long_size": 512, "mult_int": 32}
_WITHOUT_SIZE = ("LoadImages", "Normalize", "Padding")


def read_deploy(path: str | Path) -> Deploy:
    """Read the ``deploy.yaml`` (FastDeploy: ``inference.yml``) of a model that PaddleSeg's Matting tools exported.

    Raises
    ------
    ModelError
        No YAML, not of that layout, with a value that is none, or with a transform that would need more than sides and
        a normalisation.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = data["Deploy"]
        transforms = [dict(entry) for entry in table.get("transforms") or [{"type": "Normalize"}]]
        model, params = str(table["model"]), str(table["params"])
        kinds = [str(entry.pop("type")) for entry in transforms]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{path} is no deploy.yaml of an exported matting model ({type(error).__name__}); "
            "it needs Deploy with model, params and transforms"
        ) from error
    steps, mean, std = [], _HALF, _HALF
    shape = table.get("input_shape") or [None] * 4
    if not isinstance(shape, list):
        raise ModelError(f"{path}: input_shape must be a list of four sides, null where one is open; got {shape!r}")
    fixed = len(shape) == 4 and all(_is_side(side) for side in shape[2:])
    for kind, values in zip(kinds, transforms, strict=True):
        if kind == "Normalize":
            mean = _triple(values.get("mean", _HALF), f"{path}: mean", ModelError)
            std = _divisors(values.get("std", _HALF), f"{path}: std", ModelError)
        elif kind == "Resize":
            width, height = _pair(values.get("target_size", (512, 512)), path)
            steps.append(_transform(path, "fixed", (height, width)))
        elif kind in _TRANSFORMS:
            step, names = _TRANSFORMS[kind]
            steps.append(_transform(path, step, tuple(values.get(name, _DEFAULTS.get(name)) for name in names)))
        elif kind not in _WITHOUT_SIZE:
            known = ", ".join([*_TRANSFORMS, "Resize", *_WITHOUT_SIZE])
            raise ModelError(f"{path}: transform {kind} is unknown; known: {known}")
    if fixed:
        steps = [SizeStep("fixed", (shape[2], shape[3]))]
    rule = InputRule(
        size=(shape[2], shape[3]) if fixed else _square(steps),
        mean=mean,
        std=std,
        trimap=bool(table.get("trimap", str(data.get("ModelName", "")) in ("DIM", "GCA", "GCABaseline"))),
        steps=tuple(steps) or InputRule().steps,
    )
    return Deploy(model=model, params=params, architecture=str(data.get("ModelName", "")), input=rule)


def _square(steps: Sequence[SizeStep]) -> tuple[int, int]:
    """The side that the steps lead to, as a square: what an open graph is tried at."""
    side = InputRule(steps=tuple(steps)).size_for(4096, 4096)
    return side if max(side) < 4096 else InputRule().size


def _step(entry: Any, where: str) -> SizeStep:
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise ConfigError(f"{where}: a size step is one key with its numbers; got {entry!r}")
    ((kind, values),) = entry.items()
    try:
        return SizeStep(str(kind), tuple(values) if isinstance(values, list | tuple) else (values,))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _transform(path: Path, kind: str, values: tuple[Any, ...]) -> SizeStep:
    try:
        return SizeStep(kind, values)
    except ConfigError as error:
        raise ModelError(f"{path}: {error}; correct it or export the model again") from error


def _triple(
    values: Any, where: str, error: type[ConfigError] | type[ModelError] = ConfigError
) -> tuple[float, float, float]:
    try:
        first, second, third = (float(value) for value in values)
    except (TypeError, ValueError):
        raise error(f"{where} must be three numbers; got {values!r}") from None
    if not all(map(math.isfinite, (first, second, third))):
        raise error(f"{where} must be three finite numbers; got {values!r}")
    return first, second, third


def _divisors(
    values: Any, where: str, error: type[ConfigError] | type[ModelError] = ConfigError
) -> tuple[float, float, float]:
    triple = _triple(values, where, error)
    if min(triple) <= 0:
        raise error(f"{where} must be three numbers above 0, the picture is divided by them; got {values!r}")
    return triple


def _pair(values: Any, path: Path) -> tuple[int, int]:
    if isinstance(values, int):
        return values, values
    try:
        width, height = (int(value) for value in values)
    except (TypeError, ValueError):
        raise ModelError(f"{path}: target_size must be a side or two; got {values!r}") from None
    return width, height
