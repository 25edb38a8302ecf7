"""Distributes composites to the requested sinks: the image, the alpha matte, the foreground."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from streammatte.errors import SinkError, StreammatteError
from streammatte.frames import ColorSpec, Composite, Frame, Layout, StreamInfo
from streammatte.protocols import Sink
from streammatte.sinks.atomic import PublishingSink, publish

__all__ = ["Outputs"]

log = logging.getLogger(__name__)

FULL_RANGE_GRAY = ColorSpec(full_range=True)
"""Alpha uses all 256 levels; the tag keeps players from stretching it."""


class Outputs:
    """Opens, feeds and closes up to three sinks as one: all appear, or none.

    Parameters
    ----------
    image, alpha, foreground : Sink, optional
        At least one. ``image`` gets the composites, ``alpha`` gray frames, ``foreground`` straight colours.
    transparent : bool
        The images carry alpha.
    names : sequence of str
        Files that the sinks write, for the summary.
    """

    def __init__(
        self,
        composite: Sink | None = None,
        alpha: Sink | None = None,
        foreground: Sink | None = None,
        *,
        transparent: bool = False,
        names: tuple[str, ...] = (),
    ) -> None:
        wanted = {"frame": composite, "alpha": alpha, "foreground": foreground}
        self._sinks = {role: sink for role, sink in wanted.items() if sink is not None}
        if not self._sinks:
            raise ValueError("Outputs needs at least one sink")
        self._transparent = transparent
        self._names = names
        self.info: StreamInfo | None = None

    def open(self, info: StreamInfo) -> None:
        """Open every sink. Where one refuses, its error is raised; ``abort`` then ends those before it."""
        self.info = info
        for role, sink in self._sinks.items():
            sink.open(self._described(role, info))

    def process(self, item: Composite) -> list[None]:
        """Pass each sink its part."""
        for role, sink in self._sinks.items():
            frame: Frame | None = getattr(item, role)
            if frame is None:
                raise SinkError(f"the compositor was not built to give the {role} that a sink takes")
            sink.process(frame)
        return []

    def drain(self) -> list[None]:
        """Flush every sink."""
        for sink in self._sinks.values():
            sink.drain()
        return []

    def close(self) -> None:
        """Make every output appear under its name, or none."""
        publish(
            [output for sink in self._sinks.values() if isinstance(sink, PublishingSink) for output in sink.outputs()]
        )
        for sink in self._sinks.values():
            sink.close()

    def abort(self) -> None:
        """Give up on every output; a sink that cannot is logged: the error which led here stays the one raised."""
        for role, sink in self._sinks.items():
            try:
                sink.abort()
            except (OSError, StreammatteError) as error:
                log.warning("the %s output could not be cleaned up: %s", role, error)

    def names(self) -> tuple[str, ...]:
        """Files that are written."""
        return self._names

    def size(self) -> int:
        """Bytes of the files that are there now."""
        total = 0
        for name in self._names:
            path = Path(name)
            if path.is_file():
                total += path.stat().st_size
            elif path.is_dir():
                total += sum(item.stat().st_size for item in path.iterdir() if item.is_file())
        return total

    def _described(self, role: str, info: StreamInfo) -> StreamInfo:
        if role == "alpha":
            return replace(info, layout=Layout.GRAY, color=FULL_RANGE_GRAY, tracks=None, has_alpha=False)
        if role == "foreground":
            return replace(info, tracks=None, has_alpha=False)
        return replace(info, has_alpha=self._transparent)
