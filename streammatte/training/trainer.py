"""The training loop: steps, atomic checkpoints, validation, logs."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streammatte.errors import ConfigError, StreammatteError
from streammatte.models.resolve import EMBEDDED, EMBEDDED_WEIGHTS
from streammatte.models.store import usable_files
from streammatte.network_size import SIDE_MULTIPLE
from streammatte.networks import create
from streammatte.networks.checkpoints import read_state
from streammatte.optional_imports import import_paddle
from streammatte.sinks.atomic import whole_file
from streammatte.training.datasets import Batches, Entry, Samples, find_entries, loaded
from streammatte.training.model_card import model_card
from streammatte.training.output import LOG, State, TrainingFolder
from streammatte.training.parameters import make_optimizer, rate_at, set_training, trained_parameters
from streammatte.training.recipe import Recipe
from streammatte.training.validation import evenly, input_rule, unit, validate

__all__ = ["Trained", "Trainer", "TrainingProgress"]

log = logging.getLogger(__name__)

_SMOOTH = 0.98
"""Share of the running mean of the loss that a step keeps."""
_SHOWN = 4
"""Samples in a sheet of samples."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a training."""

    step: int
    steps: int
    loss: float
    rate: float
    images_per_second: float
    seconds: float
    metric: float | None

    @property
    def remaining(self) -> float | None:
        """Seconds left at this speed."""
        return (self.steps - self.step) * self.seconds if self.seconds else None


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training."""

    step: int
    steps: int
    loss: float
    metric: float | None
    stopped: bool
    output: Path


class Trainer:
    """Trains a network by a recipe.

    Parameters
    ----------
    recipe : Recipe
    output : Path
        Gets ``log.jsonl``, ``last.pdparams``, ``best.pdparams`` and its card ``best.yml``, ``checkpoint.npz``,
        ``curves.html``, ``samples/``.
    resume : bool
        Go on from the checkpoint there; exactly, since samples follow from their numbers.
    on_progress : callable, optional
        Called after each step.

    Raises
    ------
    ConfigError, SourceError, ModelError, EngineUnavailableError
    """

    def __init__(
        self,
        recipe: Recipe,
        output: Path,
        *,
        resume: bool = False,
        on_progress: Callable[[TrainingProgress], None] | None = None,
    ) -> None:
        self.recipe, self.output, self._on_progress = recipe, output, on_progress
        self._paddle = paddle = import_paddle("training")
        if recipe.data is None:
            raise ConfigError("training needs data: give --data FOLDER")
        self._rank, self._ranks = _join_ranks(paddle)
        self._entries = find_entries(Path(recipe.data))
        multiple = math.lcm(SIDE_MULTIPLE, input_rule(recipe.network).multiple)
        if recipe.size % multiple:
            raise ConfigError(f"{recipe.network} takes sizes that are multiples of {multiple}, got {recipe.size}")
        Samples(recipe, self._entries)  # refuses what is wrong before anything is made
        self._folder = TrainingFolder(output, resume=resume)
        self.steps = recipe.iters
        if recipe.epochs:
            self.steps = max(1, recipe.epochs * len(self._entries) // (recipe.batch * recipe.accumulate * self._ranks))
        paddle.seed(recipe.seed)
        self._network = create(recipe.network, _weights(recipe))
        self._losses = _losses_of(recipe)
        self._trained = trained_parameters(self._network, recipe.freeze)
        self._optimizer = make_optimizer(paddle, recipe, [value for _, value in self._trained])
        self._scaler = paddle.amp.GradScaler(enable=recipe.amp == "f16")
        self._mean = _copied(self._network) if recipe.ema else None
        self._begin = _copied(self._network) if recipe.blend < 1 else None
        self._step, self._best, self._running = 0, math.inf, math.nan
        self._metric: float | None = None
        self._stopping = False
        if resume:
            self._restore()
        elif self._main:
            (output / LOG).unlink(missing_ok=True)

    @property
    def network(self) -> Any:
        """The network, ``paddle.nn.Layer``."""
        return self._network

    @property
    def best(self) -> float:
        """The lowest metric, or running loss, so far."""
        return self._best

    def prepare(self) -> None:
        """Set the network to training mode again, after evaluation."""
        set_training(self._network, self.recipe.freeze)

    @property
    def _main(self) -> bool:
        return self._rank == 0

    def stop(self, *, discard: bool = False) -> None:
        """End after this step, with a checkpoint. Safe from a signal handler."""
        self._stopping = True

    def run(self) -> Trained:
        """Train to the end, or until :meth:`stop`.

        Raises
        ------
        StreammatteError
            The loss is not finite: the batch is saved, the last checkpoint stays. Files cannot be read or written.
        """
        recipe, began = self.recipe, time.monotonic()
        if self._main:
            self._folder.begin(recipe)
        seconds = 0.0
        loss = self._running
        for batches in self._batches():
            facts = self._one_step(batches)
            loss = facts["loss"]
            self._running = loss if math.isnan(self._running) else _SMOOTH * self._running + (1 - _SMOOTH) * loss
            seconds, began = time.monotonic() - began, time.monotonic()
            speed = recipe.batch * recipe.accumulate * self._ranks / seconds
            done = self._step >= self.steps or self._stopping
            if self._main:
                short = {
                    name: float(f"{value:.7g}") if isinstance(value, float) else value for name, value in facts.items()
                }
                self._folder.log({**short, "images_per_second": round(speed, 3), "seconds": round(seconds, 4)})
                if self._step % recipe.sample_every == 0 or done:
                    self._draw(batches[-1])
            if self._step % recipe.evaluate_every == 0 or done:
                self._evaluate()
            if (self._step % recipe.save_every == 0 or done) and self._main:
                self._save()
            if self._on_progress is not None:
                rate = facts["lr"]
                now = TrainingProgress(self._step, self.steps, self._running, rate, speed, seconds, self._metric)
                self._on_progress(now)
            if done:
                break
        if self._main:
            self._describe()
        return Trained(self._step, self.steps, self._running, self._metric, self._step < self.steps, self.output)

    def _batches(self) -> Iterator[list[list[Any]]]:
        """For each step its batches: as many as are accumulated."""
        recipe, first = self.recipe, self._step * self.recipe.accumulate
        left = self.steps * recipe.accumulate - first
        make = _Make(recipe, tuple(self._entries))
        pairs = recipe.temporal > 0
        data = Batches(make, recipe.batch, first, left, rank=self._rank, ranks=self._ranks, pairs=pairs)
        collected: list[list[Any]] = []
        for arrays in loaded(data, recipe.workers):
            collected.append([self._paddle.to_tensor(array) for array in arrays])
            if len(collected) == recipe.accumulate:
                yield collected
                collected = []

    def _one_step(self, batches: list[list[Any]]) -> dict[str, Any]:
        recipe, paddle = self.recipe, self._paddle
        rate = rate_at(recipe, self._step, self.steps)
        self._optimizer.set_lr(rate)
        sums: dict[str, float] = {}
        for batch in batches:
            labels = _labels(batch)
            kind = {"bf16": "bfloat16", "f16": "float16"}.get(recipe.amp, "float32")
            with paddle.amp.auto_cast(enable=recipe.amp != "off", dtype=kind if recipe.amp != "off" else "float16"):
                outputs = self._network(labels["image"], labels["trimap"])
            outputs = {name: value.astype("float32") for name, value in outputs.items()}
            parts = self._losses(outputs, labels, self._network)
            parts = {name: value * recipe.losses.get(name, 1.0) for name, value in parts.items()}
            if recipe.temporal:
                from streammatte.training.losses import consistency

                parts["temporal"] = recipe.temporal * consistency(outputs["alpha"], labels["alpha"])
            whole = paddle.add_n(list(parts.values())) / len(batches)
            if not bool(paddle.isfinite(whole)):
                raise self._not_finite(batch)
            self._scaler.scale(whole / self._ranks).backward()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value) / len(batches)
        if self._ranks > 1:
            sums = self._shared(sums)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.clear_grad()
        self._step += 1
        self._average()
        return {"step": self._step, "loss": sum(sums.values()), "lr": rate, **sums}

    def _shared(self, sums: dict[str, float]) -> dict[str, float]:
        """Sum the gradients of all processes, whose losses are divided by their number; returns the mean losses."""
        dist = self._paddle.distributed
        for _, value in self._trained:
            if value.grad is not None:
                dist.all_reduce(value.grad)
        values = self._paddle.to_tensor(list(sums.values()), dtype="float32")
        dist.all_reduce(values)
        return dict(zip(sums, (values / self._ranks).tolist(), strict=True))

    def _average(self) -> None:
        if self._mean is None:
            return
        keep = min(self.recipe.ema, self._step / (self._step + 10))
        with self._paddle.no_grad():
            for name, value in self._network.state_dict().items():
                mean = self._mean[name]
                floating = "float" in str(value.dtype)
                self._mean[name] = keep * mean + (1 - keep) * value if floating else value.clone()

    def _not_finite(self, batch: list[Any]) -> StreammatteError:
        path = self.output / f"not-finite-{self._step + 1}.npz"
        names = ("image", "alpha", "trimap", "foreground", "background")
        np.savez(path, **{name: value.numpy() for name, value in zip(names, batch, strict=True)})  # type: ignore[arg-type]
        return StreammatteError(
            f"the loss is not finite at step {self._step + 1}; its batch is in {path}, the last checkpoint stays: "
            "try a lower learning rate or --set clip=1"
        )

    def _draw(self, batch: list[Any]) -> None:
        """Write a sheet of samples: images, true mattes, the network's mattes."""
        image, alpha = batch[0][:_SHOWN], batch[1][:_SHOWN]
        self._network.eval()
        with self._paddle.no_grad():
            found = self._network(unit(image), batch[2][:_SHOWN].astype("float32")).numpy()
        set_training(self._network, self.recipe.freeze)
        images = image.numpy().transpose(0, 2, 3, 1)
        self._folder.write_sheet(self._step, images, alpha.numpy()[:, 0], np.clip(found, 0, 1)[:, 0] * 255)

    def _result(self) -> dict[str, Any]:
        """The resulting weights: the moving average where there is one, blended with the initial weights."""
        state = self._mean or _copied(self._network)
        if self._begin is None:
            return state
        share, begin = self.recipe.blend, self._begin
        return {
            name: (1 - share) * begin[name] + share * value if "float" in str(value.dtype) else value
            for name, value in state.items()
        }

    def _evaluate(self) -> None:
        """Write best.pdparams where the validation, or without one the running loss, is the lowest so far."""
        recipe, state = self.recipe, self._result()
        if recipe.validation:
            saved = _copied(self._network)
            self._network.set_state_dict(state)
            entries = evenly(find_entries(Path(recipe.validation), "val"), recipe.evaluate_images)
            self._metric = validate(self._network, recipe.network, entries, (recipe.metric,))[recipe.metric]
            self._network.set_state_dict(saved)
            set_training(self._network, recipe.freeze)
            if self._main:
                self._folder.log({"validated": self._step, recipe.metric: self._metric})
        value = self._running if self._metric is None else self._metric
        if value < self._best and self._main:
            self._best = value
            self._folder.write_weights("best.pdparams", state)

    def _describe(self) -> None:
        """Write the card of best.pdparams beside it, with the zoo's metrics where there is a validation."""
        recipe, quality = self.recipe, {}
        best = self.output / "best.pdparams"
        if recipe.validation and best.is_file() and not self._stopping:
            saved = _copied(self._network)
            self._network.set_state_dict(read_state(best))
            entries = evenly(find_entries(Path(recipe.validation), "val"), recipe.evaluate_images)
            quality = validate(self._network, recipe.network, entries, ("mad", "sad", "mse", "grad", "conn"))
            self._network.set_state_dict(saved)
        with whole_file(best.with_suffix(".yml")) as temporary:
            temporary.write_text(model_card(recipe, len(self._entries), self._step, quality), encoding="utf-8")

    def _save(self) -> None:
        facts: dict[str, Any] = {"network": self.recipe.network, "seed": self.recipe.seed, "steps": self.steps}
        facts |= {"step": self._step, "best": self._best, "running": self._running, "metric": self._metric}
        parts = {"model": self._network.state_dict(), "mean": self._mean or {}, "optimizer": self._optimizer_state()}
        self._folder.write_checkpoint(parts, facts)
        self._folder.write_weights("last.pdparams", self._result())

    def _optimizer_state(self) -> State:
        """The optimiser's state, under the network's own names of the parameters."""
        names = sorted(((value.name, name) for name, value in self._trained), key=lambda pair: -len(pair[0]))
        found: State = {}
        for key, value in self._optimizer.state_dict().items():
            owner = next(((outputs, name) for outputs, name in names if key.startswith(f"{outputs}_")), None)
            if owner is not None and hasattr(value, "numpy"):
                found[f"{owner[1]}|{key[len(owner[0]) :]}"] = np.array(value.numpy())
        return found

    def _restore(self) -> None:
        parts, facts = self._folder.read_checkpoint()
        if facts["network"] != self.recipe.network or facts["seed"] != self.recipe.seed:
            raise ConfigError(
                f"{self.output} is a training of {facts['network']} with seed {facts['seed']}; resume it with these"
            )
        self._network.set_state_dict(parts["model"])
        self._mean = {name: self._paddle.to_tensor(value) for name, value in parts.get("mean", {}).items()} or None
        outputs = {name: value.name for name, value in self._trained}
        keys = (key.partition("|") for key in parts.get("optimizer", {}))
        state = {f"{outputs[name]}{rest}": parts["optimizer"][f"{name}|{rest}"] for name, _, rest in keys}
        self._optimizer.set_state_dict({key: self._paddle.to_tensor(value) for key, value in state.items()})
        self._step, self._best, self._running = facts["step"], facts["best"], facts["running"]
        self._metric = facts["metric"]
        if self._main:
            self._folder.cut_log(self._step)


