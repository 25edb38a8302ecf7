"""Reading and writing weights, and putting them into a network by name, strictly."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ModelError, ModelNotFoundError
from streammatte.networks.pdparams import read_pdparams

__all__ = ["load", "read_state", "write_state"]

_SHOWN = 5
"""Names quoted of each kind of mismatch; the rest is counted."""


def read_state(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Read weights as arrays under their names.

    Parameters
    ----------
    path : path
        ``.npz`` (one array an entry) or ``.pdparams`` (Paddle's; nothing in it is run).

    Raises
    ------
    ModelNotFoundError
        There is no such file.
    ModelError
        The file is neither, or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelNotFoundError(f"no weights at {path}; give a .npz or .pdparams file")
    if path.suffix == ".pdparams":
        return read_pdparams(path)
    if path.suffix != ".npz":
        raise ModelError(f"weights must be a .npz or .pdparams file, got {path.name}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read as weights ({error}); fetch it again") from error


def write_state(state: Mapping[str, npt.NDArray[Any]], path: Path, kind: str | None = None) -> None:
    """Write weights as ``.npz``, or as ``.pdparams``, which ``paddle.load`` reads; by the suffix, or ``kind``.

    Parameters
    ----------
    state : mapping of str to array
    path : Path
    kind : {".npz", ".pdparams"}, optional
        Instead of the path's suffix.
    """
    with path.open("wb") as file:
        if (kind or path.suffix) == ".npz":
            np.savez(file, **dict(state))  # type: ignore[arg-type]
        else:
            pickle.dump(dict(state), file, protocol=4)


def load(network: Any, path: str | Path) -> None:
    """Put the weights at ``path`` into a ``paddle.nn.Layer``; every name and every shape must agree.

    Raises
    ------
    ModelNotFoundError, ModelError
        As :func:`read_state`, and where names or shapes differ: the message lists which.
    """
    state = read_state(path)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    other_shapes = [
        f"{name} {state[name].shape} instead of {shapes[name]}"
        for name in sorted(shapes.keys() & state.keys())
        if state[name].shape != shapes[name]
    ]
    faults = [
        *_listed("missing", sorted(shapes.keys() - state.keys())),
        *_listed("unexpected", sorted(state.keys() - shapes.keys())),
        *_listed("of another shape", other_shapes),
    ]
    if faults:
        raise ModelError(f"{path} is not for {type(network).__name__}: {'; '.join(faults)}")
    # Half-precision files (the embedded ones) fill float32 parameters.
    network.set_state_dict(
        {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in state.items()}
    )


def _listed(kind: str, entries: list[str]) -> list[str]:
    if not entries:
        return []
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return [f"{len(entries)} {kind}: {', '.join(entries[:_SHOWN])}{more}"]
