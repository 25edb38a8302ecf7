"""Waiting for what another process does."""

import time


def wait_until(condition, seconds=120, alive=None):
    """Wait until ``condition()`` holds; ``alive`` is a process that must not end before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert alive is None or alive.poll() is None
        time.sleep(0.02)
