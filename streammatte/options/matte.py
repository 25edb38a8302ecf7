"""Options of how mattes are made and composited; shared by videos, images and cameras."""

from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError
from streammatte.network_size import MAX_LONG_SIDE, MAX_MEGAPIXELS
from streammatte.options.declare import Options, option, option_class

__all__ = ["BACKGROUND_HELP", "SIZE_RANGE", "CompositeOptions", "MatteOptions", "fit_option", "timeout_option"]

SIZE_RANGE = (192, MAX_LONG_SIDE)
"""Long sides of the network's input that ``--size`` takes."""

BACKGROUND_HELP = "An image, a video, a colour (name or #rrggbb), blur[:strength], transparent, or none (the original)."


def fit_option(group: str) -> Any:
    """``--fit``, of every command with a background."""
    return option(
        default="cover", help="Background of another shape.", group=group, choices=("cover", "contain", "stretch")
    )


def timeout_option(group: str) -> Any:
    """``--timeout``, of every command that may read from the network."""
    return option(
        default=10.0,
        help="Give up a silent network source after this.",
        group=group,
        low=0,
        above=True,
        high=86400,
        unit="seconds",
        metavar="SECONDS",
    )


@option_class
class MatteOptions(Options):
    """How mattes are made. A ``card`` becomes part of ``model``: CARD=FILE."""

    model: str = option(
        default="ppmattingv2-lite", help="Network: a name of `streammatte models list`, or a file.", group="network"
    )
    card: str | None = option(
        default=None,
        help="How a third-party network is read: a name of `streammatte models list`, or a YAML file.",
        group="network",
        metavar="NAME|FILE",
    )
    engine: str = option(
        default="auto", help="Inference engine.", group="network", choices=("auto", "openvino", "onnxruntime", "paddle")
    )
    device: str = option(default="auto", help="cpu or gpu:N; for onnxruntime cuda, rocm, dml, coreml.", group="network")
    precision: str = option(
        default="auto",
        help="Arithmetic of the network; auto takes what the processor does fast.",
        group="network",
        choices=("auto", "int8", "bf16", "f16", "f32"),
    )
    size: int | None = option(
        default=None,
        help=f"Long side of the network's input, {SIZE_RANGE[0]} to {SIZE_RANGE[1]}.",
        group="network",
        low=SIZE_RANGE[0],
        high=SIZE_RANGE[1],
        unit="pixels (the network input's long side)",
        shown="the network's own, 512 for the embedded",
    )
    threads: int = option(default=0, help="Inference threads; 0 is all cores.", group="network", low=0, high=1024)
    average: str = option(
        default="off",
        help="flip runs the network on the mirror image too and averages: better mattes in twice the time.",
        group="network",
        choices=("off", "flip"),
    )
    low_light: bool = option(
        default=True,
        help="Brighten what the network sees of dark images; the result keeps its light.",
        group="network",
        switch=True,
    )
    max_pixels: int = option(
        default=MAX_MEGAPIXELS,
        help="Refuse larger images and videos, in megapixels.",
        group="network",
        low=1,
        high=178,
        unit="megapixels",
        metavar="MEGAPIXELS",
    )
    refine: str = option(
        default="fast", help="Edges at the video's own size.", group="network", choices=("off", "fast", "best")
    )
    estimate_foreground: bool = option(
        default=True,
        help="Leave the old background's colour in soft edges.",
        group="network",
        flag="--no-estimate-foreground",
    )
    smooth: str = option(
        default="low",
        help="Temporal smoothing; best looks ahead, in videos.",
        group="sequence",
        choices=("off", "low", "high", "best"),
    )
    batch: int = option(default=1, help="Frames a submission.", group="sequence", low=1, high=64)
    trt: bool = option(default=False, help="TensorRT in f16, with --engine paddle --device gpu:N.", group="sequence")

    input_alpha: str = option(
        default="multiply",
        help="The input's own alpha: times the matte, unused, or in place of the network.",
        group="composite",
        choices=("multiply", "ignore", "only"),
    )
    flip: str = option(
        default="none",
        help="Mirror the input: left and right, or top and bottom.",
        group="controls",
        choices=("none", "horizontal", "vertical"),
    )
    rotate: str = option(
        default="0",
        help="Rotate the input clockwise, in degrees.",
        group="controls",
        choices=("0", "90", "180", "270"),
    )
    edge: float = option(
        default=0.0,
        help="Grow (or shrink, below 0) by -5 to 5 pixels.",
        group="controls",
        low=-5,
        high=5,
        unit="pixels",
    )
    feather: float = option(
        default=0.0, help="Soften edges, sigma in pixels.", group="controls", low=0, high=50, unit="pixels"
    )
    gamma: float = option(
        default=1.0,
        help="Above 1 thickens hair and soft edges, below thins them.",
        group="controls",
        low=0.1,
        high=10,
        unit="(1 changes nothing)",
    )
    black_point: float = option(
        default=0.0, help="Alpha up to here, 0 to 1, becomes 0.", group="controls", low=0, high=1, unit="of alpha"
    )
    white_point: float = option(
        default=1.0, help="Alpha from here on becomes 1.", group="controls", low=0, high=1, unit="of alpha"
    )
    min_area: float = option(
        default=0.03,
        help="Drop parts smaller than this, and doubtful ones below 100 times it; 0 keeps all.",
        group="controls",
        low=0,
        high=100,
        unit="percent of the image",
        metavar="PERCENT",
    )
    fill_holes: float = option(
        default=0.2,
        help="Fill doubtful holes in a person up to this size; 0 fills none.",
        group="controls",
        low=0,
        high=100,
        unit="percent of the image",
        metavar="PERCENT",
    )
    largest_person: bool = option(default=False, help="Keep the largest person only.", group="controls")
    choose: tuple[int, int] | None = option(
        default=None,
        help="Keep the person at this point, in pixels, of several, and follow them.",
        group="controls",
        point=True,
    )
    keep_box: tuple[int, int, int, int] | None = option(
        default=None, help="Keep nothing outside this box, in pixels.", group="controls", shown=""
    )
    despill: str = option(
        default="off",
        help="Take a screen's light off the person's edges.",
        group="controls",
        choices=("off", "green", "blue", "auto"),
    )
    match_light: bool = option(
        default=False, help="Fit the person's light gently to the background.", group="controls", switch=True
    )

    def __attrs_post_init__(self) -> None:
        if self.card is not None:
            if not Path(self.model).expanduser().is_file():
                raise ConfigError(f"--card goes with --model FILE, and {self.model} is no file")
            object.__setattr__(self, "model", f"{self.card}={self.model}")
            object.__setattr__(self, "card", None)
        if self.black_point >= self.white_point:
            raise ConfigError(
                f"--black-point must lie below --white-point; got {self.black_point:g} and {self.white_point:g}"
            )


@option_class
class CompositeOptions(MatteOptions):
    """What is written of a video or an image."""

    background: str | None = option(
        default=None,
        help=BACKGROUND_HELP,
        group="composite",
        flag="--bg",
        metavar="WHAT",
        shown="transparent where the output can hold it, else green",
    )
    fit: str = fit_option("composite")
    alpha: str | None = option(
        default=None,
        help="Also write the alpha matte; with --out-dir a folder.",
        group="composite",
        metavar="FILE",
    )
    foreground: str | None = option(
        default=None,
        help="Also write the straight foreground; with --out-dir a folder.",
        group="composite",
        metavar="FILE",
    )
    overwrite: bool = option(default=False, help="Replace existing outputs.", group="composite")
