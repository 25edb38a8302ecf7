"""The metrics of a matte: the embedded network at two sizes, the larger one taken for the truth."""

import numpy as np

import streammatte
from streammatte import evaluation


def main() -> None:
    """Print MAD, MSE and Grad."""
    image = next(iter(streammatte.stream("samples/person.mp4", duration=0.1))).frame.to_rgb()
    truth, small = (np.asarray(streammatte.matte_image(image, size=size).alpha) for size in (512, 256))
    for name in ("mad", "mse", "grad"):
        print(f"{name}: {getattr(evaluation, name)(small, truth):.4f}")


if __name__ == "__main__":
    main()
