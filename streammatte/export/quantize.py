"""Post-training quantisation to 8 bits, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streammatte.errors import ConfigError
from streammatte.models.graph import is_state, static
from streammatte.optional_imports import import_openvino, need

__all__ = ["BAD_LOSS", "MIN_SAMPLES", "Loss", "Sample", "quantise", "quantise_measured"]

Sample = tuple[npt.NDArray[np.uint8], ...]
"""An image (H, W, 3) RGB and, for a network that needs one, its trimap (H, W, 1); sides as the network takes them."""

HELD_OUT = 5
"""Every fifth image is kept from the calibration and measures the loss."""
MIN_SAMPLES = 10
"""With fewer images the ranges of activations are unreliable."""
BAD_LOSS = 20.0
"""MAD x 1000 above which the user is warned: five of 255 levels all over the image are a visible haze."""


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss by quantisation: mean absolute difference of alpha to float32, times 1000 as mattes are scored.

    ``mad`` over the held-out images, ``worst`` of the worst of them, ``images`` their number, ``calibrated`` the
    number of those that were calibrated on.
    """

    mad: float
    worst: float
    images: int
    calibrated: int

    def __str__(self) -> str:
        return (
            f"int8 against f32: MAD {self.mad:.2f} (x 1000), worst image {self.worst:.2f}, "
            f"on {self.images} images that were not among the {self.calibrated} calibrated on"
        )


def quantise(model: Any, samples: Sequence[Sample], *, accurate: bool = False) -> Any:
    """Post-training quantisation to 8 bits; attention's products and the convolution that reads the image stay float.

    Measured on the embedded network: that first convolution in float takes 2 % more time, brings alpha a fifth closer
    to the float network's, and takes away a fifth of the haze that 8 bits lay over rooms without a person.

    Parameters
    ----------
    model : openvino.Model
        As :func:`streammatte.models.graph.normalised` gives it.
    samples : sequence of Sample
        What the network will get; varied.
    accurate : bool
        Correct biases layer by layer on the quantised network instead of by its float statistics: three times as long.
        On the embedded network MAD of stills is then that of float32 (11.7 for 11.9), and one empty room in 24 that
        had a haze of 0.04 alpha becomes clean.

    Raises
    ------
    EngineUnavailableError
        NNCF is not installed.
    """
    nncf = need("nncf")
    import_openvino()
    from openvino._offline_transformations import apply_moc_transformations

    # Else batch norms stand between a convolution and its 8-bit output, and neither NNCF nor OpenVINO takes them in.
    apply_moc_transformations(model, cf=False)
    first = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"][:1]
    return nncf.quantize(
        model,
        nncf.Dataset([[part[None] for part in sample] for sample in samples]),
        subset_size=len(samples),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=first, types=["MatMul"], validate=False),
        fast_bias_correction=not accurate,
    )


def quantise_measured(model: Any, samples: Sequence[Sample]) -> tuple[Any, Loss]:
    """Quantise a network and measure the loss on images that it was not calibrated on.

    Parameters and errors are those of :func:`quantise`, and:

    Raises
    ------
    ConfigError
        Fewer than ``MIN_SAMPLES`` images, or a recurrent network.
    """
    if len(samples) < MIN_SAMPLES:
        raise ConfigError(f"int8 is calibrated on {MIN_SAMPLES} images or more, got {len(samples)}; give more")
    if any(is_state(port) for port in model.inputs):
        raise ConfigError("a recurrent network cannot be made int8: its states are not in images; take --precision f16")
    shown = [sample for index, sample in enumerate(samples) if index % HELD_OUT]
    hidden = samples[::HELD_OUT]
    before = _alphas(model, hidden)
    small = quantise(model, shown)
    losses = [1000.0 * float(np.abs(new - old).mean()) for new, old in zip(_alphas(small, hidden), before, strict=True)]
    return small, Loss(float(np.mean(losses)), max(losses), len(hidden), len(shown))


def _alphas(model: Any, samples: Sequence[Sample]) -> list[npt.NDArray[np.float32]]:
    """What a network gives; compiled for each size, since OpenVINO crashes over some 8-bit graphs of open size."""
    ov = import_openvino()
    compiled: dict[tuple[int, ...], Any] = {}
    found = []
    for sample in samples:
        shape = sample[0].shape
        if shape not in compiled:
            sized = model.clone()
            static(sized, (1, *shape))
            compiled[shape] = ov.Core().compile_model(sized, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found.append(np.array(compiled[shape]([part[None] for part in sample])[0], np.float32))
    return found
