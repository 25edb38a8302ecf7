"""The pipeline's promises: order, own frame, bounded memory, errors, stops."""

import threading
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streammatte.errors import DiskFullError, ModelError, TruncatedSourceError, UnsupportedSourceError
from streammatte.frames import Composite, Frame, Layout, Matte, StreamInfo
from streammatte.pipeline import Mattes, Pipeline
from streammatte.sinks.multi import Outputs

INFO = StreamInfo(8, 6, Layout.GRAY, Fraction(1, 25), rate=Fraction(25), name="numbers")


class Numbers:
    """Frames whose every pixel is the frame's number."""

    def __init__(self, count, *, error=None, pause=0.0):
        self.info = INFO
        self.made = 0
        self.closed = 0
        self._count, self._error, self._pause = count, error, pause

    def frames(self):
        for number in range(self._count):
            time.sleep(self._pause)
            self.made += 1
            plane = np.full((6, 8), number % 256, np.uint8)
            yield Frame((plane,), Layout.GRAY, number, Fraction(1, 25), index=number, duration=1)
        if self._error:
            raise self._error

    def close(self):
        self.closed += 1


class Doubler:
    """A stage that holds one item back, as a look-ahead does."""

    def __init__(self, make):
        self._make, self._held = make, []

    def process(self, item):
        self._held.append(item)
        return [self._make(self._held.pop(0))] if len(self._held) > 1 else []

    def drain(self):
        return [self._make(self._held.pop(0)) for _ in range(len(self._held))]

    def reset(self):
        self._held.clear()

    def interrupt(self):
        pass

    def close(self):
        pass


class Broken(Doubler):
    def __init__(self, make, at, error):
        super().__init__(make)
        self._at, self._error, self._seen = at, error, 0

    def process(self, item):
        self._seen += 1
        if self._seen > self._at:
            raise self._error
        return super().process(item)


class Notes:
    """A sink that keeps what it is reported."""

    def __init__(self, *, fail_at=None, error=None, pause=0.0):
        self.frames, self.calls = [], []
        self._fail_at, self._error, self._pause = fail_at, error, pause

    def open(self, info):
        self.calls.append("open")

    def process(self, item):
        time.sleep(self._pause)
        if len(self.frames) == self._fail_at:
            raise self._error
        self.frames.append(item)
        return []

    def drain(self):
        self.calls.append("drain")
        return []

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")


def to_matte(frame):
    return Matte(frame, frame.planes[0], frame.planes[0].astype(np.float32))


def to_composite(matte):
    assert (matte.alpha == matte.frame.index % 256).all()
    return Composite(matte.frame.like((matte.alpha,)))


def pipeline(source, sink, *, matter=None, compositor=None, **more):
    return Pipeline(source, matter or Doubler(to_matte), compositor or Doubler(to_composite), sink, **more)


def threads():
    return {thread.name for thread in threading.enumerate()}


def test_every_frame_arrives_in_order_with_its_own_matte():
    source, sink = Numbers(100), Notes()
    summary = pipeline(source, sink).run()
    assert [frame.index for frame in sink.frames] == list(range(100))
    assert [frame.pts for frame in sink.frames] == list(range(100))
    assert sink.calls == ["open", "drain", "close"]
    assert (summary.frames, summary.drops, summary.interrupted) == (100, 0, False)
    assert summary.media_seconds == pytest.approx(4.0)
    assert set(summary.latency_ms) == {"p50", "p95", "p99"}
    assert source.closed == 1


def test_reader_is_never_far_ahead_of_a_slow_sink():
    source, sink = Numbers(200, pause=0.0), Notes(pause=0.02)
    running = pipeline(source, sink, capacity=2)
    thread = threading.Thread(target=running.run)
    thread.start()
    time.sleep(0.3)
    # Four queues of two, an item in each of four threads' hands, one held by each of two stages.
    assert source.made - len(sink.frames) <= 2 * 3 + 4 + 2
    running.stop(discard=True)
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("where", ["reader", "matting", "compositing", "writer", "drain"])
def test_first_error_ends_everything_and_is_raised(where):
    error = DiskFullError("no space") if where == "writer" else ModelError("broken")
    source = Numbers(50, error=error if where == "reader" else None)
    sink = Notes(fail_at=7 if where == "writer" else None, error=error)
    matter = Broken(to_matte, 9, error) if where == "matting" else None
    compositor = Broken(to_composite, 9, error) if where == "compositing" else None
    if where == "drain":
        sink.drain = lambda: (_ for _ in ()).throw(error)
    before = threads()
    with pytest.raises(type(error)) as caught:
        pipeline(source, sink, matter=matter, compositor=compositor).run()
    assert caught.value is error
    assert caught.traceback[-1].name != "run", "the traceback leads to where it happened"
    assert sink.calls[-1] == "abort"
    assert "close" not in sink.calls
    assert source.closed == 1
    assert threads() == before


