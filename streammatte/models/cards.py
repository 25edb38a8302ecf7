"""Model cards: what is known of a network without loading it.

One YAML file a network in ``configs/models/``, named like it:

.. code-block:: yaml

    name: ppmattingv2-stdc1-human_512
    title: PP-MattingV2
    architecture: PPMattingV2           # as deploy.yaml's ModelName has it
    arguments: {backbone: STDC1}        # distinguishes networks of one architecture; information, not executed
    input:
      size: [512, 512]                  # height, width it was trained and is measured at
      mean: [0.5, 0.5, 0.5]             # of RGB in 0..1
      std: [0.5, 0.5, 0.5]
      trimap: false
      steps:                            # how an image's sides become the network's, in order
        - {limit_short: [null, 512]}    # at least, at most
        - {multiple: 32}
    licence: Apache-2.0
    paper: title or address
    seed: {sad: 40.59, params_m: 8.95, flops_g: 7.51, fps: 98.89}     # published, on a V100; null where not
    output_scale: 1                     # height of its alpha divided by that of its input
    embedded: false                     # true where it comes with the package
    assets: {float: FILE.xml}           # an embedded network's graphs in streammatte/assets, by kind: float, int8
    graph: {range: logits}              # how a graph of others is read: streammatte.models.graph_rule.GraphRule
    file: NAME.onnx                     # a third-party network: its file's name,
    get: https://...                    # and where users get it
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

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from streammatte.errors import ConfigError, ModelNotFoundError
from streammatte.models.graph_rule import GraphRule
from streammatte.models.input_rule import STRICT, InputRule, checked

__all__ = [
    "FILE_KINDS",
    "Card",
    "RemoteFile",
    "SeedFigures",
    "card_names",
    "load_card",
    "read_card",
    "third_party_cards",
]

FILE_KINDS = ("checkpoint", "inference")
"""A checkpoint is one ``.pdparams``; an inference file is a zip of an exported model's folder."""
FileKind = Annotated[str, Field(pattern=f"^({'|'.join(FILE_KINDS)})$")]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that ``pull`` can fetch; ``size`` in bytes.

    Where a card has no SHA-256, what was fetched is checked against its length alone: ``size``, else the length that
    the server declares.
    """

    __pydantic_config__ = STRICT

    url: Annotated[str, Field(pattern=r"^https?://[^/]+/.*[^/]$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    size: Annotated[int, Field(gt=0)] | None = None

    @property
    def filename(self) -> str:
        """Last part of the address."""
        return self.url.rsplit("/", 1)[-1].split("?", 1)[0]


@dataclass(frozen=True, slots=True)
class SeedFigures:
    """As published, on a V100: SAD on PPM-AIM-195, parameters in millions, operations in billions, frames a second."""

    __pydantic_config__ = STRICT

    sad: float | None = None
    params_m: float | None = None
    flops_g: float | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """One network. The module's docstring shows the file that it is read from.

    ``embedded`` is true where the network comes with the package; ``files`` is empty there and where none is published.
    """

    __pydantic_config__ = STRICT

    name: str
    title: str
    architecture: str
    input: InputRule
    licence: str
    paper: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seed: SeedFigures = field(default_factory=SeedFigures)
    files: Mapping[FileKind, RemoteFile] = field(default_factory=dict)
    embedded: bool = False
    output_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    assets: Mapping[str, str] = field(default_factory=dict)
    graph: GraphRule = field(default_factory=GraphRule)
    file: str | None = None
    get: str | None = None
    training: str = ""
    limits: str = ""
    quality: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""


def card_names() -> tuple[str, ...]:
    """Names of all cards, sorted."""
    files = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".yml") for name in files if name.endswith(".yml")))


@cache
def third_party_cards() -> tuple[Card, ...]:
    """Cards of third-party networks, whose files users get themselves: known by the file's name, never fetched."""
    files = sorted((_folder() / "third_party").iterdir(), key=lambda entry: entry.name)
    return tuple(read_card(file.read_text(encoding="utf-8"), f"the card {file.name}") for file in files)


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
        third_party = next((card for card in third_party_cards() if card.name == name), None)
        if third_party is not None:
            return third_party
        raise ModelNotFoundError(f"no network is named {name!r}; known: {', '.join(card_names())}")
    return read_card((_folder() / f"{name}.yml").read_text(encoding="utf-8"), f"the card of {name}")


def read_card(text: str, where: str) -> Card:
    """Read a card from YAML; ``where`` names it in errors.

    Raises
    ------
    ConfigError
        It is not YAML, a key is unknown or missing, or a value is of the wrong kind.
    """
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # an impossible date, a thousand brackets
        raise ConfigError(f"{where} is not valid YAML ({str(error).splitlines()[0]})") from error
    try:
        return checked(Card, document, where)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as error:  # a value that holds itself
        raise ConfigError(f"{where} is no card ({str(error).splitlines()[0]})") from error


def _folder() -> Any:
    """The cards' folder; an editable installation of some setuptools versions does not map ``streammatte.configs``."""
    try:
        return resources.files("streammatte.configs") / "models"
    except ModuleNotFoundError:
        return Path(__file__).parents[2] / "configs" / "models"
