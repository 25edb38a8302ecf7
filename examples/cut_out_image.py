"""The matte of an image, and a transparent PNG: ``python examples/cut_out_image.py portrait.jpg cutout.png``."""

import sys

import numpy as np
from PIL import Image

import streammatte


def main(source: str, target: str) -> None:
    """Write the image with its matte as alpha channel."""
    matte = streammatte.matte_image(source)
    alpha = np.rint(matte.alpha * 255).astype(np.uint8)
    Image.fromarray(np.dstack([matte.frame.to_rgb(), alpha])).save(target)
    print(f"{target}: {matte.alpha.mean():.0%} of the image is the person")


if __name__ == "__main__":
    main(*sys.argv[1:])
