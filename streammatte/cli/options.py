"""Options that several commands share, and how their values become option objects."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from streammatte.options.video import SIZE_RANGE, VideoOptions, load_preset, parse_box, parse_size

__all__ = ["SIZE", "common", "controls", "encoding", "fill", "matting", "set_up_logging", "take_threads"]

F = TypeVar("F", bound=Callable[..., Any])


class _SizeType(click.ParamType[tuple[int, int]]):
    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        return value if isinstance(value, tuple) else parse_size(str(value))


SIZE = _SizeType()


class _BoxType(click.ParamType[tuple[int, int, int, int]]):
    name = "x,y,w,h"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        return value if isinstance(value, tuple) else parse_box(str(value))


def _apply(options: list[Callable[[F], F]]) -> Callable[[F], F]:
    def wrap(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return wrap


def matting() -> Callable[[F], F]:
    """Options of how mattes are made."""
    low, high = SIZE_RANGE
    return _apply(
        [
            click.option("--model", help="Network: a name of `streammatte models list`, or a file. [ppmattingv2-lite]"),
            click.option("--engine", type=click.Choice(["auto", "openvino", "paddle"]), help="[auto]"),
            click.option("--device", help="cpu or gpu:N. [auto]"),
            click.option(
                "--precision",
                type=click.Choice(["auto", "int8", "bf16", "f16", "f32"]),
                help="Arithmetic of the network; auto takes what the processor does fast. [auto]",
            ),
            click.option(
                "--size",
                type=int,
                metavar="N",
                help=f"Long side of the network's input, {low} to {high}. [the network's own, 512 for the embedded]",
            ),
            click.option(
                "--trt", is_flag=True, default=None, help="TensorRT in f16, with --engine paddle --device gpu:N."
            ),
            click.option("--batch", type=click.IntRange(1), help="Frames a submission. [1]"),
            click.option("--threads", type=click.IntRange(0), help="Inference threads; 0 is all cores. [0]"),
            click.option(
                "--smooth",
                type=click.Choice(["off", "low", "high", "best"]),
                help="Temporal smoothing; best looks ahead, in videos. [low]",
            ),
            click.option(
                "--refine", type=click.Choice(["off", "fast", "best"]), help="Edges at the video's own size. [fast]"
            ),
            click.option(
                "--no-estimate-foreground",
                "estimate_foreground",
                flag_value=False,
                default=None,
                help="Leave the old background's colour in soft edges.",
            ),
        ]
    )


def controls() -> Callable[[F], F]:
    """Options of how a finished matte is adjusted, and the person's colour with it."""
    return _apply(
        [
            click.option("--edge", type=float, metavar="PX", help="Grow (or shrink, below 0) by -5 to 5 pixels. [0]"),
            click.option("--feather", type=float, metavar="PX", help="Soften edges, sigma in pixels. [0]"),
            click.option("--gamma", type=float, help="Above 1 thickens hair and soft edges, below thins them. [1]"),
            click.option("--black-point", type=float, metavar="A", help="Alpha up to here, 0 to 1, becomes 0. [0]"),
            click.option("--white-point", type=float, metavar="A", help="Alpha from here on becomes 1. [1]"),
            click.option(
                "--min-area", type=float, metavar="PERCENT", help="Drop islands smaller than this; 0 keeps all. [0.03]"
            ),
            click.option("--largest-person", is_flag=True, default=None, help="Keep the largest person only."),
            click.option("--keep-box", type=_BoxType(), help="Keep nothing outside this box, in pixels."),
            click.option(
                "--despill",
                type=click.Choice(["off", "green", "blue", "auto"]),
                help="Take a screen's light off the person's edges. [off]",
            ),
            click.option(
                "--match-light",
                type=click.Choice(["off", "on"]),
                callback=_switch,
                help="Fit the person's light gently to the background. [off]",
            ),
        ]
    )


def _switch(context: click.Context, parameter: click.Parameter, value: str | None) -> bool | None:
    return None if value is None else value == "on"


def encoding() -> Callable[[F], F]:
    """Options of how videos are written."""
    return _apply(
        [
            click.option("--bg", "background", metavar="WHAT", help=BACKGROUND_HELP),
            click.option(
                "--fit", type=click.Choice(["cover", "contain", "stretch"]), help="Background of another shape. [cover]"
            ),
            click.option("--alpha", metavar="FILE", help="Also write the alpha matte (.mkv lossless, .mp4, %04d.png)."),
            click.option("--foreground", metavar="FILE", help="Also write the straight foreground."),
            click.option("--codec", help="Encoder: libx264, libx265, h264_nvenc, prores_ks, ... [auto]"),
            click.option("--crf", type=click.IntRange(0, 63), help="Constant quality, lower is better. [20]"),
            click.option("--preset", help="The encoder's preset. [veryfast]"),
            click.option("--bitrate", type=click.IntRange(1), metavar="BITS", help="Bits a second instead of --crf."),
            click.option("--output-size", type=SIZE, help="Size of the output. [the input's]"),
            click.option("--no-audio", "audio", flag_value=False, default=None, help="Leave audio and subtitles out."),
            click.option("--overwrite", is_flag=True, default=None, help="Replace an existing output."),
        ]
    )


BACKGROUND_HELP = (
    "An image, a video, a colour (name or #rrggbb), blur[:strength], transparent, or none (the original). "
    "[transparent where the container can hold it, else green]"
)


def common() -> Callable[[F], F]:
    """Options of every long-running command."""
    return _apply(
        [
            click.option("--config", "config", metavar="NAME|FILE", help="Preset: an installed name or a .yml file."),
            click.option(
                "--log-level",
                type=click.Choice(["debug", "info", "warning", "error"]),
                default="warning",
                show_default=True,
                help="debug also shows tracebacks.",
            ),
            click.option("--json", "as_json", is_flag=True, help="One JSON line a second instead of a progress bar."),
        ]
    )


def fill(config: str | None, given: dict[str, Any]) -> VideoOptions:
    """Options from a preset and from what the command line gave."""
    return VideoOptions.build(load_preset(config) if config else None, **given)


class _Formatter(logging.Formatter):
    """Names the level from warnings on, but for a notice: that is logged as a warning only to be seen by default."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        plain = record.levelno < logging.WARNING or getattr(record, "notice", False)
        return text if plain else f"{record.levelname.lower()}: {text}"


def take_threads() -> None:
    """One OpenCV thread: the stages have threads of their own, and a pool costs more than it gives on small mattes.

    For the command line's own process only; an embedder's is left as it is.
    """
    import cv2

    cv2.setNumThreads(1)


def set_up_logging(level: str) -> None:
    """Log to standard error; the libraries below only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    root = logging.getLogger("streammatte")
    root.handlers[:] = [handler]
    root.propagate = False  # other packages add handlers of their own to the root
    root.setLevel(level.upper())
