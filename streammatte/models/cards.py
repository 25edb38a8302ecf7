"""Model cards: what is known of a network without loading it.

One YAML file a network in ``configs/models/``, named like it:

.. code-block:: yaml

    name: ppmattingv2-stdc1-human_512
    title: PP-MattingV2
    architecture: PPMattingV2           # as deploy.yaml's ModelName has it
    arguments: {backbone: STDC1}        # what tells it from others of its architecture; told, not executed
    input:
      size: [512, 512]                  # height, width it was trained and is measured at
      mean: [0.5, 0.5, 0.5]             # of RGB in 0..1
      std: [0.5, 0.5, 0.5]
      trimap: false
      steps:                            # how a picture's sides become the network's, in order
        - {limit_short: [null, 512]}    # at least, at most
        - {multiple: 32}
    licence: Apache-2.0
    paper: title or address
    seed: {sad: 40.59, params_m: 8.95, flops_g: 7.51, fps: 98.89}     # published, on a V100; null where not
    output_scale: 1                     # height of its alpha divided by that of its input
    embedded: false                     # true where it comes with the package
    assets: {float: FILE.xml}           # an embedded network's graphs in streammatte/assets, by kind: float, int8
    files:                              # none where nothing is published
      checkpoint: {url: https://..., sha256: null, size: null}        # size in bytes
      inference: {url: https://..., sha256: null, size: null}
    training: |
      What it was trained on and how, with the licences of the material.
    limits: |
      Where it is weak.
    quality: {stills MAD: 14.4}         # measured; keys say of what
    notes: |
      Whatever else a user should know.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from streammatte.errors import ConfigError, ModelNotFoundError
from streammatte.models.input_rule import InputRule

__all__ = ["Card", "RemoteFile", "SeedFigures", "card_names", "load_card", "read_card"]

_KINDS = {
    str: "text (in quotes where it looks like a number)",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Mapping: "a table of keys and values",
    NoneType: "null",
}
FILE_KINDS = ("checkpoint", "inference")
"""A checkpoint is one ``.pdparams``; an inference file is a zip of an exported model's folder."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that ``pull`` can fetch. ``size`` in bytes; None where it is not known."""

    url: str
    sha256: str | None = None
    size: int | None = None

    @property
    def filename(self) -> str:
        """Last part of the address."""
        return self.url.rsplit("/", 1)[-1].split("?", 1)[0]


@dataclass(frozen=True, slots=True)
class SeedFigures:
    """As published, on a V100: SAD on PPM-AIM-195, parameters in millions, operations in billions, frames a second."""

    sad: float | None = None
    params_m: float | None = None
    flops_g: float | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One network. The module's docstring shows the file that it is read from.

    ``embedded`` is true where the network comes with the package; ``files`` is empty there and where none is published.
    """

    name: str
    title: str
    architecture: str
    input: InputRule
    licence: str
    paper: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: SeedFigures = field(default_factory=SeedFigures)
    files: Mapping[str, RemoteFile] = field(default_factory=dict)
    embedded: bool = False
    output_scale: float = 1.0
    assets: Mapping[str, str] = field(default_factory=dict)
    training: str = ""
    limits: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""


def card_names() -> tuple[str, ...]:
    """Names of all cards, sorted."""
    folder = _folder()
    return tuple(sorted(entry.name.removesuffix(".yml") for entry in folder.iterdir() if entry.name.endswith(".yml")))


@cache
def load_card(name: str) -> Card:
    """The card of a network.

    Raises
    ------
    ModelNotFoundError
        No card has this name.
    ConfigError
        The card is faulty.
    """
    if name not in card_names():
        raise ModelNotFoundError(f"no network is named {name!r}; known: {', '.join(card_names())}")
    return read_card((_folder() / f"{name}.yml").read_text(encoding="utf-8"), f"the card of {name}")


def read_card(text: str, where: str) -> Card:
    """Read a card from YAML; ``where`` names it in errors.

    Raises
    ------
    ConfigError
        No YAML, a key is unknown or missing, or a value is of the wrong kind.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is no YAML ({str(error).splitlines()[0]})") from error
    data = dict(_mapping(data, where))
    rule = InputRule.from_mapping(_mapping(data.pop("input", None), f"{where}: input"), where)
    seed = _build(SeedFigures, data.pop("seed", None) or {}, f"{where}: seed")
    files = {
        kind: _build(RemoteFile, entry, f"{where}: files.{kind}")
        for kind, entry in _mapping(data.pop("files", None) or {}, f"{where}: files").items()
    }
    unknown = sorted(files.keys() - set(FILE_KINDS))
    if unknown:
        raise ConfigError(f"{where}: files may be {' and '.join(FILE_KINDS)}; got {', '.join(unknown)}")
    card: Card = _build(Card, {**data, "input": rule, "seed": seed, "files": files}, where)
    return card


def _folder() -> Any:
    """The cards' folder; an editable installation of some setuptools versions does not map ``streammatte.configs``."""
    try:
        return resources.files("streammatte.configs") / "models"
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "configs" / "models"


def _mapping(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where} must be a table of keys and values; got {data!r}")
    return data


def _build(kind: type[Any], data: Any, where: str) -> Any:
    data = _mapping(data, where)
    known = {entry.name: entry for entry in dataclasses.fields(kind)}
    unknown = sorted(data.keys() - known.keys())
    missing = sorted(
        name
        for name, entry in known.items()
        if name not in data and entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
    )
    if unknown or missing:
        told = [f"unknown key {name}" for name in unknown] + [f"missing key {name}" for name in missing]
        raise ConfigError(f"{where}: {', '.join(told)}; known: {', '.join(known)}")
    for name, hint in get_type_hints(kind).items():
        if name in data and not _fits(data[name], hint):
            raise ConfigError(f"{where}: {name} must be {_told(hint)}; got {data[name]!r}")
    return kind(**data)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from YAML is of an annotation's type: a whole number is a number too, true is none."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    plain = tuple(get_origin(kind) or kind for kind in kinds)
    if isinstance(value, bool):
        return bool in plain
    if isinstance(value, int | float) and float in plain:
        return math.isfinite(value)
    return isinstance(value, plain)


def _told(hint: Any) -> str:
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return " or ".join(_KINDS.get(get_origin(kind) or kind, "as the module's example shows") for kind in kinds)