def test_truncated_input_keeps_the_good_part():
    sink = Notes()
    with pytest.raises(TruncatedSourceError, match="broke") as caught:
        pipeline(Numbers(20, error=TruncatedSourceError("broke off at 0.8 s")), sink).run()
    assert len(sink.frames) == 20
    assert sink.calls == ["open", "drain", "close"]
    assert caught.value.summary.frames == 20


@pytest.mark.parametrize("error", [None, TruncatedSourceError("broke at once")])
def test_no_frame_is_an_error_and_leaves_nothing(error):
    sink = Notes()
    with pytest.raises(UnsupportedSourceError):
        pipeline(Numbers(0, error=error), sink).run()
    assert sink.calls == ["open", "abort"]


def test_stop_drains_what_was_read():
    source, sink = Numbers(10_000), Notes()
    running = pipeline(source, sink, on_progress=lambda progress: running.stop() if progress.frames else None)
    summary = running.run()
    assert summary.interrupted
    assert 0 < len(sink.frames) == source.made < 10_000
    assert sink.calls == ["open", "drain", "close"]


def test_second_stop_drops_the_queue_and_still_closes():
    source, sink = Numbers(10_000), Notes(pause=0.01)
    running = pipeline(
        source, sink, on_progress=lambda progress: running.stop(discard=True) if progress.frames else None
    )
    running.run()
    assert 0 < len(sink.frames) < source.made
    assert sink.calls == ["open", "drain", "close"]


def test_stop_before_the_first_frame_leaves_nothing():
    sink = Notes()
    running = pipeline(Numbers(10), sink)
    running.stop()
    assert running.run().frames == 0
    assert sink.calls == ["open", "abort"]


def test_interrupt_in_the_callers_thread_completes_the_output():
    sink = Notes()
    raised = []

    def interrupt(progress):
        if progress.frames and not raised:
            raised.append(True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(Numbers(10_000), sink, on_progress=interrupt).run()
    assert sink.frames
    assert sink.calls == ["open", "drain", "close"]


def test_limit_takes_so_many_frames():
    sink = Notes()
    assert pipeline(Numbers(100), sink, limit=3).run().frames == 3
    assert len(sink.frames) == 3


def test_a_sink_that_refuses_stops_it_before_the_first_frame():
    class Refusing(Notes):
        def open(self, info):
            raise DiskFullError("full")

    source, first, second = Numbers(5), Notes(), Refusing()
    with pytest.raises(DiskFullError):
        Pipeline(source, Doubler(to_matte), Doubler(to_composite), Outputs(first, second)).run()
    assert source.made == 0
    assert first.calls == ["open", "abort"]


def test_outputs_describe_each_role():
    seen = {}

    class Curious(Notes):
        def __init__(self, role):
            super().__init__()
            self.role = role

        def open(self, info):
            seen[self.role] = info

    outputs = Outputs(Curious("image"), Curious("alpha"), Curious("foreground"), transparent=True)
    outputs.open(replace(INFO, layout=Layout.YUV420))
    assert seen["image"].has_alpha
    assert seen["alpha"].layout is Layout.GRAY
    assert seen["alpha"].color.full_range
    assert not seen["foreground"].has_alpha


def test_mattes_iterate_in_order_and_end_their_threads():
    before = threads()
    assert [matte.frame.index for matte in Mattes(Numbers(40), Doubler(to_matte))] == list(range(40))
    assert threads() == before


def test_closing_the_iterator_early_ends_the_threads():
    source = Numbers(10_000)
    before = threads()
    iterator = Mattes(source, Doubler(to_matte))
    next(iterator)
    iterator.close()
    assert threads() == before
    assert source.closed == 1


def test_an_iterator_that_was_never_started_releases_what_it_holds():
    source, released = Numbers(10), []
    with Mattes(source, Doubler(to_matte), closing=(lambda: released.append(True),)):
        pass
    assert (source.closed, released) == (1, [True])


def test_iterator_raises_what_a_stage_raised():
    error = ModelError("broken")
    with pytest.raises(ModelError) as caught:
        list(Mattes(Numbers(40), Broken(to_matte, 5, error)))
    assert caught.value is error
