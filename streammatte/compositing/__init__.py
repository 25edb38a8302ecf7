"""In front of something else: backgrounds, the foreground's colour, the compositor."""

from streammatte.compositing.backgrounds import (
    Background,
    BlurBackground,
    ColorBackground,
    FilmBackground,
    ImageBackground,
    Original,
    Transparent,
    parse_background,
)
from streammatte.compositing.compositor import StreamCompositor
from streammatte.compositing.foreground import estimate_small

__all__ = [
    "Background",
    "BlurBackground",
    "ColorBackground",
    "FilmBackground",
    "ImageBackground",
    "Original",
    "StreamCompositor",
    "Transparent",
    "estimate_small",
    "parse_background",
]
