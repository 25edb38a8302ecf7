"""Workers on a Ray cluster: one actor each, on whatever node has room."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from streammatte._version import __version__
from streammatte.cluster.worker_pool import Emit, WorkerPool
from streammatte.errors import ConfigError, DiskFullError, SinkError, StreammatteError
from streammatte.media.container import shown_address
from streammatte.models.resolve import EMBEDDED, resolve
from streammatte.optional_imports import need
from streammatte.options.video import VideoOptions
from streammatte.runtime import available_cores
from streammatte.sinks.atomic import whole_file, writing

__all__ = ["ray_pool"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

CORES = 4
"""Cores of a node for each worker without a GPU."""
_POLL = 0.5
_PLACED = 60.0
"""Seconds in which a worker must have started, where others work: nodes may be gone."""
_RECONNECT = 60.0
"""Seconds for which a head that has gone is tried again."""


@contextmanager
def ray_pool(where: str, jobs: int, options: VideoOptions, folder: Path) -> Iterator[WorkerPool]:
    """A pool of actors on a cluster, or on one that is started here and ends with it.

    Parameters
    ----------
    where : str
        ``local``, ``local:N``, ``ray://HOST:PORT``, or ``HOST:PORT`` of a cluster whose head can be reached.
    jobs : int
        Workers at most; 0 takes one for each GPU and for every four cores of nodes without one.
    options : VideoOptions
        Its network goes to every worker, once a node.
    folder : Path
        Of the outputs. Workers that do not see it send what they made.

    Raises
    ------
    ConfigError
        ``where`` is none of these, or a node has another version of streammatte.
    EngineUnavailableError
        Ray is not installed.
    StreammatteError
        The cluster cannot be reached.
    """
    ray = need("ray", "--cluster", "cluster")
    kind, _, number = where.partition(":")
    local = kind == "local" and (not number or (number.isascii() and number.isdigit() and 0 < int(number) <= 256))
    if not local and (kind == "local" or ":" not in where):
        raise ConfigError(f"cluster must be local, local:N, ray://HOST:PORT or HOST:PORT, got {where!r}")
    workers = int(number or jobs or max(1, available_cores() // CORES)) if local else 0

    model = _model_files(options.model)
    there: dict[str, Any] = {}

    def connect() -> None:
        quiet = {"log_to_driver": False, "configure_logging": False, "ignore_reinit_error": True}
        if local:
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=where, **quiet)
        there["model"], there["actor"] = ray.put(model), ray.remote(max_concurrency=2)(_Actor)

    marker = folder / f".streammatte-{secrets.token_hex(8)}.shared"
    with _quiet_ray():
        _attempt(connect, where)
        try:
            with writing(marker):
                marker.touch()
            threads = max(1, available_cores() // workers) if local else CORES
            slots = [{"num_cpus": 1}] * workers if local else _slots(ray, jobs)
            taken = iter(range(10**9))

            def open_worker(emit: Emit) -> RayWorker:
                needs = slots[next(taken) % len(slots)]

                def make() -> Any:
                    if not ray.is_initialized():
                        connect()
                    return there["actor"].options(**needs).remote([there["model"]])

                return RayWorker(ray, _attempt(make, where, ray.shutdown), str(marker), emit)

            yield WorkerPool(open_worker, len(slots), threads)
        finally:
            marker.unlink(missing_ok=True)
            ray.shutdown()


@contextmanager
def _quiet_ray() -> Iterator[None]:
    """Ray without its usage reports and its own lines on the terminal, its workers here at the usual priority."""
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_worker_niceness": "0"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _attempt(action: Callable[[], T], where: str, between: Callable[[], None] = lambda: None) -> T:
    """Do what needs the cluster, again for a while where its head does not answer. Raises StreammatteError."""
    end = time.monotonic() + _RECONNECT
    warned = False
    while True:
        try:
            return action()
        except (OSError, RuntimeError, TimeoutError, ValueError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            if time.monotonic() > end:
                raise StreammatteError(
                    f"the cluster {shown_address(where)} does not answer ({reason[0]}); the same command continues "
                    "from what is done"
                ) from error
            if not warned:
                _log.warning("the cluster %s does not answer; it is tried for %.0f s", shown_address(where), _RECONNECT)
                warned = True
            between()
            time.sleep(2.0)


def _slots(ray: Any, jobs: int) -> list[dict[str, float]]:
    """What each worker takes of a node: a GPU, or cores of a node that has none."""
    slots: list[dict[str, float]] = []
    for node in ray.nodes():
        if node["Alive"]:
            resources = node["Resources"]
            gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
            each = max(1, min(CORES, cores))
            slots += [{"num_gpus": 1, "num_cpus": 1}] * gpus or [{"num_cpus": each}] * (cores // each)
    if not slots:
        raise StreammatteError("the cluster has no node with a core to work on")
    return slots[:jobs] if jobs else slots


def _model_files(model: str) -> tuple[str, dict[str, bytes]] | None:
    """A network that nodes may not have: its name on a node, relative to a folder, and its files."""
    if model in EMBEDDED:
        return None
    files = resolve(model)
    if files.weights is not None:
        return f"{files.architecture}={{}}/{files.weights.name}", {files.weights.name: files.weights.read_bytes()}
    first = files.program or next(iter(files.graphs.values()))
    beside = [path for path in first.parent.iterdir() if path.is_file() and path.stem in (first.stem, "deploy")]
    if files.params is not None and files.params not in beside:
        beside.append(files.params)
    sent = {path.name: path.read_bytes() for path in beside}
    card, _, file = model.partition("=")
    if not file or Path(model).exists():
        return f"{{}}/{first.name}", sent
    if Path(card).is_file():
        return f"{{}}/{first.name}", sent | {f"{first.stem}.yml": Path(card).read_bytes()}
    return f"{card}={{}}/{first.name}", sent


class _Actor:
    """A worker on a node."""

    def __init__(self, model: list[Any]) -> None:
        import cv2
        import ray

        from streammatte.cluster.worker import Worker

        cv2.setNumThreads(1)
        self._folder = tempfile.TemporaryDirectory(prefix="streammatte-")
        self._model: str | None = None
        given = ray.get(model[0])
        if given is not None:
            name, files = given
            for file, data in files.items():
                (Path(self._folder.name) / file).write_bytes(data)
            self._model = name.format(self._folder.name)
        self._now: dict[str, Any] | None = None
        self._worker = Worker(self._report, Path(self._folder.name))

    def _report(self, event: dict[str, Any]) -> None:
        self._now = event

    def facts(self, marker: str) -> tuple[str, bool]:
        """The version here, and whether the outputs' folder is the same."""
        return __version__, Path(marker).exists()

    def progress(self) -> dict[str, Any] | None:
        """The last event of progress."""
        return self._now

    def do(self, job: dict[str, Any], shared: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Do a job; returns its last event and, where the folder is not shared, what was made, by its final name."""
        self._now = None
        if self._model is not None:
            job["options"]["model"] = self._model
        if shared:
            return self._worker.do(job), {}
        if "segment" not in job:
            reason = f"{job['target']} is no output that can be cut: all nodes must see its folder"
            return {"event": "failed", "reason": reason, "exit_code": ConfigError.exit_code, "warnings": []}, {}
        with tempfile.TemporaryDirectory(dir=self._folder.name) as own:
            made = {role: str(Path(own) / Path(path).name) for role, path in job["files"].items()}
            event = self._worker.do({**job, "files": made})
            found = {job["files"][role]: Path(path) for role, path in made.items()}
            return {**event, "alone": True}, {name: path.read_bytes() for name, path in found.items() if path.exists()}


class RayWorker:
    """An actor of a cluster; see :class:`streammatte.cluster.worker_pool.WorkerHandle`.

    Parameters
    ----------
    ray : module
    actor : actor handle
    marker : str
        Path of a file in the outputs' folder: a node that sees it writes there itself.
    emit : callable
        Takes what the worker reports.
    """

    def __init__(self, ray: Any, actor: Any, marker: str, emit: Emit) -> None:
        self._ray, self._actor, self._emit, self._marker = ray, actor, emit, marker
        self._shared: bool | None = None
        self._end_reason = "its worker was lost"

    def start(self, job: dict[str, Any]) -> None:
        """Send the job, and wait for its events in a thread."""
        threading.Thread(target=self._watch, args=(job,), name="ray-events", daemon=True).start()

    def _watch(self, job: dict[str, Any]) -> None:
        try:
            if self._shared is None:
                facts = self._actor.facts.remote(self._marker)
                if not self._ray.wait([facts], timeout=_PLACED)[0]:
                    self._emit({"event": "unplaced", "reason": "no node has room for a worker"})
                version, self._shared = self._ray.get(facts)
                if version != __version__:
                    reason = f"a node of the cluster has streammatte {version}, and this is {__version__}"
                    self._emit({"event": "refused", "reason": f"{reason}; install one version on all"})
                    return
            result = self._actor.do.remote(job, self._shared)
            while not self._ray.wait([result], timeout=_POLL)[0]:
                now = self._ray.get(self._actor.progress.remote())
                if now is not None:
                    self._emit(now)
            event, files = self._ray.get(result)
        except Exception as error:  # Ray raises what the actor's process, the node or the connection ends with
            self._end_reason = f"its worker was lost ({type(error).__name__})"
            _log.debug("a worker was lost", exc_info=True)
            self._emit(None)
            return
        try:
            for name, data in files.items():
                with whole_file(Path(name)) as temporary:
                    temporary.write_bytes(data)
        except SinkError as error:
            kind = "full" if isinstance(error, DiskFullError) else "failed"
            event = {"event": kind, "reason": str(error), "exit_code": error.exit_code, "warnings": []}
        self._emit(event)

    def end_reason(self) -> str:
        """Why the worker was lost."""
        return self._end_reason

    def close(self, *, kill: bool) -> None:
        """End the actor."""
        with suppress(Exception):
            self._ray.kill(self._actor)
