"""Options of ``streammatte batch`` besides those of videos."""

from streammatte.options.declare import Options, option, option_class
from streammatte.options.video import LONGEST

__all__ = ["BatchOptions", "ClusterOptions"]


@option_class
class ClusterOptions(Options):
    """How the work on videos is spread."""

    segment: float | None = option(
        default=None,
        help="Cut videos into segments of this length, which are worked on at once and joined.",
        low=0.1,
        high=LONGEST,
        unit="seconds",
        metavar="SECONDS",
    )
    cluster: str | None = option(
        default=None,
        help="Work on a Ray cluster: local, local:N for N workers here, or an address (ray://HOST:PORT, HOST:PORT).",
        metavar="WHERE",
    )


@option_class
class BatchOptions(Options):
    """How many videos are worked on, and what they become."""

    jobs: int = option(default=0, help="Videos at once; 0 is one for every four cores.", low=0, high=256)
    output_format: str = option(
        default="auto",
        help="Of the outputs; auto keeps the input's where it can be written, png makes folders of images.",
        choices=("auto", "mp4", "mkv", "mov", "webm", "gif", "png"),
        flag="--format",
    )
