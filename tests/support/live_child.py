"""A process of its own for the tests of signals: ``streammatte webcam`` with a virtual camera that writes a diary.

    python live_child.py FOLDER [webcam options]

FOLDER/frames holds every frame as RGB bytes, FOLDER/events what happened to the device.
"""

import sys
from pathlib import Path

import pyvirtualcam

FOLDER = Path(sys.argv[1])


class Diary:
    """A pyvirtualcam backend."""

    def __init__(self, *, width, height, fps, fourcc, device, **kw):
        self._frames = (FOLDER / "frames").open("ab", buffering=0)
        self._note(f"open {width}x{height}")

    def _note(self, text):
        with (FOLDER / "events").open("a") as events:
            events.write(text + "\n")

    def close(self):
        self._note("close")

    def send(self, frame):
        self._frames.write(frame.tobytes())

    def device(self):
        return "diary"

    def native_fourcc(self):
        return None


pyvirtualcam.camera.BACKENDS.clear()
pyvirtualcam.register_backend("diary", Diary)

from streammatte.cli import main  # noqa: E402

main(["webcam", *sys.argv[2:]])
