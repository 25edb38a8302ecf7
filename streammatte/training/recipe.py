"""Training recipes: options in a YAML file, with the transforms and the weights of the losses."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Self

import attrs

from streammatte.errors import ConfigError
from streammatte.networks import names
from streammatte.options.declare import Options, declared, from_text, option, option_class
from streammatte.options.presets import load_preset

__all__ = ["Recipe", "load_recipe", "recipe_names"]

_SIZES = frozenset({"target_size", "crop_size", "size", "max_short", "min_short", "max_long", "min_long"})
"""Arguments of transforms that are sizes."""
_DEEPEST = 8
"""How many recipes may extend each other."""


@option_class
class Recipe(Options):
    """A training. ``transforms`` are pairs of a name and its arguments, ``losses`` factors of a network's losses."""

    network: str = option(default="ppmattingv2-lite", help="What is trained.", choices=names())
    init: str | None = option(default=None, help="Weights to begin with: .pdparams, .npz, or published.")
    data: str | None = option(default=None, help="Folder of images and alphas.")
    validation: str | None = option(default=None, help="Folder with a truth, on which the best weights are chosen.")
    backgrounds: str | None = option(
        default=None, help="Folder of images and videos that people are laid over; else the data's own rooms."
    )
    licence: str | None = option(default=None, help="Of the data and so of the weights; stands in the model card.")
    batch: int = option(default=16, help="Images of a step, in each process.", low=1, high=4096)
    accumulate: int = option(default=1, help="Steps whose gradients are summed.", low=1, high=4096)
    size: int = option(default=512, help="Side of the square that the network sees.", low=32, high=4096)
    iters: int = option(default=100_000, help="Steps.", low=1, high=10**9)
    epochs: int = option(default=0, help="Rounds over the data instead of steps.", low=0, high=10**6)
    seed: int = option(default=0, help="Of everything random.", low=0, high=2**31 - 1)
    workers: int = option(default=2, help="Processes that load data; 0 loads in this one.", low=0, high=256)
    optimizer: str = option(default="sgd", help="Method.", choices=("sgd", "adam", "adamw"))
    learning_rate: float = option(default=0.01, help="At its highest.", low=0, above=True, high=10)
    momentum: float = option(default=0.9, help="Of sgd.", low=0, high=1)
    weight_decay: float = option(default=0.0, help="L2; of adamw decoupled.", low=0, high=1)
    schedule: str = option(
        default="constant", help="Of the rate.", choices=("constant", "polynomial", "piecewise", "cosine")
    )
    end_rate: float = option(default=0.0, help="Rate at the end (polynomial, cosine).", low=0, high=10)
    power: float = option(default=0.9, help="Of the polynomial.", low=0, above=True, high=10)
    boundaries: str = option(default="", help="Steps at which the rate falls (piecewise), as in 40000,80000.")
    gamma: float = option(default=0.1, help="By which it falls there.", low=0, above=True, high=1)
    warmup: int = option(default=0, help="Steps in which the rate rises.", low=0, high=10**9)
    warmup_start: float = option(default=1e-5, help="Rate at the first of them.", low=0, high=10)
    clip: float = option(default=0.0, help="Largest norm of all gradients together; 0 is any.", low=0, high=1e9)
    ema: float = option(default=0.0, help="What a step keeps of the mean of weights; 0 is no mean.", low=0, high=1)
    blend: float = option(
        default=1.0,
        help="Share of what was learned in the weights that come out; the rest is what it began with.",
        low=0,
        high=1,
        above=True,
    )
    amp: str = option(default="off", help="Mixed precision.", choices=("off", "bf16", "f16"))
    freeze: str = option(default="", help="Parameters whose names match this expression stay, with their batch norms.")
    compose: float = option(default=0.0, help="Share of samples laid over a background.", low=0, high=1)
    empty: float = option(default=0.0, help="Share of samples without a person.", low=0, high=1)
    rssn: bool = option(default=False, help="Compose several people, denoise and blur backgrounds (RSSN).", switch=True)
    temporal: float = option(default=0.0, help="Weight of the consistency of pairs of frames.", low=0, high=1000)
    save_every: int = option(default=1000, help="Steps between two checkpoints.", low=1, high=10**9)
    evaluate_every: int = option(default=1000, help="Steps between two validations.", low=1, high=10**9)
    evaluate_images: int = option(default=0, help="Images of a validation, evenly chosen; 0 is all.", low=0, high=10**6)
    sample_every: int = option(default=1000, help="Steps between two sheets of samples.", low=1, high=10**9)
    metric: str = option(
        default="mad", help="By which the best is chosen.", choices=("mad", "mse", "sad", "grad", "conn")
    )
    transforms: tuple[tuple[str, dict[str, Any]], ...] = attrs.field(default=())
    losses: dict[str, float] = attrs.field(factory=dict)

    @property
    def falls(self) -> tuple[int, ...]:
        """``boundaries`` as numbers. Raises ConfigError."""
        try:
            return tuple(int(step) for step in self.boundaries.split(",")) if self.boundaries else ()
        except ValueError:
            raise ConfigError(f"boundaries are steps, as in 40000,80000; got {self.boundaries!r}") from None

    def resized(self, size: int) -> Self:
        """The recipe for another size: the sizes of its transforms change with it."""
        by = size / self.size

        def scaled(value: Any) -> Any:
            if isinstance(value, list | tuple):
                return [scaled(part) for part in value]
            return round(value * by) if isinstance(value, int) else value

        changed = tuple(
            (name, {key: scaled(value) if key in _SIZES else value for key, value in arguments.items()})
            for name, arguments in self.transforms
        )
        return self.replace(size=size, transforms=changed)

    def changed(self, assignments: tuple[str, ...]) -> Self:
        """The recipe after ``key=value`` texts; ``losses.NAME=factor`` too. Raises ConfigError."""
        made = self
        for text in assignments:
            key, equals, value = (part.strip() for part in text.partition("="))
            key = key.replace("-", "_")
            if not equals:
                raise ConfigError(f"--set takes key=value, got {text!r}")
            if key.startswith("losses."):
                made = made.replace(losses=_factors({**made.losses, key.removeprefix("losses."): _number(value)}))
                continue
            try:
                entry = declared(type(self), key)
            except StopIteration:
                raise ConfigError(f"a recipe has no {key!r}") from None
            made = made.replace(**{key: from_text(entry, value)})
        return made


