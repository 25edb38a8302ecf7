"""The ring between two threads: order, back-pressure, latest-wins, close and abort."""

import threading

import pytest

from streammatte.errors import ConfigError, RingAborted
from streammatte.queues import RingBuffer


def test_items_come_out_in_order_across_threads():
    ring = RingBuffer(3)
    taken = []

    def consume():
        while batch := ring.get_batch(2):
            taken.extend(batch)

    thread = threading.Thread(target=consume)
    thread.start()
    for number in range(500):
        ring.put(number)
    ring.close()
    thread.join(5)
    assert taken == list(range(500))
    assert ring.drops == 0


def test_full_ring_holds_the_producer_back():
    ring = RingBuffer(2)
    done = threading.Event()

    def produce():
        for number in range(3):
            ring.put(number)
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    assert not done.wait(0.1)
    assert len(ring) == 2
    assert ring.get_batch(1) == [0]
    assert done.wait(5)
    thread.join(5)


def test_latest_wins_and_counts_what_it_drops():
    ring = RingBuffer(1, "drop_oldest")
    for number in range(10):
        ring.put(number)
    assert ring.get_batch(5) == [9]
    assert ring.drops == 9


def test_close_drains_then_ends():
    ring = RingBuffer(4)
    ring.put("a")
    ring.close()
    assert ring.get_batch() == ["a"]
    assert ring.get_batch() == []
    with pytest.raises(ValueError, match="closed"):
        ring.put("b")


@pytest.mark.parametrize("full", [True, False])
def test_abort_wakes_a_waiting_end(full):
    ring = RingBuffer(1)
    if full:
        ring.put(0)
    seen = []

    def wait():
        try:
            ring.put(1) if full else ring.get_batch()
        except RingAborted as error:
            seen.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    ring.abort()
    thread.join(5)
    assert len(seen) == 1
    assert len(ring) == 0


def test_close_wakes_a_producer_that_waits():
    ring = RingBuffer(1)
    ring.put(0)
    errors = []

    def produce():
        try:
            ring.put(1)
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=produce)
    thread.start()
    ring.close()
    ring.get_batch()
    thread.join(5)
    assert not thread.is_alive()
    assert len(errors) == 1


def test_get_batch_times_out_with_nothing():
    assert RingBuffer(1).get_batch(timeout=0.01) == []


@pytest.mark.parametrize(("capacity", "overflow"), [(0, "wait"), (1, "drop_newest")])
def test_bad_settings_are_refused(capacity, overflow):
    with pytest.raises(ConfigError):
        RingBuffer(capacity, overflow)
