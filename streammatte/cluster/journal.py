"""The state of every video: an SQLite file in the target folder that survives any end of the process."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from streammatte.cluster.plan import Item
from streammatte.errors import ConfigError, SinkError, SourceError
from streammatte.media.remote import is_remote, remote_fingerprint

__all__ = [
    "DONE",
    "FAILED",
    "JOURNAL",
    "PARTIAL",
    "RUNNING",
    "WAITING",
    "Journal",
    "Record",
    "fingerprint",
    "take_folder",
]

_log = logging.getLogger(__name__)

JOURNAL = "streammatte-batch.sqlite"
"""Name of the journal in the target folder."""

WAITING, RUNNING, DONE, PARTIAL, FAILED = "waiting", "running", "done", "partial", "failed"
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    output TEXT PRIMARY KEY, source TEXT NOT NULL, options TEXT NOT NULL, priority INTEGER NOT NULL,
    place INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', exit_code INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, frames INTEGER NOT NULL DEFAULT 0,
    media_seconds REAL NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, warnings TEXT NOT NULL DEFAULT '[]',
    given TEXT NOT NULL DEFAULT '', before TEXT NOT NULL DEFAULT ''
)
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A row of the journal.

    ``given`` is the fingerprint of the input when it was done, ``before`` that of the output when work on it began.
    """

    output: str
    source: str
    options: dict[str, Any]
    priority: int
    place: int
    state: str
    reason: str
    exit_code: int
    attempts: int
    seconds: float
    frames: int
    media_seconds: float
    bytes: int
    warnings: tuple[str, ...]
    given: str
    before: str


