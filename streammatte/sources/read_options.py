"""How an input is read."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction

from streammatte.errors import ConfigError
from streammatte.network_size import MAX_MEGAPIXELS

__all__ = ["ReadOptions"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How an input is read.

    Parameters
    ----------
    start, duration : float, optional
        The part that is wanted, seconds from the beginning. With ``start``, times are moved so that the first frame is
        shown at 0; other tracks move by the same time, rounded to their own time base.
    shift : Fraction, optional
        Seconds by which times are moved instead: a segment of a video keeps its place.
    timeout : float
        Seconds that a server may take to answer and to send (URLs only).
    threads : int
        Decoder threads; 0 chooses.
    tracks : bool
        Whether audio and subtitles are handed on in ``info.tracks``.
    rate : Fraction or float, optional
        Images a second of folders, globs and sequences; 25 by default.
    max_megapixels : int
        Larger images and videos are refused before they are decoded.
    allow_playlists : bool
        Let playlists (HLS, ffconcat, SDP) read files outside their folder and other servers, and HTTP servers redirect
        to this machine.
    size_change : {"first", "follow"}
        What a video whose images change their size is fitted into: its first image's size, or the largest's.
    hwaccel : str
        ``off``, ``auto``, or a device of FFmpeg's that decodes video where it can: ``cuda``, ``vaapi`` ...
    repeated : bool
        The input was opened before (a loop): what it lacks is not warned of again.

    Raises
    ------
    ConfigError
        A negative start; a duration, a time-out or a rate that is not above 0; an unknown size change.
    """

    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    shift: Fraction | None = None
    timeout: float = 10.0
    threads: int = 0
    tracks: bool = True
    rate: Fraction | float | None = None
    max_megapixels: int = MAX_MEGAPIXELS
    allow_playlists: bool = False
    size_change: str = "first"
    hwaccel: str = "off"
    repeated: bool = False

    def __post_init__(self) -> None:
        if self.start is not None and self.start < 0:
            raise ConfigError(f"start must be 0 or more seconds, got {float(self.start):g}")
        for what in ("duration", "timeout", "rate"):
            value = getattr(self, what)
            if value is not None and value <= 0:
                raise ConfigError(f"{what} must be above 0, got {value}")
        if self.size_change not in ("first", "follow"):
            raise ConfigError(f"size_change must be first or follow, got {self.size_change!r}")

    @property
    def notice(self) -> int:
        """The level of the log for what an input lacks."""
        return logging.DEBUG if self.repeated else logging.WARNING
