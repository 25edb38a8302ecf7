"""The networks of the zoo beside each other: parameters, operations, and speed per engine.

Speed does not depend on the weights, so a network whose weights are not here is measured with random ones; the table
says which.
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

__all__ = ["COLUMNS", "format_models", "model_table", "print_table"]

log = logging.getLogger(__name__)

COLUMNS = ("params_m", "flops_g", "engine", "precision", "size", "ms", "fps")
"""What is measured here; the published figures stand under the same names with ``seed_`` in front."""
WARM_UP = 2
"""Runs before the clock starts: the first ones allocate."""
ALL = "all"


def model_table(
    names: Sequence[str] = (ALL,),
    size: int | tuple[int, int] = 512,
    engines: Sequence[str] = ("openvino", "paddle"),
    repeats: int = 10,
    *,
    precision: str = "auto",
    device: str = "auto",
    threads: int = 0,
) -> list[dict[str, Any]]:
    """Measure networks; engines take turns within a network, so that a busy machine slows all of them alike.

    Parameters
    ----------
    names : sequence of str
        Cards, or ``all``.
    size : int or (int, int)
        Height and width of the input, one number for a square; multiples of 32.
    engines : sequence of str
        Those that cannot run here are left out, with a warning.
    repeats : int
        Pictures an engine, one at a time; the median counts.
    precision, device, threads
        As :func:`streammatte.engines.open_engine`.

    Returns
    -------
    list of dict
        A row a network and engine: ``name``, the columns of ``COLUMNS``, ``seed_params_m``, ``seed_flops_g``,
        ``seed_fps``, ``seed_sad``, and ``weights`` (``here`` or ``random``). Without Paddle the counts are None.

    Raises
    ------
    ConfigError
        A name is unknown, or no engine could run a network.
    """
    size = (size, size) if isinstance(size, int) else size
    wanted = [load_card(name) for given in names for name in (card_names() if given == ALL else (given,))]
    options = {"precision": precision, "device": device, "threads": threads}
    rows: list[dict[str, Any]] = []
    for card in wanted:
        try:
            rows += _rows(card, size, engines, repeats, options)
        except ModelError as error:
            log.warning("%s is left out: %s", card.name, error)
    if not rows:
        names = [card.name for card in wanted]
        raise ConfigError(f"none of {', '.join(names)} could be run on {', '.join(engines)}; see the warnings above")
    return rows


def _rows(
    card: Card, size: tuple[int, int], engines: Sequence[str], repeats: int, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """A network's rows. Raises ModelError where it is neither here nor can be made with random weights."""
    with _models(card.name, size, engines) as (models, weights):
        params, flops = _counts(card, size)
        seed = {f"seed_{key}": getattr(card.seed, key) for key in ("params_m", "flops_g", "fps", "sad")}
        common = {"name": card.name, "params_m": params, "flops_g": flops, "size": f"{size[1]}x{size[0]}"}
        return [
            {
                **common,
                "engine": engine,
                "precision": precision,
                "ms": milliseconds,
                "fps": 1000.0 / milliseconds,
                **seed,
                "weights": weights,
            }
            for engine, precision, milliseconds in _speeds(models, size, repeats, options)
        ]