def fingerprint(path: Path | str) -> str:
    """Size and time of change of a file or folder, here or remote; ``""`` where there is none."""
    if is_remote(path):
        return remote_fingerprint(str(path))
    try:
        facts = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def take_folder(folder: Path, name: str, busy: str) -> FileLock:
    """Make a folder and lock it for this process by a file in it. Raises ConfigError(busy), SinkError.

    Parameters
    ----------
    folder : Path
    name : str
        Of the lock's file in it.
    busy : str
        The message where another process holds it.
    """
    lock = FileLock(folder / name, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(busy) from error
    except OSError as error:
        raise SinkError(f"cannot write into {folder}: {error.strerror or error}") from error
    return lock


def _record(row: sqlite3.Row) -> Record:
    facts = dict(row)
    facts["options"], facts["warnings"] = json.loads(facts["options"]), tuple(json.loads(facts["warnings"]))
    return Record(**facts)


class Journal:
    """The journal of a target folder; one process at a time has it.

    Parameters
    ----------
    target : Path
        Created where it is missing.
    remote : str
        Address to which outputs go from ``target``, if any.

    Raises
    ------
    ConfigError
        Another run works on the folder; the journal is damaged or of another version.
    SinkError
        The folder cannot be written.
    """

    def __init__(self, target: Path, remote: str = "") -> None:
        self.target, self.remote = target, remote.rstrip("/")
        self._path = target / JOURNAL
        busy = f"another batch works on {target}; wait for it, or choose another --to"
        self._lock = take_folder(target, f".{JOURNAL}.lock", busy)
        self._begun: set[str] = set()
        try:
            with self._errors():
                self._base = sqlite3.connect(self._path, isolation_level=None)
                self._base.row_factory = sqlite3.Row
                self._base.execute("PRAGMA synchronous=FULL")
                (version,) = self._base.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise ConfigError(f"{self._path} is of another version of streammatte; choose another --to")
            with self._errors():
                self._base.execute(_SCHEMA)
                self._base.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let other runs in. Safe to call twice."""
        self._base.close()
        self._lock.release()

    def add(self, items: Iterable[Item], *, retry_failed: bool = False) -> None:
        """Plan items: what is done and unchanged stays done, what a run that ended had begun is decided by its output.

        Parameters
        ----------
        items : iterable of Item
        retry_failed : bool
            Failed items wait again; those whose input or options changed always do.
        """
        known = {record.output: record for record in self.records()}
        with self._errors(), self._base:
            self._base.execute("BEGIN IMMEDIATE")
            for place, item in enumerate(items, len(known)):
                record = known.get(item.output)
                options = json.dumps(item.options, sort_keys=True)
                if record is None:
                    row = (item.output, item.source, options, item.priority, place, WAITING)
                    fields = "(output, source, options, priority, place, state)"
                    self._base.execute(f"INSERT INTO items {fields} VALUES (?, ?, ?, ?, ?, ?)", row)
                elif not (record.state == RUNNING and record.output in self._begun):
                    state = self._state_of(record, item, options, retry_failed)
                    attempts = record.attempts if state == record.state else 0
                    self._base.execute(
                        "UPDATE items SET source=?, options=?, priority=?, state=?, attempts=? WHERE output=?",
                        (item.source, options, item.priority, state, attempts, item.output),
                    )

    def _state_of(self, record: Record, item: Item, options: str, retry: bool) -> str:
        changed = (record.source, json.dumps(record.options, sort_keys=True)) != (item.source, options)
        output = self._fingerprint(item.output)
        if record.state == RUNNING:
            # That run ended before its output appeared, or between that and this journal's entry.
            return DONE if output and output != record.before and not changed else WAITING
        changed = changed or fingerprint(item.source) != record.given
        if record.state in (DONE, PARTIAL):
            return WAITING if changed or not output else record.state
        return WAITING if changed or retry else record.state

    def _fingerprint(self, output: str) -> str:
        return fingerprint(f"{self.remote}/{output}" if self.remote else self.target / output)

    def begin(self, record: Record) -> None:
        """Work on an item begins."""
        self._begun.add(record.output)
        self._set(record.output, state=RUNNING, before=self._fingerprint(record.output))
        with self._errors():
            self._base.execute("UPDATE items SET attempts=attempts+1 WHERE output=?", (record.output,))

    def end(self, record: Record, state: str, **facts: Any) -> None:
        """An item has ended in a state; ``facts`` are fields of :class:`Record`."""
        if "warnings" in facts:
            facts["warnings"] = json.dumps(list(facts["warnings"]))
        try:
            given = fingerprint(record.source)
        except SourceError as error:  # the work is done all the same; the next run does it again
            _log.warning("%s", error)
            given = ""
        self._set(record.output, state=state, given=given, **facts)

    def _set(self, output: str, **facts: Any) -> None:
        names = ", ".join(f"{name}=?" for name in facts)
        with self._errors():
            self._base.execute(f"UPDATE items SET {names} WHERE output=?", (*facts.values(), output))

    def records(self, *states: str, limit: int = -1) -> list[Record]:
        """Rows by priority and order of planning: those in some states where any is named, the first ``limit``."""
        wanted = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        query = f"SELECT * FROM items {wanted} ORDER BY priority DESC, place LIMIT ?"
        with self._errors():
            rows = self._base.execute(query, (*states, limit)).fetchall()
            return [_record(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many items are in each state."""
        with self._errors():
            found = dict(self._base.execute("SELECT state, COUNT(*) FROM items GROUP BY state").fetchall())
        return {state: found.get(state, 0) for state in (WAITING, RUNNING, DONE, PARTIAL, FAILED)}

    def attempts(self, output: str) -> int:
        """How often work on an item began since it was planned last."""
        with self._errors():
            (found,) = self._base.execute("SELECT attempts FROM items WHERE output=?", (output,)).fetchone()
        return int(found)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise SinkError(f"cannot write {self._path}: {error}") from error
        except (sqlite3.DatabaseError, ValueError) as error:
            raise ConfigError(
                f"{self._path} is damaged ({error}); move it away to start again (outputs that are there stay)"
            ) from error
