"""Options of a live session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError
from streammatte.options.video import MatteOptions, VideoOptions

__all__ = ["LiveOptions"]

FPS_RANGE = (1.0, 240.0)
"""Frames a second that --fps takes."""


@dataclass(frozen=True)
class LiveOptions(MatteOptions):
    """Everything ``streammatte webcam`` can be told."""

    camera: str = "0"  # index, path, name, URL, or a video or picture at its own pace
    width: int | None = None  # wanted size of the camera's picture; None takes the camera's own
    height: int | None = None
    fps: float | None = None  # wanted frames a second
    mirror: bool = False  # left and right changed over
    loop: bool = False  # a video as camera begins again at its end
    duration: float | None = None  # seconds after which the session ends
    timeout: float = 10.0  # seconds that a server may take
    backgrounds: tuple[str, ...] = ("blur",)  # the first is shown first
    fit: str = "cover"  # how a background of another shape is laid in
    hold: str | None = None  # hold picture; None is the background alone
    adaptive: bool = True  # smaller networks where the machine cannot keep up
    idle_fps: float = 10.0  # runs of the network a second while the picture is still; 0 is every frame
    virtual_camera: str | None = None  # device, or "auto" for the first free one
    preview: bool = False  # a window
    preview_http: str | None = None  # HOST:PORT of a preview for browsers
    record: str | None = None  # file
    stream: str | None = None  # URL
    mic: str | None = None  # device of the microphone, or a file with audio
    control: str | None = None  # HOST:PORT of the control interface
    allow_remote: bool = False  # addresses other than this machine's own
    token: str | None = None  # what remote clients must show; None makes one up
    overwrite: bool = False  # replace an existing recording

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.backgrounds:
            raise ConfigError("give at least one background, as in --bg beach.jpg")
        for spec in (*self.backgrounds, self.hold):
            if spec is not None and spec.strip().lower() in ("none", "transparent"):
                raise ConfigError(f"--bg {spec} is nothing for a live camera; give an image, a video, a colour or blur")
        if self.hold is not None and self.hold.strip().lower().partition(":")[0] == "blur":
            raise ConfigError("--hold blur would show the room; give an image, a video or a colour")
        if (self.width is None) != (self.height is None):
            raise ConfigError("--width and --height go together, as in --width 1280 --height 720")
        low, high = FPS_RANGE
        if self.fps is not None and not low <= self.fps <= high:
            raise ConfigError(f"--fps must be {low:g} to {high:g}; got {self.fps:g}")
        if not 0 <= self.idle_fps <= high:
            raise ConfigError(f"--idle-fps must be 0 (never idle) to {high:g}; got {self.idle_fps:g}")
        for name in ("duration", "timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"--{name} must be above 0 seconds; got {value:g}")
        if self.mic is not None and not (self.record or self.stream):
            raise ConfigError("--mic needs --record or --stream: a virtual camera has no audio")

    @classmethod
    def build(cls, preset: Mapping[str, Any] | None = None, **given: Any) -> LiveOptions:
        """Defaults, then ``preset``, then ``given`` (None is not given). Raises ConfigError for unknown keys.

        A preset may be shared with videos: what only they know (the encoder's quality) is passed over.
        """
        known = {field.name for field in fields(cls)}
        videos = {field.name for field in fields(VideoOptions)} - known
        merged = {name: value for name, value in (preset or {}).items() if name not in videos - {"background"}}
        if "background" in merged:
            merged["backgrounds"] = (merged.pop("background"),)
        merged |= {name: value for name, value in given.items() if value is not None}
        unknown = sorted(set(merged) - known)
        if unknown:
            raise ConfigError(f"unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        try:
            return replace(cls(), **merged)
        except TypeError as error:
            raise ConfigError(f"an option has the wrong type: {error}") from error

    def sink_names(self) -> tuple[str, ...]:
        """The sinks that were asked for; the virtual camera where there is no other."""
        asked = [name for name in ("preview", "preview_http", "record", "stream") if getattr(self, name)]
        if self.virtual_camera is not None or not asked:
            asked.insert(0, "virtual_camera")
        return tuple(asked)

    def record_path(self) -> Path | None:
        """The recording's name."""
        return None if self.record is None else Path(self.record)
