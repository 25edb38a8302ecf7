"""A local HTTP server that misbehaves on request, and what the tests of fetching share."""

import hashlib
import http.server
import threading
import zipfile

from streammatte.models.cards import RemoteFile

BODY = bytes(range(256)) * 4096  # 1 MiB: several reads
DIGEST = hashlib.sha256(BODY).hexdigest()


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
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def answer(self, handler):
        rules = self.behave
        handler.close_connection = True
        status = rules.pop("status_once", None) or rules.get("status")
        body = b"" if status else rules.get("body", BODY)
        handler.send_response(status or 200)
        if not rules.get("no_length"):
            handler.send_header("Content-Length", str(len(body) + rules.get("lie", 0)))
        handler.end_headers()
        handler.wfile.write(body[: rules.pop("cut_once", None) or rules.get("cut")])

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
