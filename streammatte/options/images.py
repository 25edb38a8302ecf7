"""Options of ``streammatte image``."""

from collections.abc import Mapping
from typing import Any, Self

from streammatte.errors import ConfigError
from streammatte.options.declare import option, option_class, options_of
from streammatte.options.matte import SIZE_RANGE, CompositeOptions
from streammatte.options.video import VideoOptions

__all__ = ["AUTO", "WIDEST_TRIMAP", "ImageOptions"]

AUTO = "auto"
"""The model's name that leaves the choice to :mod:`streammatte.images.model_choice`."""

WIDEST_TRIMAP = 500
"""A band of a thousand pixels leaves nothing certain of a person in most images."""

_CLASSIC = "closed-form, knn, learning-based, fast, random-walk"


@option_class
class ImageOptions(CompositeOptions):
    """Everything ``streammatte image`` takes besides its files; the group ``sequence`` does not apply."""

    model: str = option(
        default=AUTO, help=f"A name of `streammatte models list`, a file, or {_CLASSIC} with a trimap.", group="network"
    )
    size: int | None = option(
        default=None,
        help=f"Limit of the network input's long side, {SIZE_RANGE[0]} to {SIZE_RANGE[1]}.",
        group="network",
        low=SIZE_RANGE[0],
        high=SIZE_RANGE[1],
        unit="pixels (the network input's long side)",
        shown="2048, or the network's own",
    )
    average: str = option(
        default="flip",
        help="flip runs the network on the mirror image too and averages: better mattes in twice the time.",
        group="network",
        choices=("off", "flip"),
    )
    smooth: str = option(default="off", help="Images have no before and after.", group="sequence", choices=("off",))
    trimap: str | None = option(
        default=None,
        help="Trimap (black, gray, white), or a folder of trimaps of the same names.",
        group="image",
        metavar="FILE",
    )
    auto_trimap: int | None = option(
        default=None,
        help=f"Make trimaps from mattes: unknown is what lies R pixels around soft edges, 0 to {WIDEST_TRIMAP}.",
        group="image",
        low=0,
        high=WIDEST_TRIMAP,
        unit="pixels",
        metavar="R",
    )

    @classmethod
    def build(cls, base: Mapping[str, Any] | None = None, /, **given: Any) -> Self:
        """Defaults, then ``base`` (a preset), then ``given`` (None is not given). Raises ConfigError.

        A preset may be shared with videos: what does not apply to images is left out.
        """
        names = {entry.name for entry in options_of(cls) if entry.group != "sequence"}
        only_videos = {entry.name for entry in options_of(VideoOptions)} - names
        unused = sorted(only_videos & {name for name, value in given.items() if value is not None})
        if unused:
            raise ConfigError(f"{', '.join(unused)} does not apply to images; leave it out")
        return super().build({name: v for name, v in (base or {}).items() if name not in only_videos}, **given)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.trimap is not None and self.auto_trimap is not None:
            raise ConfigError("--trimap and --auto-trimap exclude each other; give one")
