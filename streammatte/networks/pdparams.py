"""Reading ``.pdparams`` without running what it holds.

Paddle's checkpoints are pickles, and unpickling calls whatever a file names. Here a file may name the few builders of
NumPy's that weights need; the classes below replace them and check their arguments, since NumPy's own crash over a few
changed bytes. Paddle is not needed.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ModelError

__all__ = ["read_pdparams"]

NAMES_TABLE = "StructuredToParameterName@@"
"""Entry that Paddle adds: its own names of the parameters; not a weight."""
KINDS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})
"""Types that weights have, as NumPy writes them."""
MAX_STEPS = 400_000
"""Instructions of a pickle that are run; the largest network's checkpoint has 50,000."""
MEMO = ("PUT", "BINPUT", "LONG_BINPUT")
"""Instructions that number an object: Python allocates as many places as the highest number."""


def read_pdparams(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a checkpoint's arrays, which are read-only, under their names.

    Memory stays a small multiple of the file's size, whatever it holds.

    Raises
    ------
    ModelError
        It is no pickle, damaged, holds something other than arrays under names, or names code.
    """
    content = path.read_bytes()
    try:
        for step, (instruction, number, _) in enumerate(pickletools.genops(content)):
            if step > MAX_STEPS or (instruction.name in MEMO and int(number or 0) > MAX_STEPS):
                raise ValueError("it has more parts than any network")
        state = _Reader(content).load()
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error) or type(error).__name__
        raise ModelError(
            f"{path} cannot be read as weights ({reason}); fetch it again, from a source you trust"
        ) from error
    if not isinstance(state, dict):
        kind = "array" if hasattr(state, "value") else type(state).__name__
        raise ModelError(f"{path} holds one {kind}, not a dictionary of arrays; it is no checkpoint of a network")
    parts = {str(name): value for name, value in state.items() if name != NAMES_TABLE}
    arrays = {name: part.value for name, part in parts.items() if hasattr(part, "value")}
    foreign = [name for name in parts if name not in arrays]
    if foreign:
        raise ModelError(
            f"{path} holds other things than arrays ({', '.join(foreign[:5])}); is it an optimiser's state? "
            "Give the .pdparams that lies beside it"
        )
    return arrays


class _Reader(pickle.Unpickler):
    """Finds the builders of arrays and nothing else."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._builders = _builders(len(content))

    def find_class(self, module: str, name: str) -> Any:
        """As the base class calls it; refuses what weights do not need."""
        builder = self._builders.get((module.replace("numpy._core", "numpy.core"), name))
        if builder is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which weights do not need")
        return builder


def _builders(size: int) -> dict[tuple[str, str], Callable[..., Any]]:
    """What a file of so many bytes may name (under the names of NumPy 1), and what stands in for it.

    They are made for each file: a pickle may set attributes of what it is given.
    """
    left = {"text": size, "arrays": size}

    def spend(purpose: str, count: int) -> None:
        left[purpose] -= count
        if left[purpose] < 0:  # one text, or the bytes of one array, used many times
            raise ValueError("it unpacks to more than it holds")

    class Kind:
        """NumPy's code of a type and the order of bytes."""

        def __init__(self, code: Any, *_: Any) -> None:
            if code not in KINDS:
                raise ValueError(f"it holds values of type {code!r}, which weights do not have")
            self.dtype = np.dtype(code)

        def __setstate__(self, state: Any) -> None:
            if state[1] not in ("<", ">", "=", "|"):
                raise ValueError(f"it names an order of bytes {state[1]!r}")
            self.dtype = self.dtype.newbyteorder(state[1])

    class Array:
        """An array, empty until its state comes."""

        value: npt.NDArray[Any]

        def __init__(self, *_: Any) -> None: ...

        def __setstate__(self, state: Any) -> None:
            _, shape, kind, columns_first, content = state
            self.fill(content, kind, shape, "F" if columns_first else "C")

        def fill(self, content: Any, kind: Any, shape: Any, order: Any) -> Array:
            if not isinstance(kind, Kind) or not isinstance(content, bytes | bytearray) or order not in ("C", "F"):
                raise ValueError("it holds an array without a type, bytes or an order")
            spend("arrays", len(content))
            flat = np.frombuffer(content, kind.dtype)
            self.value = flat.reshape(tuple(int(side) for side in shape), order=order)
            return self

    def encode(text: Any, encoding: Any = "latin1") -> bytes:
        """Bytes as pickles up to protocol 2 hold them."""
        if encoding != "latin1" or not isinstance(text, str):
            raise ValueError(f"it holds text in {encoding!r}")
        spend("text", len(text))
        return text.encode("latin1")

    return {
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: Array(),
        ("numpy.core.multiarray", "scalar"): lambda kind, content: Array().fill(content, kind, (), "C"),
        ("numpy.core.numeric", "_frombuffer"): lambda *given: Array().fill(*given),
        ("numpy", "ndarray"): Array,
        ("numpy", "dtype"): Kind,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): encode,
        ("__builtin__", "bytes"): lambda: b"",
    }
