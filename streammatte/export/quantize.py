"""Eight bits: post-training quantisation, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.export.native_output import hushed

__all__ = ["BAD_LOSS", "FEWEST", "Loss", "Sample", "quantise_measured"]

U8 = npt.NDArray[np.uint8]
Sample = tuple[U8, ...]
"""A picture (H, W, 3) RGB and, for a network that needs one, its trimap (H, W, 1)."""

HELD_OUT = 5
"""Every fifth picture is kept from the calibration and measures the loss."""
FEWEST = 10
"""Pictures below which ranges of activations are guesswork."""
BAD_LOSS = 20.0
"""MAD x 1000 above which the user is warned: five of 255 levels all over the picture are a haze that is seen."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What eight bits cost: mean absolute difference of alpha to float32, times 1000 as mattes are scored.

    ``mad`` over the held-out pictures, ``worst`` of the worst of them, ``pictures`` their number, ``calibrated`` the
    number of those that were calibrated on.
    """

    mad: float
    worst: float
    pictures: int
    calibrated: int

    def __str__(self) -> str:
        return (
            f"int8 against fp32: MAD {self.mad:.2f} (x 1000), worst picture {self.worst:.2f}, "
            f"on {self.pictures} pictures that were not among the {self.calibrated} calibrated on"
        )


def quantise_measured(model: Any, samples: Sequence[Sample]) -> tuple[Any, Loss]:
    """Quantise a network and measure the loss on pictures that it was not calibrated on.

    Parameters
    ----------
    model : openvino.Model
        Takes (N, H, W, 3) uint8 (and a trimap (N, H, W, 1) uint8), gives alpha (N, h, w).
    samples : sequence of Sample
        At the size the network will run at; varied.

    Raises
    ------
    ConfigError
        Fewer than ``FEWEST`` pictures.
    EngineUnavailableError
        NNCF is not installed.
    """
    if len(samples) < FEWEST:
        raise ConfigError(f"int8 is calibrated on {FEWEST} pictures or more, got {len(samples)}; give more")
    from streammatte.export.onnx import quantise

    shown = [sample for index, sample in enumerate(samples) if index % HELD_OUT]
    hidden = samples[::HELD_OUT]
    before = _alphas(model, hidden)
    with hushed():
        small = quantise(model, shown, len(shown))
    losses = [1000.0 * float(np.abs(new - old).mean()) for new, old in zip(_alphas(small, hidden), before, strict=True)]
    return small, Loss(float(np.mean(losses)), max(losses), len(hidden), len(shown))


def _alphas(model: Any, samples: Sequence[Sample]) -> list[npt.NDArray[np.float32]]:
    import openvino as ov

    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(compiled([part[None] for part in sample])[0], np.float32) for sample in samples]
