"""A Paddle network as a program that Paddle Inference reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from streammatte.errors import ModelError
from streammatte.models.input_rule import TRANSFORMS, InputRule
from streammatte.optional_imports import message, need

__all__ = ["PARAMS", "PROGRAMS", "check_room", "write_deploy", "write_paddle", "write_program"]

PROGRAMS = ("model.json", "model.pdmodel")
"""What Paddle calls the program that it writes: from 3.0 on, and before."""
PARAMS = "model.pdiparams"


def write_paddle(network: Any, folder: Path, rule: InputRule, size: tuple[int, int] | None = None) -> Path:
    """Write a network as PaddleSeg's export does.

    The folder gets ``model.json`` (``model.pdmodel`` up to Paddle 2.6), ``model.pdiparams`` and ``deploy.yaml``; inputs
    are named ``img`` and, for networks that need one, ``trimap``. Alpha comes as the network computes it, at half size
    where it has an ``alpha_half``: it is enlarged along the image's edges later.

    Parameters
    ----------
    network : paddle.nn.Layer
        Put into evaluation mode.
    folder : Path
        Made where it is not there.
    rule : InputRule
    size : (int, int), optional
        Fixed height and width; without it both stay open.

    Raises
    ------
    EngineUnavailableError
        Paddle is not installed.
    ModelError
        The network cannot be traced.
    OSError
        The disk is full.
    """
    program = write_program(network, folder, "img", trimap=rule.trimap, size=size)
    write_deploy(folder, rule, program.name, PARAMS, type(network).__name__, size)
    return folder


def write_program(
    network: Any, folder: Path, image_name: str, *, trimap: bool = False, size: tuple[int, int] | None = None
) -> Path:
    """Trace a network and save it as Paddle does; returns the program, its ``model.pdiparams`` is beside it.

    Parameters
    ----------
    network, folder, size
        As :func:`write_paddle`, and raises as that.
    image_name : str
        Name of the first input, (N, 3, H, W) float32.
    trimap : bool
        Whether there is a second one, ``trimap``, (N, 1, H, W) float32.
    """
    paddle = need("paddle")
    network.eval()
    run: Callable[..., Any] = getattr(network, "alpha_half", network)

    class Traced(paddle.nn.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        # traced as it runs: Paddle's source transformation supports only a part of Python
        @paddle.jit.not_to_static  # type: ignore[untyped-decorator]
        def forward(self, image: Any, trimap: Any = None) -> Any:
            return run(image) if trimap is None else run(image, trimap)

    channels = {image_name: 3, "trimap": 1} if trimap else {image_name: 3}
    sides = size or (None, None)
    spec = [paddle.static.InputSpec([None, count, *sides], "float32", name) for name, count in channels.items()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        paddle.jit.save(paddle.jit.to_static(Traced(), input_spec=spec, full_graph=True), str(folder / "model"))
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:
        raise ModelError(f"{type(network).__name__} cannot be written as a Paddle program: {message(error)}") from error
    program = next((folder / name for name in PROGRAMS if (folder / name).is_file()), None)
    if program is None:
        raise ModelError(f"Paddle wrote no program of {type(network).__name__} into {folder}")
    for path in (program, folder / PARAMS):
        check_room(path)
    return program


def write_deploy(
    folder: Path, rule: InputRule, program: str, params: str, network: str, size: tuple[int, int] | None = None
) -> None:
    """Write the ``deploy.yaml`` that names an exported model's files and describes its input.

    Parameters
    ----------
    folder : Path
    rule : InputRule
    program, params : str
        Names of the files.
    network : str
        Its architecture.
    size : (int, int), optional
        Its only height and width.
    """
    table = {
        "model": program,
        "params": params,
        "input_shape": [None, 3, *(size or (None, None))],
        "trimap": rule.trimap,
        "transforms": [{"type": "LoadImages"}, *_transforms(rule)],
    }
    document = {"Deploy": table, "ModelName": network}
    (folder / "deploy.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _transforms(rule: InputRule) -> Iterator[dict[str, Any]]:
    for step in rule.steps:
        if step.kind == "fixed":
            yield {"type": "Resize", "target_size": [step.values[1], step.values[0]]}
        else:
            name, keys = TRANSFORMS[step.kind]
            given = {key: value for key, value in zip(keys, step.values, strict=True) if value is not None}
            yield {"type": name, **given}
    yield {"type": "Normalize", "mean": list(rule.mean), "std": list(rule.std)}


def check_room(path: Path) -> None:
    """Raise the OSError that native code met while it wrote ``path``, if any.

    Paddle leaves a file cut off where the disk is full and reports nothing, OpenVINO reports "iostream error"; one byte
    more then fails too, with the reason.
    """
    with path.open("ab") as file:
        length = file.tell()
        file.write(b"\0")
        file.flush()
        file.truncate(length)
