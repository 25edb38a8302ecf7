"""WebRTC: a browser's camera as a live source, and a live sink that browsers show."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import cv2
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from streammatte.errors import ConfigError
from streammatte.frames import UNSPECIFIED, ColorSpec, Frame, Layout, StreamInfo
from streammatte.media.convert import PixelConverter, blank_image
from streammatte.protocols import LiveSinkBase
from streammatte.queues import BoundedQueue
from streammatte.sources.planes import PlaneConverter

__all__ = ["BrowserCamera", "Peers", "Screen"]

_log = logging.getLogger(__name__)

_MICRO = Fraction(1, 1_000_000)
_CLOCK = Fraction(1, 90_000)
"""RTP's clock for video."""
LOST = 1.0
"""Seconds without an image after which the camera counts as lost."""
MAX_PEERS = 8
"""Pages that are connected at once."""
_COLOR = ColorSpec(6, 6, 6, False)
"""BT.601, limited range: what browsers send and take VP8 for."""


class BrowserCamera:
    """A LiveSource of the images that a browser sends.

    Parameters
    ----------
    width, height : int
        Of the frames; images of another size (browsers reduce them on a bad connection) are fitted into it.
    rate : float
        Frames a second, a hint.
    """

    def __init__(self, width: int, height: int, rate: float = 30.0) -> None:
        self.info = StreamInfo(
            width, height, Layout.YUV420, _MICRO, Fraction(rate).limit_denominator(1001), _COLOR, name="browser camera"
        )
        self.on_lost: Callable[[], None] = lambda: None
        self._images: BoundedQueue[tuple[Any, float]] = BoundedQueue(1, "drop_oldest")

    def offer(self, image: Any) -> None:
        """An ``av.VideoFrame`` has arrived. Any thread may call; never waits."""
        with suppress(ValueError):
            self._images.put((image, time.monotonic()))

    def frames(self) -> Iterator[Frame]:
        """The newest frame each time, until ``interrupt``."""
        unknown = SimpleNamespace(colorspace=UNSPECIFIED, color_primaries=UNSPECIFIED, color_trc=UNSPECIFIED)
        first = blank_image(self.info.width, self.info.height)
        converter = PlaneConverter(first, unknown, self.info.name, notice=logging.DEBUG)
        index, origin, last = 0, None, -1
        while True:
            taken = self._images.get_batch(1, LOST)
            if not taken:
                if self._images.closed:
                    return
                self.on_lost()
                continue
            image, captured = taken[0]
            origin = captured if origin is None else origin
            last = max(last + 1, round((captured - origin) / _MICRO))
            planes, _ = converter.planes(image)
            yield Frame(planes, Layout.YUV420, last, _MICRO, _COLOR, index, captured=captured, owner=image)
            index += 1

    def interrupt(self) -> None:
        """End ``frames`` soon. Safe from any thread."""
        self._images.close()

    def close(self) -> None:
        """As ``interrupt``. Safe to call twice."""
        self._images.close()


class _Track(MediaStreamTrack):
    """The newest image for one page. Its methods run in the event loop's thread."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()
        self._image: Any = None

    def show(self, image: Any) -> None:
        """Another image; one that no page has taken yet is left out."""
        self._image = image
        self._news.set()

    def stop(self) -> None:
        super().stop()
        self._news.set()

    async def recv(self) -> Any:
        """Wait for the next image."""
        await self._news.wait()
        self._news.clear()
        if self.readyState != "live":
            raise MediaStreamError
        return self._image


class Screen(LiveSinkBase):
    """A LiveSink that shows the images on the pages of all peers, and keeps the newest for snapshots.

    Parameters
    ----------
    show : callable
        Takes an ``av.VideoFrame`` (yuv420p, even sides) with its time; called in the sink's thread, must not wait.
    wanted : callable
        False while no page is there: nothing is converted then.
    """

    def __init__(self, show: Callable[[Any], None], wanted: Callable[[], bool]) -> None:
        self._show, self._wanted = show, wanted
        self._pixels = PixelConverter("yuv420p")
        self._newest: Frame | None = None
        self._lock = threading.Lock()

    def process(self, item: Frame) -> list[None]:
        """Show a frame."""
        with self._lock:
            self._newest = item
        if self._wanted():
            image = self._pixels.image(item)
            image.pts, image.time_base = round(time.monotonic() / _CLOCK), _CLOCK
            self._show(image)
        return []

    def snapshot(self) -> bytes:
        """The newest image as PNG; empty where there is none."""
        with self._lock:
            frame = self._newest
        if frame is None:
            return b""
        good, data = cv2.imencode(".png", PixelConverter("bgr24").array(frame))
        return data.tobytes() if good else b""


class Peers:
    """The pages that are connected. All methods but ``show`` and ``count`` run in the event loop's thread."""

    def __init__(self) -> None:
        self._peers: dict[RTCPeerConnection, _Track] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feeding: RTCPeerConnection | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Number of pages."""
        return len(self._peers)

    def show(self, image: Any) -> None:
        """Give an image to every page; from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._deliver, image)

    async def answer(self, sdp: str, camera: Callable[[], BrowserCamera | None]) -> str:
        """The answer to a page's offer. A page that sends its camera feeds ``camera()`` from then on.

        Raises
        ------
        ConfigError
            The offer cannot be read, or there are too many pages.
        """
        self._loop = asyncio.get_running_loop()
        if len(self._peers) >= MAX_PEERS:
            raise ConfigError(f"{MAX_PEERS} pages are connected already; close one")
        # No STUN server: the page is on this machine or in its network.
        peer, track = RTCPeerConnection(RTCConfiguration(iceServers=[])), _Track()

        @peer.on("track")
        def received(incoming: MediaStreamTrack) -> None:
            if incoming.kind == "video":
                self._feeding = peer
                task = asyncio.ensure_future(self._feed(peer, incoming, camera))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        @peer.on("connectionstatechange")
        async def changed() -> None:
            if peer.connectionState in ("failed", "closed", "disconnected"):
                await self._drop(peer)

        try:
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
            peer.addTrack(track)
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:  # a malformed offer may raise anything
            await peer.close()
            raise ConfigError(f"the offer cannot be answered: {error or type(error).__name__}") from error
        self._peers[peer] = track
        return str(peer.localDescription.sdp)

    async def close(self) -> None:
        """Close all connections."""
        for peer in tuple(self._peers):
            await self._drop(peer)

    def _deliver(self, image: Any) -> None:
        for track in self._peers.values():
            track.show(image)

    async def _drop(self, peer: RTCPeerConnection) -> None:
        track = self._peers.pop(peer, None)
        if track is not None:
            track.stop()
            await peer.close()

    async def _feed(
        self, peer: RTCPeerConnection, incoming: MediaStreamTrack, camera: Callable[[], BrowserCamera | None]
    ) -> None:
        with suppress(MediaStreamError):
            while True:
                image = await incoming.recv()
                goal = camera()
                if self._feeding not in self._peers:  # the page whose camera was used has gone
                    self._feeding = peer
                if goal is not None and self._feeding is peer:
                    goal.offer(image)
