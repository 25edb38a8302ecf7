"""The interfaces between packages, which are structural: a class that has the methods is one, without inheriting.

``StageBase`` and ``LiveSinkBase`` are defaults for implementations that need no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from streammatte.frames import Composite, Frame, Matte, StreamInfo

__all__ = [
    "Compositor",
    "Engine",
    "LiveSink",
    "LiveSinkBase",
    "LiveSource",
    "Matter",
    "Pending",
    "Sink",
    "Source",
    "Stage",
    "StageBase",
]

In_contra = TypeVar("In_contra", contravariant=True)
Out = TypeVar("Out")


@runtime_checkable
class Stage(Protocol[In_contra, Out]):
    """One step on the way of a frame. Not thread-safe: the pipeline calls a stage from one thread only."""

    def process(self, item: In_contra) -> list[Out]:
        """Take one item; give what is finished, in order (nothing while a batch fills or a look-ahead waits)."""
        ...

    def drain(self) -> list[Out]:
        """The stream has ended: give what is left."""
        ...

    def reset(self) -> None:
        """Forget the stream (a cut, a seek, another video); keep what is expensive (compiled models, pools)."""
        ...

    def close(self) -> None:
        """Release what the stage holds. Safe to call twice."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where frames come from. ``info`` is valid from construction; errors of the input are raised there."""

    info: StreamInfo

    def frames(self) -> Iterator[Frame]:
        """The frames in order of presentation. A broken input raises TruncatedSourceError after its last good frame."""
        ...

    def close(self) -> None:
        """Release the input; safe to call twice, and from another thread than the reader's once that has ended."""
        ...


@runtime_checkable
class LiveSource(Source, Protocol):
    """A source that has its own pace and does not end by itself."""

    on_lost: Callable[[], None]
    """Called in the reader's thread when the source is gone for a while."""

    def interrupt(self) -> None:
        """End ``frames`` soon; safe from any thread."""
        ...


class Matter(Stage[Frame, Matte], Protocol):
    """Frames in, mattes with their frames out."""


class Compositor(Stage[Matte, Composite], Protocol):
    """Mattes in, composites out."""

    def interrupt(self) -> None:
        """The video ends: wait for nothing outside this process any longer. Safe from any thread."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where frames go. Nothing is created before ``open``; nothing is visible under its name before ``close``."""

    def open(self, info: StreamInfo) -> None:
        """Prepare for frames of this description; everything that cannot be held is refused here."""
        ...

    def process(self, item: Frame) -> list[None]:
        """Write one frame; returns an empty list."""
        ...

    def drain(self) -> list[None]:
        """Flush the encoder and write the trailer."""
        ...

    def close(self) -> None:
        """Make the (drained) output appear under its name. Safe to call twice."""
        ...

    def abort(self) -> None:
        """Give up: leave the folder as it was. Safe after ``close`` (then it does nothing)."""
        ...


class LiveSink(Sink, Protocol):
    """A sink of a live session."""

    continuous: bool
    """Placeholder frames are shown outside the stream's time too, as a camera does; False for recordings."""
    main_thread: bool
    """Only the main thread may drive it: a window."""

    def interrupt(self) -> None:
        """The session ends: wait for no server any longer. Safe from any thread."""
        ...


class Pending(Protocol):
    """A batch under way in an engine."""

    def result(self) -> npt.NDArray[np.float32]:
        """Wait for it: alpha (N, h, w) float32 in [0, 1]; h, w is the network's output size, maybe half its input's."""
        ...

    def foreground(self) -> npt.NDArray[np.float32] | None:
        """Wait for it: the person's own colours (N, h, w, 3) float32 RGB in [0, 1], where the network gives them."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Runs a network. ``submit`` may be called from one thread; results may be awaited in any order."""

    name: str
    device: str
    precision: str
    precision_reason: str
    """Why this precision, and the instructions that the kernels use where the engine reports them."""
    input_size: tuple[int, int]
    """(height, width) the network was compiled for."""
    in_flight: int
    """How many submissions are worth having under way at once."""
    recurrent: bool
    """The network has states: images come one by one and in order, from one stream."""

    def submit(self, images: npt.NDArray[np.uint8], trimaps: npt.NDArray[np.uint8] | None = None) -> Pending:
        """Start on images (N, H, W, 3) uint8 RGB, C-contiguous; they may be overwritten once the result is there.

        ``trimaps`` (N, H, W) uint8 in {0, 128, 255} go with them for a network that needs some.
        """
        ...

    def reset(self) -> None:
        """Forget the stream; for networks that are not recurrent there is nothing to forget."""
        ...

    def close(self) -> None:
        """Release the device. Safe to call twice."""
        ...


class StageBase:
    """What a stage inherits that keeps no item and holds nothing open."""

    def drain(self) -> list[Any]:
        """Nothing is kept."""
        return []

    def reset(self) -> None:
        """Nothing is remembered."""

    def close(self) -> None:
        """Nothing is held open."""


class LiveSinkBase:
    """What a live sink inherits that buffers nothing, waits for no server and leaves nothing behind."""

    continuous = True
    main_thread = False

    def open(self, info: StreamInfo) -> None:
        """Nothing has to be opened."""

    def drain(self) -> list[None]:
        """Nothing is buffered."""
        return []

    def close(self) -> None:
        """Nothing is held open."""

    def abort(self) -> None:
        """As ``close``."""
        self.close()

    def interrupt(self) -> None:
        """Nothing is waited for."""
