"""Options of ``streammatte video``."""

from streammatte.errors import ConfigError
from streammatte.options.declare import option, option_class
from streammatte.options.matte import CompositeOptions, timeout_option

__all__ = ["VideoOptions"]

LONGEST = 1e8
"""Seconds, three years: more is taken as a mistake."""


@option_class
class VideoOptions(CompositeOptions):
    """Everything ``streammatte video`` takes besides its files."""

    codec: str = option(
        default="auto", help="Encoder: libx264, libx265, h264_nvenc, prores_ks, ...", group="encode", metavar="NAME"
    )
    crf: int | None = option(
        default=None, help="Constant quality, lower is better.", group="encode", low=0, high=63, shown="20"
    )
    preset: str | None = option(
        default=None, help="The encoder's preset.", group="encode", metavar="NAME", shown="veryfast"
    )
    bitrate: int | None = option(
        default=None,
        help="Bits a second instead of --crf.",
        group="encode",
        low=1000,
        high=10**9,
        unit="bits a second",
        metavar="BITS",
    )
    output_size: tuple[int, int] | None = option(
        default=None, help="Size of the output.", group="encode", low=16, high=16384, shown="the input's"
    )
    audio: bool = option(default=True, help="Leave audio and subtitles out.", group="encode", flag="--no-audio")
    audio_codec: str = option(
        default="auto",
        help="What audio becomes that the container cannot hold; alac keeps every sample.",
        group="encode",
        choices=("auto", "aac", "alac", "opus"),
    )
    strip_metadata: bool = option(
        default=False, help="Leave title, date, location and other metadata out.", group="encode"
    )
    start: float | None = option(
        default=None, help="Begin here.", group="read", low=0, high=LONGEST, unit="seconds", metavar="SECONDS", shown=""
    )
    duration: float | None = option(
        default=None,
        help="Stop after this much video.",
        group="read",
        low=0,
        above=True,
        high=LONGEST,
        unit="seconds",
        metavar="SECONDS",
    )
    rate: float | None = option(
        default=None,
        help="Frames a second of an image sequence.",
        group="read",
        low=0,
        above=True,
        high=1000,
        unit="frames a second",
        metavar="FPS",
        shown="25",
    )
    allow_playlists: bool = option(
        default=False,
        help="Let playlists (HLS, ffconcat, SDP) read files outside their folder and other servers.",
        group="read",
    )
    size_change: str = option(
        default="first",
        help="Images that change their size are fitted into the first one's, or into the largest's.",
        group="read",
        choices=("first", "follow"),
    )
    hwaccel: str = option(
        default="off",
        help="Decode and (with --codec auto) encode on a device where FFmpeg and the machine have it.",
        group="read",
        choices=("off", "auto", "cuda", "qsv", "vaapi", "videotoolbox", "d3d11va"),
    )
    timeout: float = timeout_option("read")

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.crf is not None and self.bitrate is not None:
            raise ConfigError("--crf and --bitrate exclude each other; give one")
