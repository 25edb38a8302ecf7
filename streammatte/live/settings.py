"""What can be changed while the camera runs, and the one place where changes are checked."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from streammatte.errors import ConfigError
from streammatte.options.declare import check, declared, shortened
from streammatte.options.live import LiveOptions, refuse_revealing
from streammatte.options.matte import MatteOptions

__all__ = ["CONTROLS", "KEYS", "MAX_BACKGROUNDS", "SMOOTHING", "LiveSettings", "SettingsStore", "apply_key"]

MAX_BACKGROUNDS = 64
"""Backgrounds that are kept ready; further ones are refused."""

SMOOTHING = ("off", "low", "high")
"""Values of ``smooth``, in the order in which the key ``s`` walks through them."""

CONTROLS = (
    "edge",
    "feather",
    "gamma",
    "black_point",
    "white_point",
    "min_area",
    "fill_holes",
    "largest_person",
    "choose",
)
"""Settings of the matte's shape: named, meant and limited as the options."""

SCENE_SETTINGS = ("despill", "match_light", "blur_strength", "framing", "flip", "rotate", "crop")
"""Settings of what is made of a matte, declared as options too."""

KEYS = {
    "b": "next background",
    "e": "blur on or off",
    "s": "next smoothing",
    "f": "freeze on or off",
    "m": "mirror on or off",
    "h": "placeholder frame on or off",
    "q": "quit",
}
"""Keys in the preview window and in the terminal."""


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """One consistent set of live settings."""

    background: int = 0  # index in the list of --bg
    blur: bool = False  # the blurred room instead of the background
    smooth: str = "low"  # temporal smoothing
    freeze: bool = False  # the last image stays
    mirror: bool = False  # mirror the person, not the background
    hold: bool = False  # the placeholder frame instead of the camera
    quit: bool = False  # end the session
    edge: float = 0.0
    feather: float = 0.0
    gamma: float = 1.0
    black_point: float = 0.0
    white_point: float = 1.0
    min_area: float = 0.03
    fill_holes: float = 0.2
    largest_person: bool = False
    choose: tuple[int, int] | None = None
    despill: str = "off"
    match_light: bool = False
    blur_strength: float = 25.0  # of ``blur``
    framing: str = "off"
    flip: str = "none"
    rotate: str = "0"  # the stream keeps its size: a rotated frame is fitted into it
    crop: tuple[int, int, int, int] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class SettingsStore:
    """Holds the settings in force. Any thread may read ``current`` or ``apply`` a change; readers never wait.

    Parameters
    ----------
    backgrounds : sequence of str
        Names of the backgrounds to choose from; at least one.
    initial : LiveSettings
        What is in force at the start.
    """

    def __init__(self, backgrounds: Sequence[str], initial: LiveSettings | None = None) -> None:
        if not backgrounds:
            raise ConfigError("a live session needs at least one background, as in --bg beach.jpg")
        self.backgrounds = tuple(backgrounds)
        self._current = initial or LiveSettings()
        self._lock = threading.Lock()

    @property
    def current(self) -> LiveSettings:
        """The settings in force, as one object: read it once a frame."""
        return self._current

    def apply(self, patch: Mapping[str, Any]) -> LiveSettings:
        """Check a change and put it in force as a whole; a wrong one changes nothing.

        Parameters
        ----------
        patch : mapping
            Names of settings to values. ``background`` may be an index (0, 1, ...) or a name from the list.

        Raises
        ------
        ConfigError
            A name is unknown or a value is not allowed.
        """
        checked = {name: self._check(name, value) for name, value in patch.items()}
        with self._lock:
            changed = replace(self._current, **checked)
            MatteOptions(**{name: getattr(changed, name) for name in CONTROLS})
            refuse_revealing(changed.black_point, changed.white_point, changed.gamma)
            self._current = changed
            return changed

    def check_background(self, name: str) -> None:
        """Raise ConfigError where no background of this name can be added."""
        if name in self.backgrounds:
            raise ConfigError(f"there is a background {name} already")
        if len(self.backgrounds) >= MAX_BACKGROUNDS:
            raise ConfigError(f"there are {MAX_BACKGROUNDS} backgrounds already")

    def add_background(self, name: str) -> None:
        """Append a name to the list of backgrounds; scenes have it already. Raises as :meth:`check_background`."""
        with self._lock:
            self.check_background(name)
            self.backgrounds = (*self.backgrounds, name)

    def _check(self, name: str, value: Any) -> Any:
        if name == "background":
            return self._place(value)
        if name not in {field.name for field in fields(LiveSettings)}:
            known = ", ".join(field.name for field in fields(LiveSettings))
            raise ConfigError(f"unknown setting {shortened(name)}; known are {known}")
        if name == "smooth" and value not in SMOOTHING:
            raise ConfigError(f"smooth must be one of {', '.join(SMOOTHING)}; got {shortened(value)}")
        if name in CONTROLS + SCENE_SETTINGS:
            return check(declared(LiveOptions, name), value)
        if name != "smooth" and not isinstance(value, bool):
            raise ConfigError(f"{name} must be true or false; got {shortened(value)}")
        return value

    def _place(self, value: Any) -> int:
        if isinstance(value, str) and value in self.backgrounds:
            return self.backgrounds.index(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.backgrounds):
            return value
        raise ConfigError(
            f"background must be 0 to {len(self.backgrounds) - 1} or one of {', '.join(self.backgrounds)}; "
            f"got {shortened(value)}"
        )


def apply_key(store: SettingsStore, key: str) -> bool:
    """Apply a key of :data:`KEYS`; False for any other key."""
    now = store.current
    if key not in KEYS:
        return False
    if key == "b":
        store.apply({"background": (now.background + 1) % len(store.backgrounds), "blur": False})
    elif key == "s":
        store.apply({"smooth": SMOOTHING[(SMOOTHING.index(now.smooth) + 1) % len(SMOOTHING)]})
    else:
        name = {"e": "blur", "f": "freeze", "m": "mirror", "h": "hold", "q": "quit"}[key]
        store.apply({name: not getattr(now, name)})
    return True
