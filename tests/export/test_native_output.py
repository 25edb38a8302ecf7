"""What native code prints: kept back, shown on failure and at debug; the log and other threads pass."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CALL = """
import logging, os, sys, threading
from streammatte.cli.options import set_up_logging
from streammatte.export.native_output import hushed

set_up_logging({level!r})
try:
    with hushed():
        os.write(1, b"native out\\n")
        os.write(2, b"native err\\n")
        print("python out")
        handler = logging.StreamHandler()
        logging.getLogger("streammatte.x").warning("ours")
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        {end}
except ValueError:
    print("failed")
handler.emit(logging.makeLogRecord(dict(msg="kept handler")))
print("after")
"""


@pytest.mark.parametrize(
    ("level", "end", "shown"),
    [("warning", "", False), ("warning", "raise ValueError", True), ("debug", "", True)],
)
def test_native_lines_come_out_on_failure_and_at_debug_only(level, end, shown):
    code = CALL.format(level=level, end=end)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for line in ("native out", "native err", "python out"):
        assert (line in done.stderr) == shown
        assert line not in done.stdout
    assert "warning: ours" in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert "kept handler" in done.stderr
    assert done.stdout.endswith("after\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there a process that native code ends says nothing more")
def test_what_was_said_before_an_abort_is_shown():
    code = (
        "import os; from streammatte.export.native_output import hushed\n"
        "with hushed():\n    os.write(1, b'no such operator\\n'); os.abort()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.startswith("no such operator")
    assert done.stdout == ""
