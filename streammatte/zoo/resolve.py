"""From what a user calls a model (a name, a file, a folder) to the files that an engine reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import streammatte
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.sizes import SIDE_MULTIPLE
from streammatte.zoo.rules import InputRule, read_deploy

if TYPE_CHECKING:
    from streammatte.zoo.graph import GraphFacts

__all__ = ["EMBEDDED", "ModelFiles", "exported", "match_name", "resolve", "split_name"]

EMBEDDED = ("ppmattingv2-lite",)
"""Networks whose files come with the package, in ``assets/``."""
DEPLOY_NAMES = ("deploy.yaml", "inference.yml")
"""What PaddleSeg's export writes beside a model; the second is its form for FastDeploy."""
PROGRAM_SUFFIXES = (".pdmodel", ".json")
"""A Paddle program: up to 2.6 and official zips, and from 3.0 on."""
WEIGHT_SUFFIXES = (".pdparams", ".npz")
GRAPH_SUFFIXES = (".xml", ".onnx")


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
        A name of :func:`streammatte.zoo.names`.
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


def resolve(model: str) -> ModelFiles:
    """Find a network's files.

    Parameters
    ----------
    model : str
        A name of the zoo (embedded, or pulled before); an ``.xml``, ``.onnx``, ``.pdmodel`` or ``.json`` (with its
        ``.pdiparams`` beside); a folder with an exported Paddle model; or weights (``.pdparams``, ``.npz``), whose
        network is told by their name or as ``NETWORK=FILE``.

    Raises
    ------
    ModelNotFoundError
        Neither a known name nor a file, or a network whose files are not here.
    ModelError
        A file of a kind that no engine reads, or an installation without its assets.
    """
    from streammatte.zoo.cards import card_names

    if model in EMBEDDED:
        return _embedded(model)
    if model in card_names():
        return _from_store(model)
    network, path = split_name(model)
    if network is not None and not path.exists():
        raise ModelNotFoundError(f"there are no weights {path}; check the name")
    if not model or not path.exists():
        raise ModelNotFoundError(
            f"no model is named {model!r} and no such file exists; "
            f"known: {', '.join(dict.fromkeys((*EMBEDDED, *card_names())))}, or give a path"
        )
    suffix = path.suffix.lower()
    if suffix in WEIGHT_SUFFIXES:
        return _weights(path, network)
    if network is not None:
        raise ConfigError(f"NETWORK=FILE tells whose weights FILE holds ({', '.join(WEIGHT_SUFFIXES)}); got {model}")
    if path.is_dir():
        return exported(path)
    if suffix in PROGRAM_SUFFIXES:
        files = _program(path, path.with_suffix(".pdiparams"), path.stem, InputRule())
        return replace(files, rule=_facts(path).rule) if files.graphs else files
    if suffix not in GRAPH_SUFFIXES:
        known = ", ".join((*GRAPH_SUFFIXES, *PROGRAM_SUFFIXES, *WEIGHT_SUFFIXES))
        raise ModelError(f"a model file must be one of {known}, or a folder with an exported model; got {model}")
    return _graph(path)


def split_name(model: str) -> tuple[str | None, Path]:
    """A path as a user writes it, and the network in front of it (``NETWORK=FILE``), if any.

    What exists under the whole text is that: folders may well be named ``lr=0.1``.
    """
    from streammatte.zoo.registry import names

    network, given, file = model.partition("=")
    whole = Path(model).expanduser()
    if given and network in names() and not whole.exists():
        return network, Path(file).expanduser()
    return None, whole


def match_name(path: Path) -> str | None:
    """The network of the zoo that a file's name begins with; the longest where several do."""
    from streammatte.zoo.registry import names

    stem = path.stem.replace("_", "-").lower()
    fitting = [name for name in names() if stem.startswith(name.replace("_", "-").lower())]
    return max(fitting, key=len, default=None)


def _graph(path: Path) -> ModelFiles:
    facts = _facts(path)
    return ModelFiles(path.stem, {"float": path} | ({"int8": path} if facts.int8 else {}), rule=facts.rule)


def _facts(path: Path) -> GraphFacts:
    """What a graph says that comes with no other word than itself."""
    from streammatte.zoo.graph import read_facts

    return read_facts(path, path.stat().st_mtime_ns)


def _embedded(name: str) -> ModelFiles:
    from streammatte.zoo.cards import load_card

    card = load_card(name)
    folder = Path(streammatte.__file__).parent / "assets"
    found = {kind: folder / file for kind, file in card.assets.items()}
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        raise ModelError(f"the installation lacks {', '.join(missing)} in {folder}; install streammatte again")
    return ModelFiles(name, found, rule=card.input)


def _from_store(name: str) -> ModelFiles:
    from streammatte.zoo.cards import load_card
    from streammatte.zoo.store import ready

    rule = load_card(name).input
    kept = ready(name)
    if kept.folder is not None:
        return exported(kept.folder, name)
    return ModelFiles(name, weights=kept.checkpoint, architecture=name, rule=rule)


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


def _weights(path: Path, network: str | None) -> ModelFiles:
    from streammatte.zoo.cards import card_names, load_card
    from streammatte.zoo.registry import names

    found = network or match_name(path)
    if found is None or found not in names():
        raise ConfigError(
            f"which network are the weights in {path.name} of? Write NETWORK={path}, "
            f"NETWORK one of {', '.join(names())}"
        )
    rule = load_card(found).input if found in card_names() else InputRule()
    return ModelFiles(path.stem, weights=path, architecture=found, rule=rule)
