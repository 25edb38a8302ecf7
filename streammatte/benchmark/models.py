"""Comparison of the networks: published parameters and operations, and speed per engine.

Speed does not depend on the weights, so a network whose weights are not here is measured with random ones; the table
states which.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.cards import Card, card_names, load_card
from streammatte.networks.registry import create
from streammatte.optional_imports import import_paddle
from streammatte.protocols import Engine

__all__ = ["format_models", "model_table", "print_table"]

log = logging.getLogger(__name__)

PUBLISHED = ("params_m", "flops_g", "fps", "sad")
"""Published figures of a card; rows have them with the prefix ``seed_``."""
WARM_UP = 2
"""Runs before the clock starts: the first ones allocate."""
ALL = "all"


def model_table(
    names: Sequence[str] = (ALL,),
    size: int | tuple[int, int] = 512,
    engines: Sequence[str] = (),
    repeats: int = 10,
    *,
    precision: str = "auto",
    device: str = "auto",
    threads: int = 0,
    data: Path | None = None,
) -> list[dict[str, Any]]:
    """Measure networks; engines take turns within a network, so that a busy machine slows all of them alike.

    Parameters
    ----------
    names : sequence of str
        Cards, or ``all``.
    size : int or (int, int)
        Height and width of the input, one number for a square; multiples of 32.
    engines : sequence of str
        Those that cannot run here are left out, with a warning; by default all that are installed.
    repeats : int
        Images an engine, one at a time; the median counts.
    precision, device, threads
        As :func:`streammatte.engines.open_engine`.
    data : Path, optional
        A data set with true mattes: networks whose weights are here are run over its stills by every engine.

    Returns
    -------
    list of dict
        A row for each network and engine: ``name``, ``engine``, ``precision``, ``size``, ``ms``, ``fps``, ``weights``
        (``here`` or ``random``), ``mad`` (mean absolute difference of alpha from the truth, times 1000; None where
        there is no ``data`` or the weights are random), and the published ``seed_params_m``, ``seed_flops_g``,
        ``seed_fps``, ``seed_sad``.

    Raises
    ------
    ConfigError
        A name is unknown, or no engine could run a network.
    """
    size = (size, size) if isinstance(size, int) else size
    from streammatte.engines import ENGINES

    engines = engines or [name for name in ENGINES[1:] if find_spec(name)]
    wanted = [load_card(name) for given in names for name in (card_names() if given == ALL else (given,))]
    options = {"precision": precision, "device": device, "threads": threads}
    rows: list[dict[str, Any]] = []
    for card in wanted:
        try:
            rows += _rows(card, size, engines, repeats, options, data)
        except ModelError as error:
            log.warning("%s is left out: %s", card.name, error)
    if not rows:
        names = [card.name for card in wanted]
        raise ConfigError(f"none of {', '.join(names)} could be run on {', '.join(engines)}; see the warnings above")
    return rows


def _rows(
    card: Card,
    size: tuple[int, int],
    engines: Sequence[str],
    repeats: int,
    options: dict[str, Any],
    data: Path | None,
) -> list[dict[str, Any]]:
    """A network's rows. Raises ModelError where it is neither here nor can be made with random weights."""
    with _models(card.name, size, engines) as (models, weights):
        return [
            {
                "name": card.name,
                "size": f"{size[1]}x{size[0]}",
                "engine": engine,
                "precision": precision,
                "ms": milliseconds,
                "fps": 1000.0 / milliseconds,
                "weights": weights,
                "mad": None if data is None or weights != "here" else _mad(card.name, engine, precision, size, data),
                **{f"seed_{key}": getattr(card.seed, key) for key in PUBLISHED},
            }
            for engine, precision, milliseconds in _speeds(models, size, repeats, options)
        ]


_TITLES = {
    "name": "network",
    "seed_params_m": "params M",
    "seed_flops_g": "FLOPs G",
    "engine": "engine",
    "precision": "type",
    "size": "size",
    "ms": "ms",
    "fps": "fps",
    "seed_fps": "(published, V100)",
    "weights": "weights",
    "mad": "MAD x1e3",
}
_TEXT = {"name", "engine", "precision", "size", "weights"}


