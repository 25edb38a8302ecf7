"""``streammatte studio``: a page for cameras, videos and images."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from streammatte.cli import options as shared
from streammatte.errors import DeviceError
from streammatte.options.live import LiveOptions
from streammatte.options.presets import load_preset

__all__ = ["command"]

PORT = 8788
"""The studio's default port; a free one where it is taken."""


@click.command(short_help="A window in the browser for cameras, videos and images.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"Port; 0 takes a free one.  [{PORT}, or a free one]")
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@click.option(
    "--recordings",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for recordings.  [streammatte in your videos]",
)
@shared.declared_options(LiveOptions, "camera", "http", "network", "sequence", "controls")
@shared.common()
def command(
    host: str,
    port: int | None,
    no_open: bool,
    recordings: Path | None,
    config: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Open a page in the browser: the camera with another background, and a queue of videos and images.

    The camera is the browser's or this machine's; the virtual camera, a recording and a stream can be switched on
    beside the page. Nothing leaves this machine. Ends on Ctrl-C. With --json the first line is an object with the
    page's url.

    \b
    streammatte studio
    streammatte studio --bg beach.jpg --bg-folder backgrounds/
    streammatte studio --no-open --port 0 --json
    """
    shared.take_threads()
    given["backgrounds"] = given["backgrounds"] or None
    options = LiveOptions.build(load_preset(config) if config else None, **given)
    ended = threading.Event()
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with ExitStack() as stack:
            url = _serve(stack, options, host, port, recordings)
            if as_json:
                click.echo(json.dumps({"url": url}))
            else:
                click.echo(f"the studio is at {url}\nCtrl-C ends it", err=True)
            if not no_open:
                webbrowser.open(url)
            while not ended.wait(0.2):  # a signal is seen between two waits
                pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if _threads_left():
        # A thread may be in a compiler or a driver, and unloading the libraries then aborts the process.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(0)
    return 0


def _threads_left() -> bool:
    """True where a thread of a session did not end in time."""
    return any(thread.name.startswith(("live-", "studio-")) for thread in threading.enumerate())


def _serve(stack: ExitStack, options: LiveOptions, host: str, port: int | None, recordings: Path | None) -> str:
    """Start to answer; what is opened is closed with the stack."""
    from streammatte.optional_imports import need

    need("aiortc", "streammatte studio", "studio")
    logging.getLogger("aiortc").setLevel(logging.ERROR)
    logging.getLogger("aioice").setLevel(logging.ERROR)
    from streammatte.web.certificate import tls_context
    from streammatte.web.policy import is_loopback
    from streammatte.web.server import WebServer, parse_address
    from streammatte.web.studio import STUDIO_PAGES, Studio

    address = parse_address(f"{host}:{PORT if port is None else port}", "--host", allow_remote=options.allow_remote)
    tls = None
    if options.certificate is not None or not is_loopback(host):
        tls, fingerprint = tls_context(options.certificate, host)
        click.echo(f"TLS certificate: SHA-256 {fingerprint}", err=True)
    private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streammatte-studio-")))
    studio = Studio(options, private, recordings or _videos())
    stack.callback(studio.close)
    how: dict[str, Any] = {"hashes": ("self",), "pages": STUDIO_PAGES}
    try:
        server = WebServer(address, studio.make_app(), options.token, tls, **how)
    except DeviceError:
        if port is not None:
            raise
        server = WebServer((address[0], 0), studio.make_app(), options.token, tls, **how)
    server.start()
    stack.callback(server.close)
    return server.url


def _videos() -> Path:
    from platformdirs import user_videos_path

    return user_videos_path() / "streammatte"
