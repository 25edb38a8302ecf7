"""The house's walls: imports run one way, heavy packages stay where they belong, public names are real."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import streammatte

PACKAGE = Path(streammatte.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
ROOMS = ("sources", "matting", "engines", "compositing", "sinks", "kernels", "evaluation", "zoo")
BASE = {
    "cores",
    "errors",
    "frames",
    "matting_library",
    "cache",
    "ring",
    "sizes",
    "stats",
    "stages",
    "config",
    "colors",
    "sound",
    "_version",
}
ALLOWED = {  # a room may import these rooms besides the base
    "kernels": {"kernels"},
    "sources": {"sources", "kernels"},
    "sinks": {"sinks", "kernels"},
    "matting": {"matting", "kernels"},
    "compositing": {"compositing", "kernels"},
    "engines": {"engines", "zoo"},
    "zoo": {"zoo"},
    "evaluation": {"evaluation", "kernels"},
}


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_do_not_import_each_other(room):
    files = [path for path in FILES if path.relative_to(PACKAGE).parts[0] == room]
    assert files, f"no files in {room}"
    for path in files:
        for name in imports(path):
            if not name.startswith("streammatte."):
                continue
            target = name.split(".")[1]
            assert target in BASE | ALLOWED[room], f"{path.name} imports {name}"


def test_pyav_lives_in_sources_and_sinks_only():
    for path in FILES:
        room = path.relative_to(PACKAGE).parts[0]
        if room not in ("sources", "sinks"):
            found = {name for name in imports(path) if name.split(".")[0] == "av"}
            assert not found or path.name in ("doctor.py", "checks.py"), f"{path} imports av"


def test_only_the_pipelines_start_threads():
    for path in FILES:
        if "threading.Thread(" in path.read_text():
            parts = path.relative_to(PACKAGE).parts
            assert parts[0] in ("pipeline.py", "live"), f"{path} starts threads"


@pytest.mark.parametrize(
    "module", ["streammatte", "streammatte.cli", "streammatte.options.video", "streammatte.frames"]
)
def test_light_modules_stay_light(module):
    heavy = "{'av', 'cv2', 'numba', 'openvino', 'paddle', 'pymatting', 'rich', 'yaml'}"
    code = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_exists():
    for name in streammatte.__all__:
        assert getattr(streammatte, name) is not None
    for path in FILES:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "zoo" or parts[-1] in ("__init__", "__main__"):
            continue
        module = importlib.import_module(".".join(("streammatte", *parts)))
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"