def format_models(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as an aligned table, the published figures (V100) beside what was measured here."""

    def told(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    titles = {
        "name": "network",
        "params_m": "params M",
        "seed_params_m": "(published)",
        "flops_g": "FLOPs G",
        "seed_flops_g": "(published)",
        "engine": "engine",
        "precision": "type",
        "size": "size",
        "ms": "ms",
        "fps": "fps",
        "seed_fps": "(published, V100)",
        "weights": "weights",
    }
    table = [list(titles.values()), *([told(row[key]) for key in titles] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text_columns = {"name", "engine", "precision", "size", "weights"}
    lines = [
        "  ".join(
            value.ljust(width) if key in text_columns else value.rjust(width)
            for key, value, width in zip(titles, line, widths, strict=True)
        )
        for line in table
    ]
    return "\n".join(line.rstrip() for line in lines)


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
    picture = rng.integers(0, 256, (1, *size, 3), np.uint8)
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
                engine.submit(picture, *trimap).result()
                if turn >= WARM_UP:
                    times[engine.name].append(1000.0 * (time.perf_counter() - start))
        return [(engine.name, engine.precision, statistics.median(times[engine.name])) for engine in engines]
    finally:
        for engine in engines:
            engine.close()


def _trimap(size: tuple[int, int]) -> Any:
    """Half of it unknown, as around a person."""
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
    forms = {"openvino": ("onnx", "net.onnx"), "paddle": ("paddle", "net")}
    return {
        engine: str(save_as(files, folder / forms[engine][1], forms[engine][0], size=size))
        for engine in engines
        if engine in forms
    }


def _counts(card: Card, size: tuple[int, int]) -> tuple[float | None, float | None]:
    """(parameters in millions, operations in billions) as Paddle counts them; None without it."""
    if find_spec("paddle") is None:
        return None, None
    paddle = import_paddle("counting operations")
    network = create(card.name)
    network.eval()
    params = sum(int(np.prod(value.shape)) for value in network.parameters() if not value.stop_gradient)
    image = paddle.zeros([1, 3, *size])
    inputs = (image, paddle.full([1, 1, *size], 128.0)) if card.input.trimap else (image,)
    return params / 1e6, _operations(network, inputs) / 1e9


def _operations(network: Any, inputs: tuple[Any, ...]) -> int:
    """Operations of one run by the rules of ``paddle.flops``, which published figures follow.

    A convolution counts a multiply-add as one: out x (in / groups x kernel + bias); normalisation two a value; a linear
    layer in x out; average pooling one a value, adaptive ones window + 1. What is no layer (enlargement, sums,
    attention's products) counts nothing. ``paddle.flops`` itself fails under NumPy 2.4, which refuses int() of arrays
    of one value.
    """
    import paddle
    from paddle import nn

    from streammatte.networks.spectral import SpectralConv

    counted = [0]

    def convolution(layer: Any, _: Any, out: Any) -> None:
        taps = int(np.prod(layer.weight.shape[1:])) if isinstance(layer, nn.Conv2D) else _transposed_taps(layer)
        counted[0] += int(np.prod(out.shape)) * (taps + (layer.bias is not None))

    def spectral(layer: Any, _: Any, out: Any) -> None:
        taken = layer.weight_orig.shape[0 if layer.transposed else 1]
        counted[0] += int(np.prod(out.shape)) * int(taken) * int(np.prod(layer.weight_orig.shape[2:]))

    def normalisation(_: Any, given: Any, __: Any) -> None:
        counted[0] += 2 * int(np.prod(given[0].shape))

    def linear(layer: Any, _: Any, out: Any) -> None:
        counted[0] += int(layer.weight.shape[0]) * int(np.prod(out.shape))

    def pooling(_: Any, __: Any, out: Any) -> None:
        counted[0] += int(np.prod(out.shape))

    def adaptive(_: Any, given: Any, out: Any) -> None:
        window = int(np.prod(given[0].shape[2:])) // int(np.prod(out.shape[2:]))
        counted[0] += (window + 1) * int(np.prod(out.shape))

    rules = (
        ((nn.Conv2D, nn.Conv2DTranspose), convolution),
        ((SpectralConv,), spectral),
        ((nn.BatchNorm2D, nn.BatchNorm), normalisation),
        ((nn.Linear,), linear),
        ((nn.AvgPool2D,), pooling),
        ((nn.AdaptiveAvgPool2D,), adaptive),
        ((nn.LeakyReLU,), pooling),
    )
    hooks = [
        layer.register_forward_post_hook(rule)
        for layer in network.sublayers(include_self=True)
        for kinds, rule in rules
        if type(layer) in kinds
    ]
    with paddle.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return counted[0]


def _transposed_taps(layer: Any) -> int:
    """As ``paddle.flops`` counts a transposed convolution: inputs a group times the kernel."""
    taken, _, *kernel = layer.weight.shape
    return int(taken) // int(layer._groups) * int(np.prod(kernel))
