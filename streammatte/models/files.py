"""The files of one network, and what an export folder holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streammatte.errors import ModelError, ModelNotFoundError
from streammatte.models.input_rule import InputRule, read_deploy
from streammatte.network_size import SIDE_MULTIPLE

if TYPE_CHECKING:
    pass
__all__ = ["ModelFiles", "exported"]


DEPLOY_NAMES = ("deploy.yaml", "inference.yml")
"""What PaddleSeg's export writes beside a model; the second is its form for FastDeploy."""


PROGRAM_SUFFIXES = (".pdmodel", ".json")
"""A Paddle program: up to 2.6 and official zips, and from 3.0 on."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one network. What it is here in is set; an engine that needs another form converts it.

    Parameters
    ----------
    name : str
    graphs : mapping
        ``float`` and, where there is one, ``int8``: what OpenVINO reads, an ``.xml``, ``.onnx`` or ``.pdmodel``.
    program, params : Path, optional
        What Paddle Inference reads: ``.pdmodel`` or ``.json``, and ``.pdiparams``.
    weights : Path, optional
        ``.pdparams`` or ``.npz`` of the zoo's network ``architecture``.
    architecture : str, optional
        A name of :func:`streammatte.networks.names`.
    rule : InputRule
        Its input as card, ``deploy.yaml`` or the graph itself say it.
    """

    name: str
    graphs: Mapping[str, Path] = field(default_factory=dict)
    program: Path | None = None
    params: Path | None = None
    weights: Path | None = None
    architecture: str | None = None
    rule: InputRule = field(default_factory=InputRule)

    @property
    def multiple(self) -> int:
        """What the sides of its input must be multiples of."""
        return math.lcm(SIDE_MULTIPLE, self.rule.multiple)

    @property
    def mean(self) -> tuple[float, ...]:
        """Of RGB in [0, 1]; used where the graph does not normalise by itself."""
        return self.rule.mean

    @property
    def std(self) -> tuple[float, ...]:
        """As ``mean``."""
        return self.rule.std


def exported(folder: Path, name: str | None = None) -> ModelFiles:
    """The files of a folder as PaddleSeg's export leaves it, or of one level above it, as its zips unpack.

    Raises
    ------
    ModelNotFoundError, ModelError
        It holds none or several, or what it holds is not whole.
    """
    here = [[path for file in DEPLOY_NAMES for path in sorted(folder.glob(depth + file))] for depth in ("", "*/")]
    found = here[0] or here[1]
    if not found:
        raise ModelNotFoundError(f"{folder} holds no {' or '.join(DEPLOY_NAMES)}; give the folder of an exported model")
    homes = sorted({path.parent for path in found})
    if len(homes) > 1:
        raise ModelError(f"{folder} holds {len(homes)} models; give one of {', '.join(map(str, homes))}")
    deploy, home = read_deploy(found[0]), homes[0]
    given = Path(deploy.model)
    programs = [home / given.name] + [home / f"{given.stem}{suffix}" for suffix in PROGRAM_SUFFIXES]
    program = next((path for path in programs if path.is_file()), programs[0])
    return _program(program, home / Path(deploy.params).name, name or folder.resolve().name, deploy.input)


def _program(program: Path, params: Path, name: str, rule: InputRule) -> ModelFiles:
    for path in (program, params):
        if not path.is_file():
            raise ModelNotFoundError(f"no file at {path}; an exported Paddle model is a program and its .pdiparams")
    graphs = {"float": program} if program.suffix == ".pdmodel" else {}
    return ModelFiles(name, graphs, program=program, params=params, rule=rule)
