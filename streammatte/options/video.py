"""Options: frozen dataclasses with their defaults, and YAML presets. Command line > preset > default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

from streammatte.errors import ConfigError

__all__ = ["MatteOptions", "VideoOptions", "list_presets", "load_preset"]

SIZE_RANGE = (192, 2048)
"""Long sides that --size takes."""

_CHOICES = {
    "smooth": ("off", "low", "high", "best"),
    "refine": ("off", "fast", "best"),
    "fit": ("cover", "contain", "stretch"),
    "despill": ("off", "green", "blue", "auto"),
}
_RANGES = {  # what the matte's controls take, and in what
    "edge": (-5.0, 5.0, "pixels"),
    "feather": (0.0, 50.0, "pixels"),
    "gamma": (0.1, 10.0, "(1 changes nothing)"),
    "black_point": (0.0, 1.0, "of alpha"),
    "white_point": (0.0, 1.0, "of alpha"),
    "min_area": (0.0, 100.0, "percent of the picture"),
}


@dataclass(frozen=True)
class MatteOptions:
    """How mattes are made; shared by videos, stills and cameras."""

    model: str = "ppmattingv2-lite"  # a zoo name or a file that --model takes
    engine: str = "auto"  # openvino, paddle; auto picks by device and by what is installed
    device: str = "auto"  # cpu, gpu:0
    precision: str = "auto"  # int8, bf16, f32; auto takes what the processor does fast
    trt: bool = False  # TensorRT, with Paddle Inference on a GPU
    size: int | None = None  # long side of the network's input, in pixels; None is the network's own, mostly 512
    batch: int = 1  # frames a submission; the CPU engine is fastest with 1 and several streams
    threads: int = 0  # inference threads; 0 means all cores
    smooth: str = "low"  # temporal smoothing
    refine: str = "fast"  # how alpha gets from the network's size to the frame's
    estimate_foreground: bool = True  # remove the old background's colour from soft edges
    edge: float = 0.0  # pixels by which the person grows, or shrinks where negative
    feather: float = 0.0  # pixels (sigma) by which edges are softened
    gamma: float = 1.0  # of alpha: above 1 thickens hair, below thins it
    black_point: float = 0.0  # alpha up to here becomes 0
    white_point: float = 1.0  # alpha from here on becomes 1
    min_area: float = 0.03  # islands below this percentage of the picture are dropped, doubtful ones below 100 times it
    largest_person: bool = False  # keep the largest person only
    keep_box: tuple[int, int, int, int] | None = None  # x, y, width, height in pixels: nothing outside is kept
    despill: str = "off"  # take a green or blue screen's light off the person's edges
    match_light: bool = False  # fit the person's exposure and white balance gently to the new background

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            value = getattr(self, name, allowed[0])
            if value not in allowed:
                raise ConfigError(f"--{name} must be one of {', '.join(allowed)}; got {value!r}")
        low, high = SIZE_RANGE
        if self.size is not None and not low <= self.size <= high:
            raise ConfigError(f"--size must be {low} to {high} pixels (the network input's long side); got {self.size}")
        if self.batch < 1:
            raise ConfigError(f"--batch must be 1 or more; got {self.batch}")
        if self.threads < 0:
            raise ConfigError(f"--threads must be 0 (all cores) or more; got {self.threads}")
        for name, (least, most, unit) in _RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ConfigError(f"--{name.replace('_', '-')} must be {least:g} to {most:g} {unit}; got {value:g}")
        if self.black_point >= self.white_point:
            raise ConfigError(
                f"--black-point must lie below --white-point; got {self.black_point:g} and {self.white_point:g}"
            )
        if self.keep_box is not None and isinstance(self.keep_box, str | list):
            object.__setattr__(self, "keep_box", parse_box(self.keep_box))


@dataclass(frozen=True)
class VideoOptions(MatteOptions):
    """Everything ``streammatte video`` can be told besides its files."""

    background: str | None = None  # None: transparent where the container can hold alpha, else green
    fit: str = "cover"  # how a background of another shape is laid in
    alpha: str | None = None  # file for the alpha matte
    foreground: str | None = None  # file for the straight foreground
    codec: str = "auto"  # encoder; auto is libx264 for mp4, mkv, mov, and what the container needs elsewhere
    crf: int | None = None  # constant quality; None is 20 for H.264 and alike for others
    preset: str | None = None  # encoder preset; None is veryfast for libx264
    bitrate: int | None = None  # bits a second instead of constant quality
    output_size: tuple[int, int] | None = None  # (width, height) of the output; None keeps the input's
    audio: bool = True  # carry audio and subtitles over
    start: float | None = None  # seconds
    duration: float | None = None  # seconds
    rate: float | None = None  # frames a second of an image sequence
    timeout: float = 10.0  # seconds before a network source is given up
    overwrite: bool = False  # replace existing outputs

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crf is not None and not 0 <= self.crf <= 63:
            raise ConfigError(f"--crf must be 0 to 63; got {self.crf}")
        if self.crf is not None and self.bitrate is not None:
            raise ConfigError("--crf and --bitrate exclude each other; give one")
        if self.bitrate is not None and self.bitrate <= 0:
            raise ConfigError(f"--bitrate must be above 0 bits a second; got {self.bitrate}")
        if self.output_size is not None and not all(16 <= side <= 16384 for side in self.output_size):
            raise ConfigError(f"--output-size must be 16 to 16384 pixels a side; got {_by(self.output_size)}")
        for name in ("start", "duration", "rate"):
            value = getattr(self, name)
            if value is not None and (value < 0 or (value == 0 and name != "start") or math.isnan(value)):
                raise ConfigError(f"--{name} must be above 0; got {value}")
        if self.timeout <= 0:
            raise ConfigError(f"--timeout must be above 0 seconds; got {self.timeout}")

    @classmethod
    def build(cls, base: Mapping[str, Any] | None = None, /, **given: Any) -> Self:
        """Defaults, then ``base`` (a preset), then ``given`` (None is not given). Raises ConfigError."""
        known = {field.name for field in fields(cls)}
        merged = {**(base or {}), **{key: value for key, value in given.items() if value is not None}}
        unknown = sorted(set(merged) - known)
        if unknown:
            raise ConfigError(f"unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if isinstance(merged.get("output_size"), str | list):
            merged["output_size"] = parse_size(merged["output_size"])
        try:
            return replace(cls(), **merged)
        except TypeError as error:
            raise ConfigError(f"an option has the wrong type: {error}") from error


def parse_size(text: str | list[int]) -> tuple[int, int]:
    """``"1280x720"`` or ``[1280, 720]`` as (width, height). Raises ConfigError."""
    parts = text.lower().split("x") if isinstance(text, str) else list(text)
    try:
        width, height = (int(part) for part in parts)
    except ValueError:
        raise ConfigError(f"a size is written WIDTHxHEIGHT, as in 1280x720; got {text!r}") from None
    return width, height


def parse_box(text: str | list[int]) -> tuple[int, int, int, int]:
    """``"x,y,w,h"`` or ``[x, y, w, h]``, in pixels, as (x, y, width, height). Raises ConfigError."""
    parts = text.split(",") if isinstance(text, str) else list(text)
    try:
        x, y, width, height = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ConfigError(f"a box is written x,y,w,h in pixels, as in 100,0,800,720; got {text!r}") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ConfigError(f"a box needs a corner of 0,0 or more and sides of 1 or more; got {x},{y},{width},{height}")
    return x, y, width, height


def list_presets() -> list[str]:
    """Names of the presets that are installed."""
    folder = resources.files("streammatte.configs")
    return sorted(item.name[:-4] for item in folder.iterdir() if item.name.endswith(".yml"))


def load_preset(name_or_file: str) -> dict[str, Any]:
    """Options of an installed preset by name, or of a YAML file by path. Raises ConfigError."""
    import yaml

    path = Path(name_or_file)
    if path.suffix in (".yml", ".yaml"):
        if not path.is_file():
            raise ConfigError(f"no preset file {name_or_file}; installed presets: {', '.join(list_presets())}")
        text = path.read_text(encoding="utf-8")
    elif name_or_file in list_presets():
        text = (resources.files("streammatte.configs") / f"{name_or_file}.yml").read_text(encoding="utf-8")
    else:
        raise ConfigError(f"no preset {name_or_file!r}; installed are {', '.join(list_presets())}, or give a .yml file")
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"preset {name_or_file} is not YAML: {' '.join(str(error).split())}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ConfigError(f"preset {name_or_file} must hold 'option: value' lines")
    return {key.replace("-", "_"): value for key, value in loaded.items()}


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
