"""The bounded queue between two threads: order, back-pressure, newest only, close and abort."""

import threading

import pytest

from streammatte.errors import ConfigError, QueueAborted
from streammatte.queues import BoundedQueue


def test_items_come_out_in_order_across_threads():
    queue = BoundedQueue(3)
    taken = []

    def consume():
        while batch := queue.get_batch(2):
            taken.extend(batch)

    thread = threading.Thread(target=consume)
    thread.start()
    for number in range(500):
        queue.put(number)
    queue.close()
    thread.join(5)
    assert taken == list(range(500))
    assert queue.drops == 0


def test_full_ring_holds_the_producer_back():
    queue = BoundedQueue(2)
    done = threading.Event()

    def produce():
        for number in range(3):
            queue.put(number)
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    assert not done.wait(0.1)
    assert len(queue) == 2
    assert queue.get_batch(1) == [0]
    assert done.wait(5)
    thread.join(5)


def test_latest_wins_and_counts_what_it_drops():
    queue = BoundedQueue(1, "drop_oldest")
    for number in range(10):
        queue.put(number)
    assert queue.get_batch(5) == [9]
    assert queue.drops == 9


def test_close_drains_then_ends():
    queue = BoundedQueue(4)
    queue.put("a")
    queue.close()
    assert queue.get_batch() == ["a"]
    assert queue.get_batch() == []
    with pytest.raises(ValueError, match="closed"):
        queue.put("b")


@pytest.mark.parametrize("full", [True, False])
def test_abort_wakes_a_waiting_end(full):
    queue = BoundedQueue(1)
    if full:
        queue.put(0)
    seen = []

    def wait():
        try:
            queue.put(1) if full else queue.get_batch()
        except QueueAborted as error:
            seen.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    queue.abort()
    thread.join(5)
    assert len(seen) == 1
    assert len(queue) == 0


def test_close_wakes_a_producer_that_waits():
    queue = BoundedQueue(1)
    queue.put(0)
    errors = []

    def produce():
        try:
            queue.put(1)
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=produce)
    thread.start()
    queue.close()
    queue.get_batch()
    thread.join(5)
    assert not thread.is_alive()
    assert len(errors) == 1


def test_get_batch_times_out_with_nothing():
    assert BoundedQueue(1).get_batch(timeout=0.01) == []


@pytest.mark.parametrize(("capacity", "overflow"), [(0, "wait"), (1, "drop_newest")])
def test_bad_settings_are_refused(capacity, overflow):
    with pytest.raises(ConfigError):
        BoundedQueue(capacity, overflow)
