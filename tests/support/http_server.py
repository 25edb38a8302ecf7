"""A local HTTP server that misbehaves on request, and what the tests of fetching share."""

import hashlib
import http.server
import threading
import zipfile

from streammatte.models.cards import RemoteFile
from streammatte.models.download import Retry

BODY = bytes(range(256)) * 4096  # 1 MiB: several reads
DIGEST = hashlib.sha256(BODY).hexdigest()
QUICK = Retry(attempts=3, backoff=0.0, timeout=5.0)


class Server:
    """A local HTTP server; ``behave`` says how the next requests are answered."""

    def __init__(self):
        self.requests = []
        self.behave = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers)))
                outer.answer(self)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def answer(self, handler):
        asked = handler.headers.get("Range")
        rules = self.behave
        handler.close_connection = True
        if rules.get("status_once"):
            handler.send_response(rules.pop("status_once"))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        if "status" in rules:
            handler.send_response(rules["status"])
            if "retry_after" in rules:
                handler.send_header("Retry-After", rules["retry_after"])
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        body = rules.get("body", BODY)
        tag, modified = rules.get("tag"), rules.get("modified")
        start = 0
        stale = handler.headers.get("If-Range") not in (None, tag, modified)
        if asked and not rules.get("ignore_range") and not stale:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(body)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            handler.send_response(206)
            shift = rules.get("shift", 0)
            handler.send_header("Content-Range", f"bytes {start + shift}-{len(body) - 1}/{len(body)}")
        else:
            handler.send_response(200)
        if tag:
            handler.send_header("ETag", tag)
        if modified:
            handler.send_header("Last-Modified", modified)
        if not rules.get("no_length"):
            handler.send_header("Content-Length", str(len(body) - start + rules.get("lie", 0)))
        handler.end_headers()
        stop = len(body)
        if rules.get("cut"):
            stop = min(stop, start + rules["cut"])
        handler.wfile.write(body[start:stop])

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def remote(server, **promise):
    return RemoteFile(f"{server.address}/models/net.pdparams", **promise)


def archive(tmp_path, *entries):
    path = tmp_path / "net.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in entries:
            bundle.writestr(name, content)
    return path
