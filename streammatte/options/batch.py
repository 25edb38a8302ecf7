"""Options of ``streammatte batch`` besides those of videos."""

from streammatte.options.declare import Options, option, option_class

__all__ = ["BatchOptions"]


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
