"""Make the embedded network's assets from its weights; weights of the same architecture drop in.

    python tools/export.py --calibration FOLDER

The calibration folder holds 160 or more varied images (JPEG or PNG) of what the network is used on: people near and
far, in rooms and outside, standing and seated, upright and wide, some by night. They are taken evenly over the sorted
names and are not shipped. Images that quality is measured on must not be among them: --without FOLDER leaves out the
names that stand there. The same weights and folders give the same assets. Needs the ``export`` extra.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import openvino as ov

from streammatte import networks
from streammatte.export.onnx import save_openvino, to_onnx
from streammatte.export.quantize import quantise
from streammatte.models.cards import load_card
from streammatte.models.graph import normalised
from streammatte.models.resolve import EMBEDDED_WEIGHTS

MODEL = "ppmattingv2-lite"
LONG_SIDE = 512
"""The product's default size; activations at other sizes have the same ranges."""
STEP = 32
WEIGHTS = EMBEDDED_WEIGHTS
ASSETS = Path(__file__).resolve().parents[1] / "streammatte" / "assets"
SUFFIXES = {".jpg", ".jpeg", ".png"}
IMAGES = 160
"""From 100 on, more images change the quality measured by less than the choice of images does."""


def main() -> None:
    """Read the command line and write the assets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help=".npz or .pdparams of the architecture")
    parser.add_argument("--calibration", type=Path, required=True, help="folder of varied images, 160 or more")
    parser.add_argument("--without", type=Path, help="folder of images whose names are left out of the calibration")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write the assets into")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    model = graph_of(options.weights)
    total = save_openvino(model, options.out / f"{MODEL}.f16.xml")
    samples = [(image,) for image in images(options.calibration, options.without)]
    if len(samples) < IMAGES:
        raise SystemExit(f"calibration needs {IMAGES} images, found {len(samples)}; give a larger folder")
    total += save_openvino(quantise(model, samples, accurate=True), options.out / f"{MODEL}.int8.xml")
    logging.info("assets in %s: %.1f MB", options.out, total / 1e6)


def graph_of(weights: Path) -> ov.Model:
    """The float graph of weights of the embedded architecture."""
    network = networks.create(MODEL, weights)
    with tempfile.TemporaryDirectory(prefix="streammatte-export-") as folder:
        onnx = to_onnx(network, Path(folder) / f"{MODEL}.onnx")
        model = normalised(ov.convert_model(str(onnx)), load_card(MODEL).input)
    model.set_friendly_name(MODEL)
    return model


def images(folder: Path, without: Path | None = None) -> Iterator[npt.NDArray[np.uint8]]:
    """Images of a folder, evenly over the sorted names, at the size at which the product would give them."""
    left_out = {path.stem for path in without.iterdir()} if without else set()
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.stem not in left_out)
    for i in np.linspace(0, len(paths) - 1, min(IMAGES, len(paths))).round().astype(int):
        image = cv2.imread(str(paths[i]), cv2.IMREAD_COLOR)
        if image is None:
            raise SystemExit(f"{paths[i]} cannot be read as an image")
        scale = LONG_SIDE / max(image.shape[:2])
        height, width = (max(6, round(side * scale / STEP)) * STEP for side in image.shape[:2])
        yield cv2.cvtColor(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


if __name__ == "__main__":
    main()
