"""A Paddle network as a program that Paddle Inference reads."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from streammatte.errors import EngineUnavailableError, ModelError
from streammatte.zoo.rules import InputRule

__all__ = ["PARAMS", "chatter_to_stderr", "need", "program_in", "told", "write_paddle"]

PARAMS = "model.pdiparams"


def write_paddle(network: Any, folder: Path, rule: InputRule, size: tuple[int, int] | None = None) -> Path:
    """Write a network as PaddleSeg's export does.

    The folder gets ``model.json`` (``model.pdmodel`` up to Paddle 2.6), ``model.pdiparams`` and ``deploy.yaml``; inputs
    are named ``img`` and, for networks that need one, ``trimap``.

    Raises
    ------
    EngineUnavailableError
        Paddle is not installed.
    ModelError
        The network cannot be traced.
    """
    paddle = need("paddle")
    network.eval()

    class Traced(paddle.nn.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, img: Any, trimap: Any = None) -> Any:
            return self.network(img) if trimap is None else self.network(img, trimap)

    # the networks are traced as they run: Paddle's source transformation knows only a part of Python
    paddle.jit.ignore_module([sys.modules[name] for name in list(sys.modules) if name.startswith("streammatte.zoo")])
    height, width = size or (None, None)
    channels = {"img": 3, "trimap": 1} if rule.trimap else {"img": 3}
    spec = [paddle.static.InputSpec([None, c, height, width], "float32", name) for name, c in channels.items()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with chatter_to_stderr():
            paddle.jit.save(paddle.jit.to_static(Traced(), input_spec=spec, full_graph=True), str(folder / "model"))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{type(network).__name__} cannot be written as a Paddle program: {told(error)}") from error
    table = {
        "model": program_in(folder).name,
        "params": PARAMS,
        "input_shape": [None, 3, height, width],
        "transforms": [{"type": "LoadImages"}, *_transforms(rule)],
    }
    document = {"Deploy": table, "ModelName": type(network).__name__}
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder


_STEP_NAMES = {
    "limit_short": ("LimitShort", ("min_short", "max_short")),
    "limit_long": ("LimitLong", ("min_long", "max_long")),
    "short": ("ResizeByShort", ("short_size",)),
    "long": ("ResizeByLong", ("long_size",)),
    "multiple": ("ResizeToIntMult", ("mult_int",)),
}


def _transforms(rule: InputRule) -> Iterator[dict[str, Any]]:
    for step in rule.steps:
        if step.kind == "fixed":
            yield {"type": "Resize", "target_size": [step.values[1], step.values[0]]}
        else:
            name, keys = _STEP_NAMES[step.kind]
            told = {key: value for key, value in zip(keys, step.values, strict=True) if value is not None}
            yield {"type": name, **told}
    yield {"type": "Normalize", "mean": list(rule.mean), "std": list(rule.std)}


def program_in(folder: Path) -> Path:
    """The program that Paddle wrote into a folder. Raises ModelError where there is none."""
    found = [folder / f"model{suffix}" for suffix in (".json", ".pdmodel") if (folder / f"model{suffix}").is_file()]
    if not found:
        raise ModelError(f"Paddle wrote no program into {folder}")
    return found[0]


def need(package: str) -> Any:
    """Import a package of the ``export`` extra. Raises EngineUnavailableError where it is not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"converting needs {package}, which is not installed; install streammatte[export]"
        ) from error


@contextmanager
def chatter_to_stderr() -> Iterator[None]:
    """Send what native code prints on standard output to standard error: a film may be going out there."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


_CAUSE = re.compile(r"(?:\w+Error: )?(\(\w+\) \S.*)")
_NAMED = re.compile(r"\w+Error:")
_BESIDE = ("[Hint:", "[operator <")


def told(error: Exception) -> str:
    """The line of a Paddle message that says what is wrong.

    It begins with the kind in brackets, ``(InvalidArgument) The number of``, or, under a traceback, with the name of an
    error, ``InvalidArgumentError: The number of``, sometimes with the text a line below. What follows it are hints and
    places in Paddle's source.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [found[1] for line in lines if (found := _CAUSE.match(line))]
    named = [
        " ".join(lines[at : at + 2]) if line.endswith("Error:") else line
        for at, line in enumerate(lines)
        if _NAMED.match(line)
    ]
    others = [line for line in lines if not line.startswith(_BESIDE)]
    chosen = causes[0] if causes else (named or others or lines or [type(error).__name__])[-1]
    return chosen.partition(" (at ")[0][:300]
