"""Mattes for evaluation, made as the product makes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streammatte.errors import UnsupportedSourceError
from streammatte.frames import U8, Frame, Matte, StreamInfo
from streammatte.network_size import Fit
from streammatte.options.video import VideoOptions

KEPT_NETWORKS = 4
"""Compiled networks kept for stills: a data set has a few shapes, and each costs tens of megabytes."""


class _Maker:
    """Makes mattes as ``streammatte image`` and ``streammatte video`` do."""

    def __init__(self, options: VideoOptions) -> None:
        self._options = options
        self._stills = options.replace(smooth="off")
        self._matters: OrderedDict[Fit, Any] = OrderedDict()
        self._compositor: Any = None
        self.ran: dict[str, str] = {}

    def still(self, picture: Path) -> Matte:
        from streammatte.build import build_source

        source = build_source(picture, self._stills)
        try:
            frame = next(iter(source.frames()), None)
        finally:
            source.close()
        if frame is None:
            raise UnsupportedSourceError(f"{picture} holds no picture; give a PNG or JPEG")
        matter = self._matter(frame)
        found: list[Matte] = [*matter.process(frame), *matter.drain()]
        matter.reset()
        return found[0]

    def video(self, path: Path) -> Iterator[Matte]:
        from streammatte.build import build_matter, build_source
        from streammatte.pipeline import mattes

        source = build_source(path, self._options.replace(audio=False))
        try:
            matter = self._note(build_matter(source.info, self._options))
        except BaseException:
            source.close()
            raise
        try:
            yield from mattes(source, matter)
        finally:
            _close(matter)

    def foreground(self, matte: Matte) -> U8:
        from streammatte.build import build_compositor

        if self._compositor is None:
            # Only that a foreground is wanted counts here; nothing is written.
            self._compositor = build_compositor(self._stills.replace(foreground="foreground"), "none")
        composites = [*self._compositor.process(matte), *self._compositor.drain()]
        self._compositor.reset()
        picture: U8 = composites[0].foreground.to_rgb()
        return picture

    def close(self) -> None:
        while self._matters:
            _close(self._matters.popitem()[1])

    def _note(self, matter: Any) -> Any:
        """Remember what ``auto`` came to."""
        engine = getattr(matter, "engine", None)
        if engine is not None:
            self.ran = {"engine": engine.name, "device": engine.device, "precision": engine.precision}
        return matter

    def _matter(self, frame: Frame) -> Any:
        from streammatte.build import build_matter, input_fit

        info = StreamInfo(frame.width, frame.height, frame.layout, frame.time_base, color=frame.color)
        size = input_fit(info, self._stills)
        if size not in self._matters:
            if len(self._matters) == KEPT_NETWORKS:
                _close(self._matters.popitem(last=False)[1])
            self._matters[size] = self._note(build_matter(info, self._stills, throughput=False))
        self._matters.move_to_end(size)
        return self._matters[size]


def _close(matter: Any) -> None:
    close = getattr(matter, "close", None)
    if close is not None:
        close()
