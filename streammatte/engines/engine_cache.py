"""A cache of compiled networks, for the next image or video of the same shape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from streammatte.protocols import Engine

__all__ = ["MAX_ENGINES", "EngineCache"]

MAX_ENGINES = 4
"""Portrait and landscape, for two aspects: a camera's usual output. Each holds its network's activations in memory."""


class EngineCache:
    """Engines by what they are compiled for; the least recently used one is closed before there are too many."""

    def __init__(self) -> None:
        self._engines: OrderedDict[Hashable, Engine] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Engine]) -> Engine:
        """The engine of a key, made where it is not cached."""
        if key not in self._engines:
            while len(self._engines) >= MAX_ENGINES:
                self._engines.popitem(last=False)[1].close()
            self._engines[key] = make()
        self._engines.move_to_end(key)
        return self._engines[key]

    def close(self) -> None:
        """Release all engines."""
        while self._engines:
            self._engines.popitem()[1].close()
