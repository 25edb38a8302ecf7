"""Where frames go: videos, image sequences, stills, GIF, Y4M on standard output, memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError, UnsupportedOutputError
from streammatte.protocols import Sink
from streammatte.sinks.containers import CONTAINERS, container_of, containers_with_alpha
from streammatte.sinks.encoder_options import EncodeOptions
from streammatte.sinks.encoders import choose_encoder
from streammatte.sinks.gif import GifSink
from streammatte.sinks.images import IMAGE_SUFFIXES, SequenceSink, StillSink, is_pattern
from streammatte.sinks.memory import MemorySink
from streammatte.sinks.video import FileSink
from streammatte.sinks.y4m import Y4MSink

__all__ = [
    "EncodeOptions",
    "FileSink",
    "GifSink",
    "MemorySink",
    "SequenceSink",
    "StillSink",
    "Y4MSink",
    "alpha_by_default",
    "can_hold_alpha",
    "containers_with_alpha",
    "open_sink",
]

STANDARD_OUTPUT = "-"

_ALPHA_SUFFIXES = {".png", ".webp", ".gif"}
_TRANSPARENT_VIDEOS = {".mov", ".webm"}
"""Videos whose ordinary use is a cut-out; Matroska holds alpha too, but lossless and large: only on request."""


def open_sink(target: str | Path, options: EncodeOptions | None = None, **fields: Any) -> Sink:
    """The sink for a target; nothing is touched before its ``open``.

    Parameters
    ----------
    target : str or Path
        A video (``.mp4 .m4v .mov .mkv .webm``), numbered images (``name_%04d.png``, or a folder: ``name/``), one
        image (``.png .jpg .webp``), ``.gif``, or ``-`` for Y4M on standard output.
    options : EncodeOptions, optional
    **fields
        Fields of ``EncodeOptions`` that replace those of ``options``.

    Raises
    ------
    UnsupportedOutputError
        Nothing can be written under such a name.
    ConfigError
        An option that this kind of output does not have.
    """
    name, path = str(target), Path(target)
    options = replace(options or EncodeOptions(), **fields)
    codec, output_size, overwrite = options.codec, options.output_size, options.overwrite
    suffix = path.suffix.lower()
    if suffix in CONTAINERS and not is_pattern(name):
        return FileSink(path, options)
    if codec != "auto":
        raise ConfigError(f"{name} has no choice of encoder: leave out --codec {codec}")
    if name == STANDARD_OUTPUT:
        return Y4MSink(output_size=output_size)
    if is_pattern(name):
        return SequenceSink(name, output_size=output_size, overwrite=overwrite)
    if suffix == ".gif":
        return GifSink(path, output_size=output_size, overwrite=overwrite)
    if suffix in IMAGE_SUFFIXES:
        return StillSink(path, output_size=output_size, overwrite=overwrite)
    known = " ".join([*CONTAINERS, ".gif", *IMAGE_SUFFIXES])
    raise UnsupportedOutputError(
        f"cannot write {name}: its suffix must be one of {known}; name_%04d.png, folder/ and - (Y4M) work too"
    )


def can_hold_alpha(target: str | Path, codec: str = "auto") -> bool:
    """True where frames with alpha can be written to the target by that encoder."""
    name, box = str(target), container_of(Path(target))
    if box is None or is_pattern(name):
        suffix = Path(target).suffix.lower()
        return suffix in _ALPHA_SUFFIXES or (is_pattern(name) and suffix not in IMAGE_SUFFIXES)
    try:
        choose_encoder(box, codec, True, name)
    except UnsupportedOutputError:
        return False
    return True


def alpha_by_default(target: str | Path, codec: str = "auto") -> bool:
    """True where a cut-out is written with alpha unless a background is requested: .mov, .webm, PNG images."""
    suffix = Path(target).suffix.lower()
    return can_hold_alpha(target, codec) and (suffix in _TRANSPARENT_VIDEOS or suffix not in {*CONTAINERS, ".gif"})
