"""A microphone, or the audio of a file at its own pace."""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from streammatte.errors import DeviceError, SourceError
from streammatte.media.container import local_address, open_container, reason, shown_address
from streammatte.runtime import native_lines
from streammatte.tracks import AudioFeed, AudioPiece

__all__ = ["Microphone"]

_log = logging.getLogger(__name__)

RATE = 48_000
"""Sample rate, Hz, of all audio: what RTMP servers and players expect."""
_FRAMEWORKS = {"linux": ("pulse", "alsa"), "darwin": ("avfoundation",), "win32": ("dshow",)}


class Microphone:
    """Reads audio and passes it to any number of feeds.

    Parameters
    ----------
    spec : str
        ``default``, the system's name of a device (``hw:1``, ``Built-in Microphone``), or a file with audio.

    Raises
    ------
    DeviceError
        It cannot be opened.
    """

    name = "microphone"

    def __init__(self, spec: str = "default") -> None:
        self._file = Path(spec).is_file()
        self._container = _open(spec, self._file)
        if not self._container.streams.audio:
            self._container.close()
            raise DeviceError(f"{spec} has no audio; choose another with --mic")
        self._stream = self._container.streams.audio[0]
        channels = min(2, self._stream.codec_context.channels)
        self.channels = max(1, channels)
        self._resampler = av.AudioResampler("fltp", "mono" if self.channels == 1 else "stereo", RATE)
        self._feeds: list[AudioFeed] = []
        self._stopped = threading.Event()

    def feed(self) -> AudioFeed:
        """Another feed; call before ``run``."""
        made = AudioFeed(RATE, self.channels)
        self._feeds.append(made)
        return made

    def run(self) -> None:
        """Read until the end or ``interrupt``: the body of a thread. If the microphone is lost, the session continues
        without audio.
        """
        start = time.monotonic()
        taken = 0
        try:
            for frame in self._container.decode(self._stream):
                arrived = time.monotonic()
                for piece in self._resampler.resample(frame):
                    samples = np.asarray(piece.to_ndarray(), np.float32)
                    count = samples.shape[1]
                    captured = start + taken / RATE if self._file else arrived - count / RATE
                    taken += count
                    for feed in self._feeds:
                        feed.put(AudioPiece(samples, captured))
                if self._file and self._stopped.wait(max(0.0, start + taken / RATE - time.monotonic())):
                    break
                if self._stopped.is_set():
                    break
        except (av.error.FFmpegError, OSError) as error:
            _log.warning("the microphone failed (%s); the image goes on without audio", reason(error))
        finally:
            self._container.close()

    def interrupt(self) -> None:
        """End ``run`` soon; safe from any thread."""
        self._stopped.set()


def _open(spec: str, is_file: bool) -> Any:
    if is_file:
        try:
            return open_container(local_address(spec), spec, timeout=None, url=False)
        except SourceError as error:
            raise DeviceError(f"cannot open the microphone: {error}") from error
    if "://" in spec:
        raise DeviceError(f"{shown_address(spec)} is no microphone; give a device or a file to --mic")
    address = {"darwin": f"none:{spec}", "win32": f"audio={spec}"}.get(sys.platform, spec)
    attempts = [(framework, address) for framework in _FRAMEWORKS.get(sys.platform, ())]
    failures = []
    for framework, address in attempts:
        try:
            with native_lines(_log):
                return av.open(address, format=framework)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            failures.append(f"{framework}: {reason(error)}")
    raise DeviceError(f"cannot open the microphone {spec} ({'; '.join(failures)}); choose another with --mic DEVICE")