def recipe_names() -> list[str]:
    """The recipes that are installed."""
    folder = resources.files("streammatte.configs") / "train"
    return sorted(item.name[:-4] for item in folder.iterdir() if item.name.endswith(".yml"))


def load_recipe(name_or_file: str) -> Recipe:
    """A recipe by its installed name, or from a YAML file.

    ``extends: OTHER`` in it begins with another recipe, whose values stay where it has none.

    Raises
    ------
    ConfigError
    """
    values: dict[str, Any] = {}
    wanted, depth = str(name_or_file), 0
    while wanted:
        depth += 1
        if depth > _DEEPEST:
            raise ConfigError(f"recipe {name_or_file} extends too many others")
        given = load_preset(_file_of(wanted))
        base = given.pop("extends", "")
        if not isinstance(base, str):
            raise ConfigError(f"recipe {wanted}: extends names another recipe")
        values = {**given, **values}
        beside = Path(wanted).parent / base
        wanted = str(beside) if base.endswith((".yml", ".yaml")) and Path(wanted).suffix else base
    transforms, losses = values.pop("transforms", ()), values.pop("losses", {})
    if isinstance(values.get("boundaries"), list):
        values["boundaries"] = ",".join(str(step) for step in values["boundaries"])
    recipe = Recipe.build(values)
    return recipe.replace(transforms=_pairs(transforms), losses=_factors(losses))


def _file_of(name: str) -> str:
    if Path(name).suffix in (".yml", ".yaml"):
        return name
    if name not in recipe_names():
        raise ConfigError(f"no recipe {name!r}; installed are {', '.join(recipe_names())}, or give a .yml file")
    return str(resources.files("streammatte.configs") / "train" / f"{name}.yml")


def _pairs(given: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    found: list[tuple[str, dict[str, Any]]] = []
    for entry in given or ():
        if isinstance(entry, str):
            found.append((entry, {}))
            continue
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ConfigError(f"a transform is a name, or a name with its arguments; got {entry!r}")
        ((name, arguments),) = entry.items()
        if not isinstance(arguments or {}, dict):
            raise ConfigError(f"transform {name}: its arguments are names with values")
        found.append((str(name), dict(arguments or {})))
    return tuple(found)


def _factors(given: Any) -> dict[str, float]:
    if not isinstance(given, dict):
        raise ConfigError("losses are names with factors")
    return {str(name): _number(value) for name, value in given.items()}


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1e6:
        raise ConfigError(f"a factor of a loss is 0 to 1e6, got {value!r}")
    return number
