"""From what a user calls a model (a name, a file, a folder) to the files that an engine reads."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from streammatte.cache import lasting_dir
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.cards import Card, card_names, load_card, read_card, third_party_cards
from streammatte.models.files import PROGRAM_SUFFIXES, ModelFiles, exported, program_files
from streammatte.models.input_rule import InputRule
from streammatte.networks import names

__all__ = ["EMBEDDED", "EMBEDDED_WEIGHTS", "TUNED", "match_name", "resolve", "split_name", "third_party_file"]

EMBEDDED = ("ppmattingv2-lite",)
"""Networks whose files come with the package, in ``assets/``."""
EMBEDDED_WEIGHTS = Path(__file__).parents[1] / "assets" / "ppmattingv2-lite.npz"
"""What the embedded graphs are exported from: convolutions in float16, statistics in float32."""
TUNED = "tuned"
"""Folder of networks that ``streammatte tune`` made, each under its name."""
WEIGHT_SUFFIXES = (".pdparams", ".npz")
GRAPH_SUFFIXES = (".xml", ".onnx")


def resolve(model: str) -> ModelFiles:
    """Find a network's files.

    Parameters
    ----------
    model : str
        The name of a network (embedded, pulled before, or made by ``streammatte tune``); an ``.xml``, ``.onnx``,
        ``.pdmodel`` or ``.json`` (with its ``.pdiparams`` beside); a folder with an exported Paddle model; or weights
        (``.pdparams``, ``.npz``), whose network follows from their name or is given as ``NETWORK=FILE``. A graph that
        others made is read as a card says: ``CARD=FILE`` (a name, or a YAML file), the file's name with ``.yml``
        beside it, or a known name of a file (``u2net.onnx``).

    Raises
    ------
    ModelNotFoundError
        Neither a known name nor a file, or a network whose files are not here.
    ModelError
        A file of a kind that no engine reads, or an installation without its assets.
    """
    if model in EMBEDDED:
        return _embedded(model)
    if model in card_names():
        return _from_store(model)
    third_party = next((card for card in third_party_cards() if card.name == model), None)
    if third_party is not None:
        return _third_party(third_party)
    card, file = _split_card(model)
    if card is not None:
        if not file.is_file():
            raise ModelNotFoundError(f"there is no model {file}; check the name")
        return _graph(file, file.suffix.lower(), card)
    tuned = lasting_dir(TUNED) / model
    if model.isascii() and model.replace("-", "").replace("_", "").isalnum() and (tuned / "float.xml").is_file():
        return ModelFiles(
            model, {"float": tuned / "float.xml", "int8": tuned / "int8.xml"}, rule=load_card(EMBEDDED[0]).input
        )
    network, path = split_name(model)
    if network is not None and not path.exists():
        raise ModelNotFoundError(f"there are no weights {path}; check the name")
    if not model or not path.exists():
        everything = dict.fromkeys((*EMBEDDED, *card_names(), *(card.name for card in third_party_cards())))
        raise ModelNotFoundError(
            f"no model is named {model!r} and no such file exists; known: {', '.join(everything)}, or give a path"
        )
    suffix = path.suffix.lower()
    if suffix in WEIGHT_SUFFIXES:
        return _weights(path, network)
    if network is not None:
        raise ConfigError(f"NETWORK=FILE names the network of weights ({', '.join(WEIGHT_SUFFIXES)}); got {model}")
    if path.is_dir():
        return exported(path)
    if suffix not in (*GRAPH_SUFFIXES, *PROGRAM_SUFFIXES):
        known = ", ".join((*GRAPH_SUFFIXES, *PROGRAM_SUFFIXES, *WEIGHT_SUFFIXES))
        raise ModelError(f"a model file must be one of {known}, or a folder with an exported model; got {model}")
    return _graph(path, suffix)


def split_name(model: str) -> tuple[str | None, Path]:
    """A path as a user writes it, and the network in front of it (``NETWORK=FILE``), if any.

    What exists under the whole text is that: folders may well be named ``lr=0.1``.
    """
    network, given, file = model.partition("=")
    whole = Path(model).expanduser()
    if given and network in names() and not whole.exists():
        return network, Path(file).expanduser()
    return None, whole


def _split_card(model: str) -> tuple[Card | None, Path]:
    """The card of ``CARD=FILE``, and the file."""
    given, _, file = model.partition("=")
    path = Path(file).expanduser()
    if not file or Path(model).expanduser().exists():
        return None, path
    if given.lower().endswith((".yml", ".yaml")):
        return _card_in(Path(given).expanduser()), path
    return next((card for card in third_party_cards() if card.name == given), None), path


def _card_in(path: Path) -> Card:
    try:
        return read_card(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the card {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _card_of(path: Path) -> Card | None:
    """The card beside a file, or the one that lists its name."""
    beside = path.with_suffix(".yml")
    if beside.is_file():
        return _card_in(beside)
    return next((card for card in third_party_cards() if card.file == path.name), None)


def third_party_file(card: Card) -> Path | None:
    """Where the file of a third-party network is, if it is here: rembg's folder, or ``third_party`` in ours."""
    base = os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME") or "~") / ".u2net"
    folders = (Path(base), Path("~/.u2net"), lasting_dir("third_party"))
    paths = (folder.expanduser() / str(card.file) for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def _third_party(card: Card) -> ModelFiles:
    path = third_party_file(card)
    if path is None:
        raise ModelNotFoundError(
            f"{card.name} is not here: get {card.file} from {card.get} ({card.licence}) and give "
            f"--model {card.name}=FILE, or put it into {lasting_dir('third_party')}"
        )
    return _graph(path, path.suffix.lower(), card)


def match_name(path: Path) -> str | None:
    """The network that a file's name begins with; the longest where several do."""
    stem = path.stem.replace("_", "-").lower()
    fitting = [name for name in names() if stem.startswith(name.replace("_", "-").lower())]
    return max(fitting, key=len, default=None)


def _graph(path: Path, suffix: str, card: Card | None = None) -> ModelFiles:
    """A file that describes its input itself, or by a card."""
    from streammatte.models.graph import read_facts

    card = card or _card_of(path)
    if card is not None and suffix in GRAPH_SUFFIXES:
        facts = read_facts(path, card.input, card.graph)
        return ModelFiles(path.stem, {"float": path}, rule=facts.rule, reading=card.graph)
    if suffix in PROGRAM_SUFFIXES:
        files = program_files(path, path.with_suffix(".pdiparams"), path.stem, InputRule())
        return replace(files, rule=read_facts(path).rule) if files.graphs else files
    facts = read_facts(path)
    return ModelFiles(path.stem, {"float": path} | ({"int8": path} if facts.int8 else {}), rule=facts.rule)


def _embedded(name: str) -> ModelFiles:
    card = load_card(name)
    folder = Path(__file__).parents[1] / "assets"
    found = {kind: folder / file for kind, file in card.assets.items()}
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        raise ModelError(f"the installation lacks {', '.join(missing)} in {folder}; install streammatte again")
    return ModelFiles(name, found, rule=card.input)


def _from_store(name: str) -> ModelFiles:
    from streammatte.models.store import usable_files

    kept = usable_files(name)
    if kept.folder is not None:
        return exported(kept.folder, name)
    return ModelFiles(name, weights=kept.checkpoint, architecture=name, rule=load_card(name).input)


def _weights(path: Path, network: str | None) -> ModelFiles:
    beside = path.with_suffix(".yml")
    stated = _card_in(beside).name if network is None and beside.is_file() else None
    found = network or (stated if stated in names() else None) or match_name(path)
    if found is None:
        raise ConfigError(
            f"which network are the weights in {path.name} of? Write NETWORK={path}, "
            f"NETWORK one of {', '.join(names())}"
        )
    rule = load_card(found).input if found in card_names() else InputRule()
    return ModelFiles(path.stem, weights=path, architecture=found, rule=rule)