@dataclass(frozen=True, slots=True)
class _Make:
    """Makes the samples in a worker process."""

    recipe: Recipe
    entries: tuple[Entry, ...]

    def __call__(self) -> Samples:
        return Samples(self.recipe, self.entries)


def _weights(recipe: Recipe) -> str | Path | None:
    if recipe.init != "published":
        return recipe.init
    if recipe.network in EMBEDDED:
        return EMBEDDED_WEIGHTS
    found = usable_files(recipe.network).checkpoint
    if found is None:
        raise ConfigError(f"there is no checkpoint of {recipe.network} here; streammatte models pull {recipe.network}")
    return found


def _join_ranks(paddle: Any) -> tuple[int, int]:
    """The number of this process and how many there are; they were started by ``paddle.distributed.launch``."""
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1:
        paddle.distributed.init_parallel_env()
        return paddle.distributed.get_rank(), paddle.distributed.get_world_size()
    return 0, 1


def _copied(network: Any) -> dict[str, Any]:
    """A network's state as tensors of its own."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _losses_of(recipe: Recipe) -> Any:
    from streammatte.training.losses import network_losses

    return network_losses(recipe.network)


def _labels(batch: list[Any]) -> Mapping[str, Any]:
    image, alpha, trimap, foreground, background = batch
    return {
        "image": unit(image),
        "alpha": alpha.astype("float32") / 255,
        "trimap": trimap.astype("float32"),
        "foreground": unit(foreground),
        "background": unit(background),
    }
