"""Options of ``streammatte webcam``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from streammatte.errors import ConfigError
from streammatte.options.declare import option, option_class, options_of
from streammatte.options.matte import CompositeOptions, MatteOptions, fit_option, timeout_option
from streammatte.options.video import LONGEST, VideoOptions

__all__ = ["LiveOptions", "refuse_revealing"]

MAX_FPS = 240.0
RESIDUE = 0.06
"""Alpha that a network leaves on a background at times: what maps it to more than half shows the room."""


@option_class
class LiveOptions(MatteOptions):
    """Everything ``streammatte webcam`` takes."""

    camera: str = option(
        default="auto",
        help="Index, path or name; a URL; a video or image at its own pace.",
        group="camera",
        metavar="WHAT",
        shown="the first camera that can be used",
    )
    width: int | None = option(
        default=None,
        help="Wanted width of the camera's frames, with --height.",
        group="camera",
        low=16,
        high=16384,
    )
    height: int | None = option(default=None, help="Wanted height.", group="camera", low=16, high=16384)
    fps: float | None = option(
        default=None, help="Wanted frames a second.", group="camera", low=1, high=MAX_FPS, metavar="FPS", shown="30"
    )
    on_demand: str = option(
        default="auto",
        help="Open the camera only while a program reads the virtual one; auto: with a virtual camera on Linux.",
        group="camera",
        choices=("auto", "on", "off"),
    )
    camera_at_start: bool = option(
        default=True,
        help="off begins without the camera and takes it when it is there; --width and --height say its size.",
        group="camera",
        switch=True,
        shown="on",
    )
    mirror: bool = option(default=False, help="Swap left and right, except in the background.", group="camera")
    loop: bool = option(default=False, help="A video as camera starts again at its end.", group="camera")
    duration: float | None = option(
        default=None,
        help="End after this time.",
        group="camera",
        low=0,
        above=True,
        high=LONGEST,
        unit="seconds",
        metavar="SECONDS",
    )
    timeout: float = timeout_option("camera")
    backgrounds: tuple[str, ...] = option(
        default=("blur",),
        help="Image, video, colour or blur[:N]; repeatable, the first is shown first.",
        group="camera",
        flag="--bg",
        metavar="WHAT",
        shown="blur",
    )
    fit: str = fit_option("camera")
    hold: str | None = option(
        default=None,
        help="Placeholder shown whenever there is no matte.",
        group="camera",
        metavar="WHAT",
        shown="the background alone",
    )
    adaptive: bool = option(
        default=True, help="Smaller network where the machine is too slow.", group="camera", switch=True
    )
    framing: str = option(
        default="off",
        help="auto crops the result to the person, smoothly.",
        group="camera",
        choices=("off", "auto"),
        flag="--frame",
    )
    blur_strength: float = option(
        default=25.0, help="Of the blur that key e shows.", group="camera", low=1, high=100, unit="(1 to 100)"
    )
    crop: tuple[int, int, int, int] | None = option(
        default=None, help="Use this part of the camera's image, enlarged to all of it.", group="camera", shown=""
    )
    bg_folder: str | None = option(
        default=None,
        help="Images and videos in this folder are backgrounds too, also those that come later.",
        group="camera",
        metavar="DIR",
    )
    idle_fps: float = option(
        default=10.0,
        help="Runs of the network a second while nothing moves; 0 is all.",
        group="camera",
        low=0,
        high=MAX_FPS,
        metavar="FPS",
    )
    virtual_camera: str | None = option(
        default=None,
        help="Camera for other programs (default sink).",
        group="outputs",
        metavar="[DEVICE]",
        optional_value="auto",
    )
    preview: bool = option(default=False, help="A window; keys: b e s f m h q.", group="outputs")
    preview_http: str | None = option(
        default=None, help="Preview for a browser, as 127.0.0.1:8090.", group="outputs", metavar="HOST:PORT", shown=""
    )
    record: str | None = option(
        default=None, help="Record to .mp4, .mov or .mkv.", group="outputs", metavar="FILE", shown=""
    )
    stream: str | None = option(
        default=None, help="Stream to rtmp://, rtsp://, srt:// ...", group="outputs", metavar="URL", shown=""
    )
    mic: str | None = option(
        default=None,
        help="Audio for --record and --stream.",
        group="outputs",
        metavar="[DEVICE]",
        optional_value="auto",
    )
    control: str | None = option(
        default=None, help="GET /status and POST /set, as JSON.", group="outputs", metavar="HOST:PORT", shown=""
    )
    allow_remote: bool = option(default=False, help="Let other machines in, by TLS.", group="http")
    certificate: str | None = option(
        default=None,
        help="Certificate and private key for TLS, in one PEM file; by default one made for the session.",
        group="http",
        metavar="FILE",
    )
    token: str | None = option(
        default=None,
        help="What HTTP clients must show; one is made up and shown where none is given.",
        group="http",
    )
    overwrite: bool = option(default=False, help="Replace an existing recording.", group="outputs")

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        refuse_revealing(self.black_point, self.white_point, self.gamma)
        for spec in (*self.backgrounds, self.hold):
            if spec is not None and spec.strip().lower() in ("none", "transparent"):
                raise ConfigError(
                    f"--bg {spec} cannot be used with a live camera; give an image, a video, a colour or blur"
                )
        if self.hold is not None and self.hold.strip().lower().partition(":")[0] == "blur":
            raise ConfigError("--hold blur would show the room; give an image, a video or a colour")
        if self.bg_folder is not None and not Path(self.bg_folder).expanduser().is_dir():
            raise ConfigError(f"--bg-folder {self.bg_folder} is no folder")
        if (self.width is None) != (self.height is None):
            raise ConfigError("--width and --height go together, as in --width 1280 --height 720")
        if self.mic is not None and not (self.record or self.stream):
            raise ConfigError("--mic needs --record or --stream: a virtual camera has no audio")

    @classmethod
    def build(cls, base: Mapping[str, Any] | None = None, /, **given: Any) -> Self:
        """Defaults, then ``base`` (a preset), then ``given`` (None is not given). Raises ConfigError.

        A preset may be shared with videos: what only they have (the encoder's quality) is left out.
        """
        known = {entry.name for entry in options_of(cls)}
        videos = {entry.name for entry in options_of(VideoOptions) + options_of(CompositeOptions)} - known
        merged = {name: value for name, value in (base or {}).items() if name not in videos - {"background"}}
        if "background" in merged:
            merged["backgrounds"] = merged.pop("background")
        return super().build(merged, **given)

    def sink_names(self) -> tuple[str, ...]:
        """The sinks that are wanted; the virtual camera where there is no other."""
        wanted = [name for name in ("preview", "preview_http", "record", "stream") if getattr(self, name)]
        if self.virtual_camera is not None or not wanted:
            wanted.insert(0, "virtual_camera")
        return tuple(wanted)


def refuse_revealing(black_point: float, white_point: float, gamma: float) -> None:
    """Refuse levels that make a background visible by themselves. Raises ConfigError.

    Parameters
    ----------
    black_point, white_point, gamma : float
        As the options of these names.
    """
    spread = min(1.0, max(0.0, (RESIDUE - black_point) / (white_point - black_point)))
    if spread ** (1 / gamma) > 0.5:
        raise ConfigError(
            f"--black-point {black_point:g}, --white-point {white_point:g} and --gamma {gamma:g} would show the room: "
            f"alpha {RESIDUE:g} would become {spread ** (1 / gamma):.2f}; raise the white point or lower gamma"
        )
