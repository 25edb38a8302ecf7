"""Names of networks and their factories. A network's module is imported when it is created."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from streammatte.errors import ModelNotFoundError

__all__ = ["create", "names"]

_FACTORIES = {
    "ppmattingv2-stdc1-human_512": "streammatte.networks.ppmattingv2:PPMattingV2",
    "ppmatting-hrnet_w18-human_512": "streammatte.networks.ppmatting:PPMatting",
    "ppmatting-hrnet_w18-human_1024": "streammatte.networks.ppmatting:PPMatting",
    "human_matting-resnet34_vd": "streammatte.networks.human_matting:HumanMatting",
    "modnet-mobilenetv2": "streammatte.networks.modnet:modnet_mobilenetv2",
    "modnet-resnet50_vd": "streammatte.networks.modnet:modnet_resnet50_vd",
    "modnet-hrnet_w18": "streammatte.networks.modnet:modnet_hrnet_w18",
    "dim-vgg16": "streammatte.networks.dim:DIM",
    "gca-resguidedcxtatten": "streammatte.networks.gca:GCA",
    "ppmattingv2-lite": "streammatte.networks.ppmattingv2_lite:PPMattingV2Lite",
}
"""Name of a network -> ``module:factory``; the factory takes no argument and gives a ``paddle.nn.Layer``."""


def names() -> tuple[str, ...]:
    """Names that :func:`create` takes, in the order of the table."""
    return tuple(_FACTORIES)


def create(name: str, pretrained: str | Path | None = None) -> Any:
    """Build a network.

    Parameters
    ----------
    name : str
        One of :func:`names`.
    pretrained : path, optional
        Weights to load by name, strictly: ``.pdparams`` or ``.npz``. Without it the weights are random.

    Returns
    -------
    paddle.nn.Layer
        ``forward(image, trimap=None) -> alpha``: image (N, 3, H, W) float32 RGB in [-1, 1]; trimap (N, 1, H, W) float32
        in {0, 128, 255}, which only DIM and GCA use; alpha (N, 1, H, W) float32 in [0, 1]. In training mode, a dict
        with ``alpha`` and what the published losses need besides.

    Raises
    ------
    ModelNotFoundError
        The name or the file of weights is unknown.
    ModelError
        The weights are not this network's.
    EngineUnavailableError
        Paddle is not installed.
    """
    if name not in _FACTORIES:
        raise ModelNotFoundError(f"no network is named {name!r}; known: {', '.join(_FACTORIES)}")
    from streammatte.optional_imports import import_paddle

    import_paddle(f"network {name!r}")
    module, factory = _FACTORIES[name].split(":")
    network = getattr(importlib.import_module(module), factory)()
    if pretrained is not None:
        from streammatte.networks.checkpoints import load

        load(network, pretrained)
    return network
