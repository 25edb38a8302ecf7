"""The report of a batch: JSON for programs, a page with thumbnails for people."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from streammatte.cluster.journal import DONE, PARTIAL, Record
from streammatte.errors import StreammatteError
from streammatte.media.container import shown_address
from streammatte.sinks.atomic import AtomicFile, whole_file
from streammatte.sources import is_url, open_source
from streammatte.stats import format_bytes

__all__ = ["as_dict", "write_report"]

MAX_THUMBNAILS = 500
_THUMBNAIL = (160, 120)


def as_dict(target: Path, records: Sequence[Record]) -> dict[str, Any]:
    """The report as plain values: ``items`` with input, output, state, seconds, reason and what was measured."""
    items = [
        {
            "input": shown_address(record.source) if is_url(record.source) else record.source,
            "output": record.output,
            "state": record.state,
            "seconds": round(record.seconds, 3),
            "reason": record.reason,
            "frames": record.frames,
            "media_seconds": round(record.media_seconds, 3),
            "fps": round(record.frames / record.seconds, 2) if record.seconds else 0.0,
            "bytes": record.bytes,
            "warnings": list(record.warnings),
        }
        for record in records
    ]
    states = {record.state for record in records}
    return {
        "target": str(target),
        "counts": {state: sum(record.state == state for record in records) for state in sorted(states)},
        "items": items,
    }


def write_report(path: Path, target: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``path`` (JSON) and a page beside it; returns their names.

    Parameters
    ----------
    path : Path
        Its suffix is replaced by ``.html`` for the page.
    target : Path
        The folder of the outputs.
    records : sequence of Record

    Raises
    ------
    SinkError
    """
    report = as_dict(target, records)
    page = path.with_suffix(".html")
    for name, text in ((path, json.dumps(report, indent=1) + "\n"), (page, _page(report, target))):
        AtomicFile(name, overwrite=True).check()
        with whole_file(name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [path, page]


def _page(report: dict[str, Any], target: Path) -> str:
    environment = Environment(
        loader=PackageLoader("streammatte.cluster", "."), autoescape=True, trim_blocks=True, undefined=StrictUndefined
    )
    shown = [item for item in report["items"] if item["state"] in (DONE, PARTIAL)][:MAX_THUMBNAILS]
    thumbnails = {item["output"]: _thumbnail(target / item["output"]) for item in shown}
    rows = [
        {**item, "thumbnail": thumbnails.get(item["output"], ""), "size": format_bytes(item["bytes"])}
        for item in report["items"]
    ]
    return environment.get_template("report.html.j2").render(report=report, rows=rows)


def _thumbnail(path: Path) -> str:
    """The output's first frame as a ``data:`` address; ``""`` where it cannot be read."""
    try:
        with closing(open_source(path, tracks=False, rate=None)) as source:
            frame = next(source.frames())
            image = Image.fromarray(frame.to_rgb())
            if frame.alpha is not None:
                image = Image.composite(image, Image.new("RGB", image.size, "#888"), Image.fromarray(frame.alpha))
    except (StreammatteError, StopIteration):
        return ""
    image.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
