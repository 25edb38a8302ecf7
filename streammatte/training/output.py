"""The output folder of a training: log, weights, checkpoint, curves and sheets of samples. Files appear whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError, ModelError
from streammatte.networks.checkpoints import write_state
from streammatte.sinks.atomic import whole_file, writing
from streammatte.training.curves import curves_page
from streammatte.training.recipe import Recipe

__all__ = ["LOG", "State", "TrainingFolder"]

LOG = "log.jsonl"
_CHECKPOINT = "checkpoint.npz"

State = dict[str, npt.NDArray[Any]]


class TrainingFolder:
    """Writes what a training gives.

    Parameters
    ----------
    path : Path
        Made where it is not there.
    resume : bool
        It must hold a checkpoint; otherwise none.

    Raises
    ------
    ConfigError, SinkError
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self._visual: Any = None
        there = path / _CHECKPOINT
        if resume and not there.is_file():
            raise ConfigError(f"{path} holds no {_CHECKPOINT} to go on from; leave out --resume")
        if not resume and there.exists():
            raise ConfigError(f"{path} holds a training already; go on with --resume, or name another --output")
        with writing(path):
            (path / "samples").mkdir(parents=True, exist_ok=True)

    def begin(self, recipe: Recipe) -> None:
        """Write the recipe, and open VisualDL's log where that is installed."""
        text = json.dumps(attrs.asdict(recipe), indent=1)  # type: ignore[arg-type]
        with whole_file(self.path / "recipe.json") as temporary:
            temporary.write_text(text, encoding="utf-8")
        try:
            from visualdl import LogWriter  # type: ignore[import-not-found]
        except ImportError:
            return
        self._visual = LogWriter(logdir=str(self.path / "visualdl"))

    def log(self, facts: Mapping[str, Any]) -> None:
        """Append a line to the log."""
        with writing(self.path / LOG), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(facts)) + "\n")
        if self._visual is not None and "loss" in facts:
            for name in ("loss", "lr"):
                self._visual.add_scalar(tag=name, step=facts["step"], value=facts[name])

    def cut_log(self, step: int) -> None:
        """Drop the lines of steps after ``step``, which will be repeated; a step of 0 starts a new log."""
        path = self.path / LOG
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                facts = json.loads(line)
            except ValueError:  # a line that was being written
                continue
            if facts.get("step", facts.get("validated", 0)) <= step:
                kept.append(line)
        with whole_file(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write_weights(self, name: str, state: Mapping[str, Any]) -> None:
        """Write weights or a checkpoint, tensors or arrays by name."""
        arrays = {key: np.array(value.numpy() if hasattr(value, "numpy") else value) for key, value in state.items()}
        with whole_file(self.path / name) as temporary:
            write_state(arrays, temporary, kind=Path(name).suffix)

    def write_checkpoint(self, parts: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
        """Write the checkpoint and the page of curves.

        Parameters
        ----------
        parts : mapping
            Tensors by name, under the name of the part.
        facts : mapping
            Plain values.
        """
        arrays = {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}
        arrays["facts"] = np.frombuffer(json.dumps(dict(facts)).encode(), np.uint8)
        self.write_weights(_CHECKPOINT, arrays)
        with whole_file(self.path / "curves.html") as temporary:
            temporary.write_text(curves_page(self.path / LOG), encoding="utf-8")

    def read_checkpoint(self) -> tuple[dict[str, State], dict[str, Any]]:
        """The parts and the facts of the checkpoint. Raises ModelError."""
        path = self.path / _CHECKPOINT
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            facts = json.loads(bytes(arrays.pop("facts")))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ModelError(f"{path} cannot be read ({error}); start again without --resume") from error
        parts: dict[str, State] = {}
        for name, value in arrays.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = value
        return parts, facts

    def write_sheet(self, step: int, images: npt.NDArray[Any], *mattes: npt.NDArray[Any]) -> None:
        """Write a sheet of samples: a row of images (N, H, W, 3) RGB, and a row for each mattes (N, H, W), 0 to 255.

        Parameters
        ----------
        step : int
        images : (N, H, W, 3)
            RGB.
        *mattes : (N, H, W)
            0 to 255.
        """
        rows = [images, *(np.repeat(matte[..., None], 3, -1) for matte in mattes)]
        sheet = np.vstack([np.hstack(list(row)) for row in rows]).astype(np.uint8)[..., ::-1]
        with whole_file(self.path / "samples" / f"{step:07d}.jpg") as temporary:
            temporary.write_bytes(cv2.imencode(".jpg", sheet)[1].tobytes())
