"""Which room imports which, where heavy packages and threads may be, and that public names exist."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import streammatte

PACKAGE = Path(streammatte.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (  # from the bottom; a room may import those of lower layers that its own line names, and BASE
    ("kernels", "cache"),
    ("media", "kernels"),
    ("sinks.atomic", ""),
    ("networks", ""),
    ("models", "networks sinks.atomic"),
    ("export", "models networks sinks.atomic"),
    ("sources", "media kernels"),
    ("matting", "kernels"),
    ("compositing", "media kernels"),
    ("engines", "models export"),
    ("sinks", "media sinks.atomic"),
    ("options", ""),
    ("pipeline", "sinks"),
    ("build", "sources matting compositing engines models sinks options pipeline sinks.atomic"),
    ("images", "media models export sources matting compositing engines sinks options pipeline build sinks.atomic"),
    ("live", "kernels media sources matting compositing engines sinks options pipeline build sinks.atomic"),
    ("web", "media live matting compositing models options sinks sources build sinks.atomic"),
    ("cluster", "media models sources engines sinks options pipeline build sinks.atomic"),
    ("api", "options pipeline build images"),
    ("evaluation", "media kernels sources options pipeline build images"),
    (
        "training",
        "build media models networks sources compositing kernels options evaluation export images pipeline "
        "sinks.atomic",
    ),
    ("benchmark", "media models networks export sources matting engines sinks options pipeline build evaluation"),
    ("doctor", "media engines sources sinks models"),
    (
        "cli",
        "api benchmark build cluster doctor evaluation export images live media models networks options pipeline sinks "
        "sources sinks.atomic training web",
    ),
    ("__init__", "api pipeline"),
    ("__main__", "cli"),
)
"""Stages (sources, matting, compositing, engines, sinks) do not import each other: ``build`` joins them."""

BASE = (  # modules every room may import; each may import those before it
    "_version",
    "errors",
    "file_names",
    "color",
    "cache",
    "optional_imports",
    "runtime",
    "child_process",
    "queues",
    "network_size",
    "tracks",
    "frames",
    "frame_pool",
    "protocols",
    "stats",
)

STARTS_THREADS = (
    "pipeline.py",
    "runtime.py",
    "live",
    "web",
    "cluster",
    "training/datasets.py",
    "engines/worker.py",
    "engines/paddle/engine.py",
)
"""Pipelines own the threads; the HTTP server, waits that can be given up and Paddle's worker are the exceptions."""


APART = ("sinks.atomic",)
"""Modules that are rooms of their own: the one write-then-rename serves outputs, models and conversions."""


def room_of(path):
    return _room(".".join(path.relative_to(PACKAGE).with_suffix("").parts))


def _room(module):
    """The room of a module, named below the package."""
    return module if module in APART else module.partition(".")[0]


def imported_rooms(source, name="planted"):
    """The rooms (first names below the package) that a module imports; ``""`` for the package root itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            modules = [node.module]
            if node.module == "streammatte":
                modules = [f"streammatte.{alias.name}" for alias in node.names]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute | ast.Name)
            and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            modules = [node.args[0].value]
        else:
            continue
        for module in modules:
            first, _, rest = module.partition(".")
            if first == "streammatte":
                yield _room(rest)


def allowed_for(room):
    if room in BASE:
        return set(BASE[: BASE.index(room)])
    rules = dict(LAYERS)
    assert room in rules, f"{room} is not in LAYERS"
    below = [name for name, _ in LAYERS[: [name for name, _ in LAYERS].index(room)]]
    named = set(rules[room].split())
    assert named <= {*below, *BASE}, f"{room} names rooms that are not below it: {named - set(below)}"
    return {room, *named, *BASE}


def violations(source, room, name="planted"):
    return sorted(set(imported_rooms(source, name)) - allowed_for(room))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    assert violations(path.read_text(), room_of(path), path) == []


def test_nothing_imports_from_a_test_file():
    for path in Path(__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not any(name.rpartition(".")[2].startswith("test_") for name in names), path


def test_every_room_is_known_and_there():
    assert {room_of(path) for path in FILES} == {name for name, _ in LAYERS} | set(BASE)


@pytest.mark.parametrize("room", [*BASE, *(name for name, _ in LAYERS if name != "__main__")])
def test_an_upward_import_is_found(room):
    order = [*BASE, *(name for name, _ in LAYERS)]
    above = "cli" if room not in ("cli", "__init__") else "__main__"
    for statement in (
        f"from streammatte.{above}.video import x",
        f"import streammatte.{above}",
        "import streammatte",
        f"from streammatte import {above}",
        f"def f():\n    from streammatte.{above} import x",
        f"importlib.import_module('streammatte.{above}.video')",
    ):
        assert violations(statement, room), statement
    assert order.index(room) < order.index(above)


def test_pyav_is_used_by_media_sources_and_sinks_only():
    for path in FILES:
        tree = ast.parse(path.read_text())
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        if any(name and name.split(".")[0] == "av" for name in names):
            assert room_of(path).partition(".")[0] in ("media", "sources", "sinks", "doctor"), f"{path} imports av"


THREADS = {
    *("Thread", "Timer", "ThreadPoolExecutor", "ThreadPool", "start_new_thread", "ThreadingHTTPServer"),
    *("to_thread", "run_in_executor", "dummy.Pool"),
}


def thread_starts(source):
    """Calls and base classes that start a thread, whatever names they were imported by."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    real = {alias.asname: alias.name for node in imports for alias in node.names if alias.asname}
    real |= {
        alias.asname or alias.name: f"dummy.{alias.name}"
        for node in imports
        if isinstance(node, ast.ImportFrom) and node.module == "multiprocessing.dummy"
        for alias in node.names
    }
    for node in ast.walk(tree):
        starters = [node.func] if isinstance(node, ast.Call) else node.bases if isinstance(node, ast.ClassDef) else []
        for starter in starters:
            first, *rest = ast.unparse(starter).split(".")
            parts = [*real.get(first, first).split("."), *rest]
            yield from THREADS & {parts[-1], ".".join(parts[-2:])}


def test_only_the_pipelines_start_threads():
    for path in FILES:
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(STARTS_THREADS):
            assert not list(thread_starts(path.read_text())), f"{path} starts threads"


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nthreading.Thread(target=f).start()",
        "from threading import Thread as T\nT(target=f)",
        "import threading as t\nt.Timer(1, f)",
        "import threading\nclass Reader(threading.Thread): pass",
        "import _thread as t\nt.start_new_thread(f, ())",
        "import asyncio\nasyncio.to_thread(f)",
        "loop.run_in_executor(None, f)",
        "from concurrent import futures\nfutures.ThreadPoolExecutor()",
        "from multiprocessing.dummy import Pool as P\nP()",
        "import multiprocessing.dummy\nmultiprocessing.dummy.Pool()",
    ],
)
def test_a_started_thread_is_found(source):
    assert list(thread_starts(source))


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
        needs_paddle = parts[0] == "networks" or parts == ("training", "losses")
        if needs_paddle or parts[-1] in ("__init__", "__main__"):
            continue
        module = importlib.import_module(".".join(("streammatte", *parts)))
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"
