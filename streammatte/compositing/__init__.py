"""Compositing: backgrounds, foreground estimation, the compositor."""

from streammatte.compositing.backgrounds import (
    Background,
    BlurBackground,
    ColorBackground,
    ImageBackground,
    Original,
    Transparent,
    VideoBackground,
    parse_background,
)
from streammatte.compositing.compositor import StreamCompositor
from streammatte.compositing.foreground import estimate_small

__all__ = [
    "Background",
    "BlurBackground",
    "ColorBackground",
    "ImageBackground",
    "Original",
    "StreamCompositor",
    "Transparent",
    "VideoBackground",
    "estimate_small",
    "parse_background",
]
