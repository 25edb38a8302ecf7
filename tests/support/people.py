"""Labelled images that training tests learn from."""

import cv2
import numpy as np


def write_people(folder, count=3, size=(80, 64), parts=("images", "alphas")):
    """Discs of a colour each before another, with exact mattes."""
    for part in parts:
        (folder / part).mkdir(parents=True, exist_ok=True)
    width, height = size
    y, x = np.mgrid[:height, :width]
    for number in range(count):
        alpha = np.clip((18 - np.hypot(y - height / 2, x - width / 2 - number)) * 60 + 128, 0, 255).astype(np.uint8)
        share = alpha[..., None] / 255
        fore, back = np.array([40 + 40 * number, 90, 200]), np.array([200, 60 + 30 * number, 40])
        image = np.rint(fore * share + back * (1 - share)).astype(np.uint8)
        cv2.imwrite(str(folder / parts[0] / f"p{number}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / parts[1] / f"p{number}.png"), alpha)
    return folder
