"""Which network mattes a picture where the user leaves the choice."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from streammatte.matting.classic import METHODS
from streammatte.zoo.cards import Card, card_names, load_card
from streammatte.zoo.resolve import EMBEDDED
from streammatte.zoo.store import find

__all__ = ["HIGH_RESOLUTION", "LARGE", "Choice", "Router"]

HIGH_RESOLUTION = "human_matting-resnet34_vd"
"""PP-HumanMatting, whose refiner works at up to 2048 pixels."""
LARGE = 1024
"""Long side in pixels from which a picture is worth the high-resolution network: half of what that one takes."""

Choice = tuple[str, str]
"""A model's name and why it was chosen."""


class Router:
    """Looks once at what is here."""

    def __init__(self) -> None:
        self._here = [card for card in map(load_card, card_names()) if not card.embedded and _runs(card)]

    def network(self, width: int, height: int) -> Choice:
        """The network for a picture without a trimap."""
        plain = [card for card in self._here if not card.input.trimap]
        long_side = max(width, height)
        if long_side >= LARGE and any(card.name == HIGH_RESOLUTION for card in plain):
            return HIGH_RESOLUTION, f"for pictures of {LARGE} pixels and more"
        # A network for larger pictures than this one comes after those for its size.
        ranked = sorted(plain, key=lambda card: (max(card.input.size) > max(long_side, _COMMON), _sad(card)))
        if ranked:
            why = f"the best of those here by published SAD ({_sad(ranked[0])})"
            return ranked[0].name, why + (_advice() if long_side >= LARGE else "")
        return EMBEDDED[0], "no other network is here" + (_advice() if long_side >= LARGE else "")

    def with_trimap(self) -> Choice:
        """The network or classic method for a picture with a trimap."""
        ranked = sorted((card for card in self._here if card.input.trimap), key=_sad)
        if ranked:
            return ranked[0].name, "the best of those here that take a trimap"
        return METHODS[0], "no network that takes a trimap is here"


_COMMON = 512
"""The size that most networks were trained at; smaller pictures are no reason to avoid these."""


def _sad(card: Card) -> float:
    return float("inf") if card.seed.sad is None else card.seed.sad


def _runs(card: Card) -> bool:
    """Whether it is here in a form that can run: weights alone need Paddle."""
    kept = find(card.name)
    return kept.folder is not None or (kept.checkpoint is not None and _paddle())


@cache
def _paddle() -> bool:
    return find_spec("paddle") is not None


def _advice() -> str:
    return f"; for pictures this large: streammatte models pull {HIGH_RESOLUTION}"
