"""Live sessions: a camera in, any number of sinks out, and nothing unmatted ever shown."""

from streammatte.live.matting import LiveMatter, Rung
from streammatte.live.pipeline import LivePipeline
from streammatte.live.privacy_guard import PrivacyGuard, Shown
from streammatte.live.scenes import Scene, Scenes
from streammatte.live.settings import LiveSettings, SettingsBoard
from streammatte.live.status import LiveStatus

__all__ = [
    "LiveMatter",
    "LivePipeline",
    "LiveSettings",
    "LiveStatus",
    "PrivacyGuard",
    "Rung",
    "Scene",
    "Scenes",
    "SettingsBoard",
    "Shown",
]
