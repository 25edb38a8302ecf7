"""The files of one network, and what an export folder holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streammatte.errors import ModelError, ModelNotFoundError
from streammatte.models.graph_rule import GraphRule
from streammatte.models.input_rule import InputRule, read_deploy
from streammatte.network_size import SIDE_MULTIPLE

__all__ = ["DEPLOY_NAMES", "PROGRAM_SUFFIXES", "ModelFiles", "exported", "program_files"]

DEPLOY_NAMES = ("deploy.yaml", "inference.yml")
"""What PaddleSeg's export writes beside a model; the second is its form for FastDeploy."""
PROGRAM_SUFFIXES = (".pdmodel", ".json")
"""A Paddle program: up to 2.6 and official zips, and from 3.0 on."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one network, in the forms that are here; an engine that needs another form converts it.

    Parameters
    ----------
    name : str
    graphs : mapping
        ``float`` and, where there is one, ``int8``: what OpenVINO reads, an ``.xml``, ``.onnx`` or ``.pdmodel``.
    program, params : Path, optional
        What Paddle Inference reads: ``.pdmodel`` or ``.json``, and ``.pdiparams``.
    weights : Path, optional
        ``.pdparams`` or ``.npz`` of the network ``architecture``.
    architecture : str, optional
        A name of :func:`streammatte.networks.names`.
    rule : InputRule
        Its input according to the card, ``deploy.yaml`` or the graph itself.
    reading : GraphRule
        What its inputs and outputs are, according to the card.
    """

    name: str
    graphs: Mapping[str, Path] = field(default_factory=dict)
    program: Path | None = None
    params: Path | None = None
    weights: Path | None = None
    architecture: str | None = None
    rule: InputRule = field(default_factory=InputRule)
    reading: GraphRule = field(default_factory=GraphRule)

    @property
    def multiple(self) -> int:
        """What the sides of its input must be multiples of."""
        return math.lcm(SIDE_MULTIPLE, self.rule.multiple)

    @property
    def form(self) -> str:
        """The suffix of the file that conversions start from."""
        here = self.weights or self.program or self.graphs.get("float")
        return here.suffix if here is not None else "nothing"


def exported(folder: Path, name: str | None = None) -> ModelFiles:
    """The files of a folder as PaddleSeg's export leaves it, or of one level above it, as its zips unpack.

    Raises
    ------
    ModelNotFoundError, ModelError
        It holds none or several, or files are missing or damaged.
    """
    found = [path for file in DEPLOY_NAMES for path in sorted(folder.glob(file))]
    found = found or [path for file in DEPLOY_NAMES for path in sorted(folder.glob(f"*/{file}"))]
    if not found:
        raise ModelNotFoundError(f"{folder} holds no {' or '.join(DEPLOY_NAMES)}; give the folder of an exported model")
    homes = sorted({path.parent for path in found})
    if len(homes) > 1:
        raise ModelError(f"{folder} holds {len(homes)} models; give one of {', '.join(map(str, homes))}")
    deploy, home = read_deploy(found[0]), homes[0]
    given = Path(deploy.model)
    programs = [home / given.name] + [home / f"{given.stem}{suffix}" for suffix in PROGRAM_SUFFIXES]
    program = next((path for path in programs if path.is_file()), programs[0])
    return program_files(program, home / Path(deploy.params).name, name or folder.resolve().name, deploy.input)


def program_files(program: Path, params: Path, name: str, rule: InputRule) -> ModelFiles:
    """The files of a Paddle program.

    Parameters
    ----------
    program, params : Path
        ``.pdmodel`` or ``.json``, and ``.pdiparams``.
    name : str
    rule : InputRule

    Raises
    ------
    ModelNotFoundError
        One of the two is not there.
    """
    for path in (program, params):
        if not path.is_file():
            raise ModelNotFoundError(f"no file at {path}; an exported Paddle model is a program and its .pdiparams")
    graphs = {"float": program} if program.suffix == ".pdmodel" else {}
    return ModelFiles(name, graphs, program=program, params=params, rule=rule)
