"""Takes people out of images, videos and live cameras.

>>> import streammatte
>>> streammatte.matte_video("in.mp4", "out.mp4", background="beach.jpg")  # doctest: +SKIP
>>> matte = streammatte.matte_image("portrait.jpg")  # doctest: +SKIP

Everything heavy is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streammatte._version import __version__

if TYPE_CHECKING:
    from streammatte.api import matte_image, matte_video, stream
    from streammatte.frames import Matte
    from streammatte.pipeline import Pipeline
    from streammatte.stats import Summary

__all__ = ["Matte", "Pipeline", "Summary", "__version__", "matte_image", "matte_video", "stream"]

_HOMES = {
    "Matte": "streammatte.frames",
    "Pipeline": "streammatte.pipeline",
    "Summary": "streammatte.stats",
    "matte_image": "streammatte.api",
    "matte_video": "streammatte.api",
    "stream": "streammatte.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
