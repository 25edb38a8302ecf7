"""What stills can be told, beside what videos can."""

from __future__ import annotations

from dataclasses import dataclass

from streammatte.errors import ConfigError
from streammatte.options.video import VideoOptions

__all__ = ["AUTO", "WIDEST_TRIMAP", "StillOptions"]

AUTO = "auto"
"""The model's name that leaves the choice to :mod:`streammatte.images.model_choice`."""


@dataclass(frozen=True)
class StillOptions(VideoOptions):
    """Everything ``streammatte image`` can be told besides its files; what belongs to videos alone is not used."""

    model: str = AUTO  # the best network that is here; a zoo name, a file, or a classic method
    size: int | None = None  # long side of what the network sees, at most; None is the network's own, at most 2048
    smooth: str = "off"  # stills have no before and after
    trimap: str | None = None  # a trimap, or a folder of trimaps named like the pictures
    auto_trimap: int | None = None  # radius in pixels of a trimap made from a network's matte

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trimap is not None and self.auto_trimap is not None:
            raise ConfigError("--trimap and --auto-trimap exclude each other; give one")
        if self.auto_trimap is not None and not 0 <= self.auto_trimap <= WIDEST_TRIMAP:
            raise ConfigError(f"--auto-trimap must be 0 to {WIDEST_TRIMAP} pixels; got {self.auto_trimap}")


WIDEST_TRIMAP = 500
"""A band of a thousand pixels leaves nothing known of a person in most pictures."""
