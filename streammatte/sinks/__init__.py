"""Where frames go: films, image sequences, stills, GIF, Y4M on standard output, memory."""

from __future__ import annotations

from pathlib import Path

from streammatte.errors import UnsupportedOutputError
from streammatte.sinks.encoders import choose_encoder
from streammatte.sinks.file import FileSink
from streammatte.sinks.formats import CONTAINERS, containers_with_alpha
from streammatte.sinks.memory import MemorySink
from streammatte.stages import Sink

__all__ = ["FileSink", "MemorySink", "can_hold_alpha", "containers_with_alpha", "open_sink"]


def open_sink(
    target: str | Path,
    *,
    codec: str = "auto",
    crf: float | None = None,
    preset: str | None = None,
    bitrate: int | None = None,
    output_size: tuple[int, int] | None = None,
    tracks: bool = True,
    overwrite: bool = False,
    threads: int = 0,
) -> Sink:
    """The sink for a target; nothing is touched before its ``open``.

    Raises
    ------
    UnsupportedOutputError
        Nothing can be written under such a name.
    """
    path = Path(target)
    suffix = path.suffix.lower()
    if suffix in CONTAINERS:
        return FileSink(
            path,
            codec=codec,
            crf=crf,
            preset=preset,
            bitrate=bitrate,
            output_size=output_size,
            tracks=tracks,
            overwrite=overwrite,
            threads=threads,
        )
    raise UnsupportedOutputError(f"cannot write {target}: unknown kind {suffix!r}; known: {', '.join(CONTAINERS)}")


def can_hold_alpha(target: str | Path, codec: str = "auto") -> bool:
    """True where frames with alpha can be written to the target by that encoder."""
    box = CONTAINERS.get(Path(target).suffix.lower())
    if box is None:
        return False
    try:
        choose_encoder(box, codec, True, str(target))
    except UnsupportedOutputError:
        return False
    return True
