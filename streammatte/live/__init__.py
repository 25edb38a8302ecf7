"""Live sessions: a camera in, any number of sinks out, and nothing unmatted ever shown."""

from streammatte.live.matting import LiveMatter, SizeLevel
from streammatte.live.pipeline import LivePipeline
from streammatte.live.privacy_guard import PrivacyGuard, Shown
from streammatte.live.scenes import Scene, Scenes
from streammatte.live.settings import LiveSettings, SettingsStore
from streammatte.live.status import LiveStatus

__all__ = [
    "LiveMatter",
    "LivePipeline",
    "LiveSettings",
    "LiveStatus",
    "PrivacyGuard",
    "Scene",
    "Scenes",
    "SettingsStore",
    "Shown",
    "SizeLevel",
]
