"""Reading ``.pdparams`` without running what it holds.

Paddle's checkpoints are pickles, and unpickling calls whatever a file names. Weights name a handful of NumPy's
builders; these are stood in for by the classes below, which look at what they are given before an array is made of it
(NumPy's own trust it: a few changed bytes end the process). Nothing else is called, and Paddle is not needed.
"""

from __future__ import annotations

import mmap
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from streammatte.errors import ModelError

__all__ = ["read_pdparams"]

NAMES_TABLE = "StructuredToParameterName@@"
"""Entry that Paddle adds: its own names of the parameters; not a weight."""
KINDS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})
"""Types that weights have, as NumPy writes them."""


class _Kind:
    """What a file says of a type: NumPy's code and the order of bytes."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in KINDS:
            raise ValueError(f"it holds values of type {code!r}, which weights have no use for")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError(f"it names an order of bytes {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array under way."""

    value: npt.NDArray[Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, columns_first, content = state
        self.value = _array(content, kind, shape, "F" if columns_first else "C")


def _array(content: Any, kind: Any, shape: Any, order: str) -> npt.NDArray[Any]:
    """The array of these bytes. Raises TypeError or ValueError where they are not one of that shape."""
    if not isinstance(kind, _Kind):
        raise TypeError("an array without a type")
    if order not in ("C", "F"):
        raise ValueError(f"it names an order of axes {order!r}")
    if not isinstance(content, bytes | bytearray):
        raise TypeError(f"an array made of a {type(content).__name__}")
    flat: npt.NDArray[Any] = np.frombuffer(content, kind.dtype)
    return flat.reshape(tuple(int(side) for side in shape), order=order).copy()  # type: ignore[call-overload,no-any-return]


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    built = _Array()
    built.value = _array(content, kind, shape, order)
    return built


def _scalar(kind: Any, content: Any) -> _Array:
    return _from_buffer(content, kind, (), "C")


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes as pickles up to protocol 2 hold them."""
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError(f"it holds text in {encoding!r}")
    return text.encode("latin1")


def _started(*_: Any) -> _Array:
    return _Array()


def _no_bytes() -> bytes:
    return b""


_BUILDERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _started,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
"""What a file may name, under the names of NumPy 1, and what stands in for it."""


class _Weights(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Knows the builders above and nothing else.

    Python's own implementation: the one in C makes room for whatever number a file names, which may be all there is.
    """

    read: Any
    append: Any
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def load_bytearray8(self) -> None:
        """As the base class, without making room for more than the file holds."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def find_class(self, module: str, name: str) -> Any:
        """As the base class asks it; refuses what weights do not need."""
        builder = _BUILDERS.get((module.replace("numpy._core", "numpy.core"), name))
        if builder is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which weights have no use for")
        return builder


def read_pdparams(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a checkpoint's arrays under their names.

    Raises
    ------
    ModelError
        It is no pickle, damaged, holds something other than arrays under names, or names code.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            state = _Weights(content, encoding="latin1").load()
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise anything at all
        told = str(error) or type(error).__name__
        raise ModelError(f"{path} cannot be read as weights ({told}); fetch it again, from who you trust") from error
    if not isinstance(state, dict):
        kind = "array" if isinstance(state, _Array) else type(state).__name__
        raise ModelError(f"{path} holds one {kind}, not a dictionary of arrays; it is no checkpoint of a network")
    arrays = {str(name): value for name, value in state.items() if name != NAMES_TABLE}
    foreign = [name for name, value in arrays.items() if not hasattr(value, "value")]
    if foreign:
        raise ModelError(
            f"{path} holds other things than arrays ({', '.join(foreign[:5])}); is it an optimiser's state? "
            "Give the .pdparams that lies beside it"
        )
    return {name: entry.value for name, entry in arrays.items()}
