"""Reading ``.pdparams`` without running what it holds.

Paddle's checkpoints are pickles, and unpickling calls whatever a file names. Weights need a handful of NumPy's builders
and nothing else, so nothing else is called; Paddle itself is not needed.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ModelError

__all__ = ["read_pdparams"]

NAMES_TABLE = "StructuredToParameterName@@"
"""Entry that Paddle adds: its own names of the parameters; not a weight."""

_BUILDERS = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


class _Weights(pickle.Unpickler):
    """Knows NumPy's builders, under the names of NumPy 1 and 2 alike."""

    def find_class(self, module: str, name: str) -> Any:
        """As the base class asks it; refuses what weights do not need."""
        older = module.replace("numpy._core", "numpy.core")
        if (older, name) not in _BUILDERS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which weights have no use for")
        return getattr(importlib.import_module(older.replace("numpy.core", "numpy._core")), name)


def read_pdparams(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a checkpoint's arrays under their names.

    Raises
    ------
    ModelError
        It is no pickle, damaged, holds something other than arrays under names, or names code.
    """
    try:
        with path.open("rb") as file:
            state = _Weights(file, encoding="latin1").load()
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        ImportError,
        OverflowError,
        MemoryError,
    ) as error:
        told = str(error) or type(error).__name__
        raise ModelError(f"{path} cannot be read as weights ({told}); fetch it again, from who you trust") from error
    if not isinstance(state, dict):
        raise ModelError(f"{path} holds a {type(state).__name__}, not a dictionary of arrays")
    arrays = {str(name): value for name, value in state.items() if name != NAMES_TABLE}
    foreign = [name for name, value in arrays.items() if not isinstance(value, np.ndarray | np.generic)]
    if foreign:
        raise ModelError(
            f"{path} holds other things than arrays ({', '.join(foreign[:5])}); is it an optimiser's state?"
        )
    return {name: np.asarray(value) for name, value in arrays.items()}
