"""Colours by name or number."""

from __future__ import annotations

import re

from PIL import ImageColor

from streammatte.errors import ConfigError

__all__ = ["KEY_GREEN", "is_color", "parse_color"]

KEY_GREEN = "#00b140"
"""The green of keying screens; CSS's ``green`` is darker."""

_HEX = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


def is_color(text: str) -> bool:
    """True for a CSS colour name, ``#rgb`` or ``#rrggbb``."""
    name = text.strip()
    return bool(_HEX.fullmatch(name)) or name.lower() in ImageColor.colormap


def parse_color(text: str) -> tuple[int, int, int]:
    """(R, G, B), 0 to 255, of a CSS colour name, ``#rgb`` or ``#rrggbb``. Raises ConfigError."""
    if not is_color(text):
        raise ConfigError(f"{text!r} is no colour; give a CSS name such as 'white' or a number such as '{KEY_GREEN}'")
    red, green, blue = ImageColor.getrgb(text.strip())[:3]
    return red, green, blue
