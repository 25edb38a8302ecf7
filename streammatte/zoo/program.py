"""A Paddle network as a program that Paddle Inference reads."""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from streammatte.errors import EngineUnavailableError, ModelError
from streammatte.zoo.chatter import hushed
from streammatte.zoo.rules import InputRule

__all__ = [
    "PARAMS",
    "PROGRAMS",
    "check_room",
    "import_paddle",
    "need",
    "told",
    "write_deploy",
    "write_paddle",
    "write_program",
]

PROGRAMS = ("model.json", "model.pdmodel")
"""What Paddle calls the program that it writes: from 3.0 on, and before."""
PARAMS = "model.pdiparams"


def write_paddle(network: Any, folder: Path, rule: InputRule, size: tuple[int, int] | None = None) -> Path:
    """Write a network as PaddleSeg's export does.

    The folder gets ``model.json`` (``model.pdmodel`` up to Paddle 2.6), ``model.pdiparams`` and ``deploy.yaml``; inputs
    are named ``img`` and, for networks that need one, ``trimap``. Alpha comes as the network computes it, at half size
    where it has an ``alpha_half``: who enlarges it does so along the picture's edges.

    Raises
    ------
    EngineUnavailableError
        Paddle is not installed.
    ModelError
        The network cannot be traced.
    OSError
        The disk is full.
    """
    forward = getattr(network, "alpha_half", None)
    program = write_program(network, folder, "img", trimap=rule.trimap, size=size, forward=forward)
    write_deploy(folder, rule, program.name, PARAMS, type(network).__name__, size)
    return folder


def write_program(
    network: Any,
    folder: Path,
    picture: str,
    *,
    trimap: bool = False,
    size: tuple[int, int] | None = None,
    forward: Callable[..., Any] | None = None,
) -> Path:
    """Trace a network and save it as Paddle does; gives the program, its ``model.pdiparams`` is beside it.

    Parameters
    ----------
    network : paddle.nn.Layer
        Put into evaluation mode.
    folder : Path
        Made where it is not there.
    picture : str
        Name of the first input, (N, 3, H, W) float32.
    trimap : bool
        Whether there is a second one, ``trimap``, (N, 1, H, W) float32.
    size : (int, int), optional
        Fixed height and width; without it both stay open.
    forward : callable, optional
        What to trace instead of ``network.forward``: a method that takes the inputs and gives alpha.

    Raises
    ------
    EngineUnavailableError, ModelError, OSError
        As :func:`write_paddle`.
    """
    paddle = need("paddle")
    network.eval()
    run = forward or network

    class Traced(paddle.nn.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        # traced as it runs: Paddle's source transformation knows only a part of Python
        @paddle.jit.not_to_static  # type: ignore[untyped-decorator]
        def forward(self, image: Any, trimap: Any = None) -> Any:
            return run(image) if trimap is None else run(image, trimap)

    channels = {picture: 3, "trimap": 1} if trimap else {picture: 3}
    sides = size or (None, None)
    spec = [paddle.static.InputSpec([None, count, *sides], "float32", name) for name, count in channels.items()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with hushed():
            paddle.jit.save(paddle.jit.to_static(Traced(), input_spec=spec, full_graph=True), str(folder / "model"))
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise ModelError(f"{type(network).__name__} cannot be written as a Paddle program: {told(error)}") from error
    program = next((folder / name for name in PROGRAMS if (folder / name).is_file()), None)
    if program is None:
        raise ModelError(f"Paddle wrote no program of {type(network).__name__} into {folder}")
    for path in (program, folder / PARAMS):
        check_room(path)
    return program


def write_deploy(
    folder: Path, rule: InputRule, program: str, params: str, network: str, size: tuple[int, int] | None = None
) -> None:
    """Write the ``deploy.yaml`` that says what an exported model's files are called and what its input is."""
    table = {
        "model": program,
        "params": params,
        "input_shape": [None, 3, *(size or (None, None))],
        "trimap": rule.trimap,
        "transforms": [{"type": "LoadImages"}, *_transforms(rule)],
    }
    document = {"Deploy": table, "ModelName": network}
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


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
            given = {key: value for key, value in zip(keys, step.values, strict=True) if value is not None}
            yield {"type": name, **given}
    yield {"type": "Normalize", "mean": list(rule.mean), "std": list(rule.std)}


def check_room(path: Path) -> None:
    """Ask the system for the error that native code met while it wrote ``path``.

    Paddle leaves a file cut off where the disk is full and says nothing, OpenVINO says "iostream error"; one byte more
    then fails too, with the reason.

    Raises
    ------
    OSError
    """
    with path.open("ab") as file:
        length = file.tell()
        file.write(b"\0")
        file.flush()
        file.truncate(length)


def need(package: str) -> Any:
    """Import a package of the ``export`` extra. Raises EngineUnavailableError where it is not installed."""
    if package == "paddle":
        return import_paddle("converting", "streammatte[export]")
    try:
        with _as_guest():
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise EngineUnavailableError(
            f"converting needs {package}, which is not installed; install streammatte[export]"
        ) from error


def import_paddle(purpose: str, extra: str = "streammatte[cpu] or streammatte[gpu]") -> Any:
    """Import Paddle as a guest, which leaves logging and warnings alone.

    Parameters
    ----------
    purpose : str
        What needs it, and ``extra`` what to install for that, as the error says.

    Raises
    ------
    EngineUnavailableError
        It is not installed, or its native libraries do not load.
    """
    try:
        with _as_guest():
            return importlib.import_module("paddle")
    except Exception as error:  # what a broken installation raises is not to be foreseen
        if isinstance(error, ModuleNotFoundError) and error.name == "paddle":
            raise EngineUnavailableError(f"{purpose} needs Paddle, which is not installed; install {extra}") from error
        raise EngineUnavailableError(
            f"the installed Paddle cannot be imported ({type(error).__name__}: {told(error)}); "
            "install it again, or take --engine openvino"
        ) from error


@contextmanager
def _as_guest() -> Iterator[None]:
    """Put the root logger back as it was, and leave out one warning.

    Paddle's import, which paddle2onnx's brings along, adds a handler to the root logger; 3.3 also sets that to INFO, so
    every library's messages would come out, an embedder's own twice. And it warns of a compiler cache that only who
    builds operators could use.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No ccache found")
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


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
