"""From what a user calls a model (a name, a file) to the files that an engine reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import streammatte
from streammatte.errors import ModelError, ModelNotFoundError

__all__ = ["EMBEDDED", "ModelFiles", "resolve"]

EMBEDDED = ("ppmattingv2-lite",)
"""Networks whose files come with the package, in ``assets/``."""

_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one network.

    Parameters
    ----------
    name : str
    graphs : mapping
        ``float`` and, where there is one, ``int8``: an OpenVINO ``.xml`` or an ``.onnx``.
    multiple : int
        What the sides of its input must be multiples of.
    mean, std : three floats
        Of RGB in [0, 1]; used where the graph does not normalise by itself.
    """

    name: str
    graphs: Mapping[str, Path] = field(default_factory=dict)
    multiple: int = 32
    mean: tuple[float, float, float] = _HALF
    std: tuple[float, float, float] = _HALF


def resolve(model: str) -> ModelFiles:
    """Find a network's files.

    Parameters
    ----------
    model : str
        The name of an embedded network, or the path of an ``.xml`` or ``.onnx``.

    Raises
    ------
    ModelNotFoundError
        Neither a known name nor a file.
    ModelError
        A file of a kind that no engine reads, or an installation without its assets.
    """
    if model in EMBEDDED:
        return _embedded(model)
    path = Path(model).expanduser()
    if not path.exists():
        raise ModelNotFoundError(
            f"no model is named {model!r} and no such file exists; known: {', '.join(EMBEDDED)}, or give a path"
        )
    if path.suffix not in (".xml", ".onnx"):
        raise ModelError(f"a model file must be .xml or .onnx; got {model}")
    return ModelFiles(path.stem, {"float": path})


def _embedded(name: str) -> ModelFiles:
    folder = Path(streammatte.__file__).parent / "assets"
    found = {kind: folder / f"{name}.{tag}.xml" for kind, tag in (("float", "f16"), ("int8", "int8"))}
    missing = [path.name for path in found.values() if not path.is_file()]
    if missing:
        raise ModelError(f"the installation lacks {', '.join(missing)} in {folder}; install streammatte again")
    return ModelFiles(name, found)
