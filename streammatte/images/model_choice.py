"""Chooses the network for an image where the user names none."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec

from streammatte.errors import EngineUnavailableError, StreammatteError
from streammatte.matting.trimap_methods import METHODS
from streammatte.models.cards import Card, card_names, load_card
from streammatte.models.resolve import EMBEDDED, resolve
from streammatte.models.store import find

__all__ = ["HIGH_RESOLUTION", "LARGE", "Choice", "Router"]

log = logging.getLogger(__name__)

HIGH_RESOLUTION = "human_matting-resnet34_vd"
"""PP-HumanMatting, whose refiner works at up to 2048 pixels."""
LARGE = 1024
"""Long side in pixels from which the high-resolution network is chosen: half of what it takes."""

Choice = tuple[str, str]
"""A model's name and why it was chosen."""


class Router:
    """Looks once which networks are present. One that turns out unusable when chosen is reported and skipped."""

    def __init__(self) -> None:
        self._here = [card for card in map(load_card, card_names()) if not card.embedded and _may_run(card)]
        self._usable: set[str] = set()

    def network(self, width: int, height: int) -> Choice:
        """The network for an image without a trimap."""
        long_side = max(width, height)
        large = long_side >= LARGE

        def order(card: Card) -> tuple[bool, bool, float]:
            # Networks for larger images than this one come after those for its size.
            return (
                not (large and card.name == HIGH_RESOLUTION),
                max(card.input.size) > max(long_side, _COMMON),
                _sad(card),
            )

        found = self._first(sorted((card for card in self._here if not card.input.trimap), key=order))
        if found is None:
            return EMBEDDED[0], "no other network is here" + (_advice() if large else "")
        if large and found.name == HIGH_RESOLUTION:
            return found.name, f"for images of {LARGE} pixels and more"
        return found.name, f"the best of those here by published SAD ({_sad(found)})" + (_advice() if large else "")

    def with_trimap(self) -> Choice:
        """The network or classic method for an image with a trimap."""
        found = self._first(sorted((card for card in self._here if card.input.trimap), key=_sad))
        if found is None:
            return METHODS[0], "no network that takes a trimap is here"
        return found.name, "the best of those here that take a trimap"

    def _first(self, ranked: Iterable[Card]) -> Card | None:
        """The first whose files are usable; those before it are reported and dropped."""
        for card in ranked:
            if card.name in self._usable:
                return card
            try:
                files = resolve(card.name)
                if not files.graphs and not _paddle():
                    raise EngineUnavailableError(
                        "it runs through Paddle, which is not installed; install streammatte[export]"
                    )
            except StreammatteError as error:
                log.warning("%s is left out: %s", card.name, error)
                self._here.remove(card)
            else:
                self._usable.add(card.name)
                return card
        return None


_COMMON = 512
"""The size that most networks were trained at; smaller images are no reason to avoid these."""


def _sad(card: Card) -> float:
    return float("inf") if card.seed.sad is None else card.seed.sad


def _may_run(card: Card) -> bool:
    """Whether something is here in a form that can run: weights alone need Paddle."""
    kept = find(card.name)
    exported = kept.folder is not None or kept.archive is not None or kept.damage is not None
    return exported or (kept.checkpoint is not None and _paddle())


@cache
def _paddle() -> bool:
    return find_spec("paddle") is not None


def _advice() -> str:
    return f"; for images this large: streammatte models pull {HIGH_RESOLUTION}"