def format_models(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as an aligned table; parameters, FLOPs and the last speed are the published figures."""
    titles = {key: title for key, title in _TITLES.items() if key != "mad" or any(row.get("mad") for row in rows)}
    table = [list(titles.values()), *([_cell(row[key]) for key in titles] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for line in table:
        cells = zip(titles, line, widths, strict=True)
        lines.append("  ".join(cell.ljust(width) if key in _TEXT else cell.rjust(width) for key, cell, width in cells))
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows to standard output as :func:`format_models` aligns them."""
    sys.stdout.write(format_models(rows) + "\n")


def _speeds(
    models: dict[str, str], size: tuple[int, int], repeats: int, options: dict[str, Any]
) -> list[tuple[str, str, float]]:
    """(engine, precision, median milliseconds) of every engine that can run its model, measured in turn."""
    from streammatte.engines import open_engine

    engines: list[Engine] = []
    times: defaultdict[str, list[float]] = defaultdict(list)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *size, 3), np.uint8)
    try:
        for name, model in models.items():
            try:
                engines.append(open_engine(model, engine=name, size=size, throughput=False, **options))
            except (ModelError, ConfigError) as error:
                log.warning("%s is left out: %s", name, error)
        for turn in range(WARM_UP + repeats):
            for engine in engines:
                trimap = (_trimap(size),) if getattr(engine, "needs_trimap", False) else ()
                start = time.perf_counter()
                engine.submit(image, *trimap).result()
                if turn >= WARM_UP:
                    times[engine.name].append(1000.0 * (time.perf_counter() - start))
        return [(engine.name, engine.precision, statistics.median(times[engine.name])) for engine in engines]
    finally:
        for engine in engines:
            engine.close()


def _mad(name: str, engine: str, precision: str, size: tuple[int, int], data: Path) -> float:
    """MAD over the stills of a data set, times 1000. Raises ConfigError where it has none with a true matte."""
    from streammatte.evaluation.datasets import find_items
    from streammatte.evaluation.maker import NetworkMatteMaker
    from streammatte.evaluation.runner import score_item
    from streammatte.options.video import VideoOptions

    stills = [item for item in find_items(data) if item.kind == "still" and item.alpha is not None]
    if not stills:
        raise ConfigError(f"{data} has no stills with a true matte; see streammatte eval --help for its form")
    options = VideoOptions(model=name, engine=engine, precision=precision, size=max(size), smooth="off")
    maker = NetworkMatteMaker(options, None)
    try:
        scores = [score_item(item, maker, lambda _: iter(()), ("mad",), with_trimap=False) for item in stills]
    finally:
        maker.close()
    return 1000 * statistics.fmean(score.mean("mad") or 0.0 for score in scores)


def _trimap(size: tuple[int, int]) -> Any:
    """A trimap whose unknown band is half of the image."""
    trimap = np.full((1, *size), 128, np.uint8)
    trimap[:, : size[0] // 4] = 0
    trimap[:, -(size[0] // 4) :] = 255
    return trimap


@contextmanager
def _models(name: str, size: tuple[int, int], engines: Sequence[str]) -> Iterator[tuple[dict[str, str], str]]:
    """What to give each engine as ``model``, and whether the weights are the network's own or random."""
    from streammatte.models.resolve import resolve

    try:
        resolve(name)
    except ModelNotFoundError:
        if find_spec("paddle") is None:
            raise ModelNotFoundError(
                f"{name} is not here; run: streammatte models pull {name}, or install streammatte[export] to measure "
                "it with random weights"
            ) from None
    else:
        yield dict.fromkeys(engines, name), "here"
        return
    with tempfile.TemporaryDirectory(prefix="streammatte-bench-") as folder:
        yield _random(name, size, engines, Path(folder)), "random"


def _random(name: str, size: tuple[int, int], engines: Sequence[str], folder: Path) -> dict[str, str]:
    """Exported forms with random weights, outside the user's cache."""
    from streammatte.export.convert import save_as
    from streammatte.models.resolve import resolve

    paddle = import_paddle("measuring with random weights")
    paddle.seed(0)
    path = folder / f"{name}.pdparams"
    paddle.save(create(name).state_dict(), str(path))
    files = resolve(f"{name}={path}")
    made: dict[str, str] = {}
    for engine in engines:
        to, file = ("paddle", "net") if engine == "paddle" else ("onnx", "net.onnx")
        if not (folder / file).exists():
            save_as(files, folder / file, to, size=size)
        made[engine] = str(folder / file)
    return made
