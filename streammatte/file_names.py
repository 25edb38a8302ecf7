"""What names of files stand for: numbered images, wildcards, videos."""

import re
from pathlib import Path

__all__ = ["NUMBER", "VIDEO_SUFFIXES", "WILDCARD", "is_video_name"]

NUMBER = re.compile(r"%0?\d*d")
"""The number in the name of numbered images (``frame_%04d.png``)."""

WILDCARD = re.compile(r"[*?\[]")
"""What makes a name a glob."""

_VIDEOS = ".mp4 .m4v .mov .mkv .webm .avi .ts .mts .m2ts .mpg .mpeg .vob .wmv .flv .ogv .3gp .mxf"

VIDEO_SUFFIXES = _VIDEOS.split()
"""What folders are searched for, in lower case."""


def is_video_name(path: Path) -> bool:
    """True for a file name with the suffix of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES
