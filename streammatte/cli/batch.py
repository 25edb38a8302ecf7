"""``streammatte batch``: many videos, with a journal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streammatte.cli import options as shared
from streammatte.cli.interrupts import interrupts
from streammatte.cli.progress import ProgressDisplay
from streammatte.errors import ConfigError, StreammatteError
from streammatte.options.batch import BatchOptions, ClusterOptions
from streammatte.options.video import VideoOptions

if TYPE_CHECKING:
    from streammatte.cluster.batch import Status
    from streammatte.cluster.journal import Record
    from streammatte.cluster.plan import Item

__all__ = ["command"]

_FILE = click.Path(dir_okay=False, path_type=Path)
_SETTLED = 2.0
"""Seconds for which a file in a watched folder must not have changed."""


@click.command(short_help="Take the people out of many videos, with a journal.")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--to", "to", required=True, metavar="DIR|URL", help="Folder of the outputs, or an address (s3://...).")
@shared.declared_options(BatchOptions)
@shared.declared_options(ClusterOptions)
@click.option("--retry-failed", is_flag=True, help="Failed videos are tried again.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--watch", is_flag=True, help="Take new videos of the inputs when they are complete, until Ctrl-C.")
@click.option("--report", type=_FILE, metavar="FILE.json", help="Write a report, and a page beside it.")
@shared.declared_options(VideoOptions, "composite", "encode", "read", "network", "sequence", "controls")
@shared.common()
def command(
    inputs: tuple[str, ...],
    to: str,
    jobs: int | None,
    output_format: str | None,
    segment: float | None,
    cluster: str | None,
    retry_failed: bool,
    dry_run: bool,
    watch: bool,
    report: Path | None,
    config: str | None,
    as_json: bool,
    **given: Any,
) -> int:
    """Take the people out of many videos.

    INPUT is a file, a folder, a glob, a URL, a manifest (.csv with a column input, or .jsonl; columns output, priority
    and any option), or - for lines of standard input. A journal in the target folder records what is done: after any
    interruption the same command continues.

    \b
    streammatte batch clips/ --to done/ --bg beach.jpg
    streammatte batch jobs.csv --to done/ --jobs 2 --report done/report.json
    streammatte batch inbox/ --to done/ --watch
    """
    from streammatte.cluster.batch import Batch
    from streammatte.cluster.journal import FAILED, PARTIAL, Journal
    from streammatte.cluster.worker_pool import local_pool
    from streammatte.media.remote import is_remote, upload_folder
    from streammatte.sinks.atomic import AtomicFile

    options = shared.fill(config, given)
    if options.alpha or options.foreground:
        raise ConfigError("--alpha and --foreground name one file each; give them in a manifest, for each video")
    target = upload_folder(to) if is_remote(to) else Path(to)
    lines = sys.stdin.read().splitlines() if "-" in inputs else []
    plan = _planner(inputs, options, output_format or "auto", lines)
    if dry_run:
        return _print_plan(plan(), target, as_json)
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(target, to if is_remote(to) else ""))
        if report is not None:
            AtomicFile(report, overwrite=True).check()
        journal.add([] if watch else plan(), retry_failed=retry_failed)
        show = stack.enter_context(_Show(as_json))
        if cluster is None:
            pool = local_pool(jobs or 0)
        else:
            from streammatte.cluster.ray_pool import ray_pool
            from streammatte.cluster.video import SEGMENT

            pool = stack.enter_context(ray_pool(cluster, jobs or 0, options, target))
            segment = segment or SEGMENT
        batch = Batch(journal, options, pool, segment, show)
        stopped = stack.enter_context(interrupts(batch))
        files = _Settling()

        def take_new() -> bool:
            if watch:
                journal.add(files.settled(plan))
            return watch

        batch.run(take_new)
        records = journal.records()
        show.end(records)
        if report is not None:
            from streammatte.cluster.report import write_report

            for path in write_report(report, target, records):
                click.echo(f"wrote {path}", err=True)
    if stopped:
        click.echo("streammatte: stopped; the same command goes on", err=True)
        return 128 + stopped[0]
    return max((record.exit_code for record in records if record.state in (FAILED, PARTIAL)), default=0)


def _planner(inputs: Sequence[str], options: VideoOptions, kind: str, lines: list[str]) -> Callable[[], list[Item]]:
    from streammatte.cluster.plan import plan_items

    return lambda: plan_items(inputs, options, kind, manifest=lines)


def _print_plan(items: list[Item], target: Path, as_json: bool) -> int:
    """What would be done, how long the videos are, and how long that takes at the speed of what is done already."""
    from streammatte.cluster.journal import DONE, JOURNAL, PARTIAL, Journal
    from streammatte.sources import is_url, open_source

    done: dict[str, Record] = {}
    if (target / JOURNAL).is_file():
        with Journal(target) as journal:
            done = {record.output: record for record in journal.records(DONE, PARTIAL)}
    rows: list[dict[str, Any]] = []
    for item in items:
        row: dict[str, Any] = {"input": item.source, "output": item.output, "state": "waiting", "seconds": None}
        rows.append(row)
        if item.output in done:
            row["state"] = done[item.output].state
        elif not is_url(item.source):
            try:
                with closing(open_source(item.source, tracks=False)) as source:
                    row["seconds"] = source.info.duration
            except StreammatteError as error:
                row |= {"state": "unreadable", "reason": str(error)}
    length = sum(row["seconds"] or 0.0 for row in rows)
    media = sum(record.media_seconds for record in done.values())
    estimate = None
    if media:
        spent, size = (sum(getattr(record, name) for record in done.values()) for name in ("seconds", "bytes"))
        estimate = {"seconds": round(length * spent / media, 1), "bytes": round(length * size / media)}
    if as_json:
        click.echo(json.dumps({"items": rows, "media_seconds": round(length, 3), "estimate": estimate}))
        return 0
    for row in rows:
        why = f": {row['reason']}" if "reason" in row else ""
        click.echo(f"{row['state']:>10}  {row['input']} -> {row['output']}{why}")
    waiting = sum(row["state"] == "waiting" for row in rows)
    text = "time and size are not known before a video of this batch is done"
    if estimate is not None:
        text = f"about {estimate['seconds']:.0f} s of work and {estimate['bytes'] / 1e6:.1f} MB"
    click.echo(f"{waiting} of {len(rows)} wait, {length:.1f} s of video; {text}")
    return 0


class _Settling:
    """Takes a file of a watched folder once it has not changed for some seconds."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def settled(self, plan: Callable[[], list[Item]]) -> list[Item]:
        """The planned items whose inputs are complete; none where there is no input yet."""
        from streammatte.cluster.journal import fingerprint
        from streammatte.errors import SourceError

        try:
            items = plan()
        except SourceError:
            return []
        now, found = time.monotonic(), []
        for item in items:
            facts = fingerprint(item.source)
            seen = self._seen.get(item.source)
            if seen is None or seen[0] != facts:
                self._seen[item.source] = (facts, now)
            elif now - seen[1] >= _SETTLED:
                found.append(item)
        return found


class _Show(ProgressDisplay):
    """A bar for all videos and one for each that runs, or JSON, and the final counts."""

    def __init__(self, as_json: bool) -> None:
        columns = "{task.description}", "bar", "count", "{task.fields[note]}"
        super().__init__(*columns, json_file=sys.stdout if as_json else None)

    def __call__(self, status: Status) -> None:
        self.line(status.as_dict)
        ended = status.total - status.counts["waiting"] - status.counts["running"]
        left = "" if status.remaining is None else f"{status.remaining:.0f} s left"
        self.bar("videos", ended, status.total, note=left)
        self.remove_bars(keep={"videos", *status.running})
        for output, (frames, total, fps) in status.running.items():
            left = f", {(total - frames) / fps:.0f} s left" if total and fps else ""
            self.bar(output, frames, total, note=f"{fps:.1f} fps{left}")

    def end(self, records: Sequence[Record]) -> None:
        """The final counts."""
        self.close()
        for record in records:
            if record.reason and record.state in ("failed", "partial"):
                click.echo(f"streammatte: {record.source}: {record.reason}", err=True)
        states = ("done", "partial", "failed", "waiting")
        counts = {state: sum(record.state == state for record in records) for state in states}
        self.line(lambda: {"done": True, "counts": counts}, last=True)
        if self._json_file is None:
            text = [f"{count} {state}" for state, count in counts.items() if count or state == "done"]
            click.echo(", ".join(text), err=True)
