"""Gather the page, the network and ONNX Runtime for the web in a folder, and serve it on this machine.

    python examples/web/build.py site/            # needs npm, and streammatte[export]
    python examples/web/build.py site/ --serve    # http://localhost:8000

Any web server may serve the folder; with the two headers that this one sends browsers allow threads.
"""

from __future__ import annotations

import argparse
import http.server
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path

RUNTIME = "onnxruntime-web@1.30.0"
VENDORED = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
PAGE = ("index.html", "style.css", "app.js", "network.js")


def build(target: Path) -> None:
    """Write the page, ``network.onnx`` and ``vendor/`` into a folder."""
    (target / "vendor").mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copyfile(Path(__file__).with_name(name), target / name)
    with tempfile.TemporaryDirectory() as folder:
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("npm is not installed; it fetches onnxruntime-web")
        done = subprocess.run(
            [npm, "pack", "--silent", RUNTIME], cwd=folder, check=True, capture_output=True, text=True
        )
        data = (Path(folder) / done.stdout.split()[-1]).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        for name in VENDORED:
            file = package.extractfile(f"package/dist/{name}")
            if file is None:
                sys.exit(f"{RUNTIME} holds no {name}")
            (target / "vendor" / name).write_bytes(file.read())
    command = [sys.executable, "-m", "streammatte", "models", "export", "ppmattingv2-lite", "--to", "onnx"]
    subprocess.run([*command, "-o", str(target / "network.onnx"), "--overwrite"], check=True)
    simplify(target / "network.onnx")


def simplify(path: Path) -> None:
    """Fold constants, and count by slices of a constant: the runtime's WebGPU build has no kernel for Range."""
    import numpy as np
    import onnx
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), settings)
    graph = onnx.load(str(path))
    nodes, made = graph.graph.node, {name: node for node in graph.graph.node for name in node.output}
    known = {each.name: onnx.numpy_helper.to_array(each) for each in graph.graph.initializer}
    for place, node in enumerate(nodes):
        if node.op_type != "Range":
            continue
        begin, step, limit = known.get(node.input[0]), known.get(node.input[2]), made.get(node.input[1])
        if (begin, step) == (0, 1) and limit is not None and limit.op_type == "Squeeze":
            nodes.remove(node)
            count = ["counting", "counting.begin", limit.input[0]]
            nodes.insert(place, onnx.helper.make_node("Slice", count, list(node.output), node.name))
    for name, values in (("counting", np.arange(4096)), ("counting.begin", np.zeros(1, np.int64))):
        graph.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))


class Isolated(http.server.SimpleHTTPRequestHandler):
    """Serves files with the headers that allow a page threads."""

    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012

    def end_headers(self) -> None:
        """As the base, with the headers."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()


def server(folder: Path, port: int = 8000) -> http.server.ThreadingHTTPServer:
    """A server of a folder for this machine alone."""
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), partial(Isolated, directory=str(folder)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    parser.add_argument("--serve", action="store_true", help="serve it when it is built")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    build(given.target)
    if given.serve:
        print(f"http://localhost:{given.port}")
        server(given.target, given.port).serve_forever()
