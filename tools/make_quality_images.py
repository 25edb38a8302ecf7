"""Make the side-by-side images of docs/quality.md from the sample clip, with the product's own commands.

    python tools/make_quality_images.py [FOLDER]

FOLDER is docs/quality unless given.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "samples" / "person.mp4"
TIME = "1"
QUALITY = 82

SHEETS: dict[str, list[tuple[str, list[str]]]] = {
    "refine": [
        ("--refine off", ["--bg", "red", "--refine", "off"]),
        ("--refine fast", ["--bg", "red", "--refine", "fast"]),
        ("--refine best", ["--bg", "red", "--refine", "best"]),
    ],
    "foreground": [
        ("--no-estimate-foreground", ["--bg", "white", "--no-estimate-foreground"]),
        ("default", ["--bg", "white"]),
        ("--refine best", ["--bg", "white", "--refine", "best"]),
    ],
    "edge": [
        ("--edge -3", ["--bg", "black", "--edge", "-3"]),
        ("default", ["--bg", "black"]),
        ("--edge 3 --feather 3", ["--bg", "black", "--edge", "3", "--feather", "3"]),
    ],
    "light": [
        ("--match-light off", ["--bg", str(ROOT / "samples" / "beach.jpg")]),
        ("--match-light on", ["--bg", str(ROOT / "samples" / "beach.jpg"), "--match-light", "on"]),
    ],
}

CROP = 300
"""Pixels a side of what is shown of edges, around the top of the head."""


def snapshot(source: Path, target: Path, arguments: list[str]) -> U8:
    """One frame as ``streammatte video --snapshot`` writes it."""
    command = [
        sys.executable,
        "-m",
        "streammatte",
        "video",
        str(source),
        str(target),
        "--snapshot",
        TIME,
        "--overwrite",
    ]
    subprocess.run([*command, *arguments], check=True, capture_output=True)
    return np.asarray(cv2.imread(str(target), cv2.IMREAD_COLOR), np.uint8)


def spot(folder: Path) -> tuple[int, int]:
    """Left and top of the crop: where the matte begins at the top."""
    snapshot(CLIP, folder / "any.png", ["--bg", "black", "--alpha", str(folder / "alpha.png")])
    alpha = cv2.imread(str(folder / "alpha.png"), cv2.IMREAD_GRAYSCALE)
    rows, columns = np.nonzero(alpha > 127)
    top = max(int(rows.min()) - CROP // 8, 0)
    middle = int(columns[rows < rows.min() + CROP // 2].mean())
    return min(max(middle - CROP // 2, 0), alpha.shape[1] - CROP), min(top, alpha.shape[0] - CROP)


def sheet(images: list[tuple[str, U8]]) -> U8:
    """Images side by side, each under its name."""
    tiles = []
    for name, image in images:
        label = np.full((28, image.shape[1], 3), 255, np.uint8)
        cv2.putText(label, name, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        tiles += [np.vstack([label, image]), np.full((image.shape[0] + 28, 6, 3), 255, np.uint8)]
    return np.hstack(tiles[:-1])


def screen_clip(folder: Path) -> Path:
    """The person before a green screen whose light falls on everything a little."""
    plain, alpha = folder / "screen.png", folder / "screen_alpha.png"
    image = snapshot(CLIP, plain, ["--bg", "#00b140", "--alpha", str(alpha)]).astype(np.float32)
    matte = cv2.imread(str(alpha), cv2.IMREAD_GRAYSCALE).astype(np.float32)[..., None] / 255
    near = np.clip(2 * (1 - cv2.blur(matte, (81, 81))), 0, 1)[..., None] * matte
    image += 0.3 * near * np.array([64, 177, 0], np.float32)
    lit = folder / "lit"
    lit.mkdir()
    for number in range(8):
        cv2.imwrite(str(lit / f"{number:04d}.png"), np.clip(image, 0, 255).astype(np.uint8))
    return lit / "%04d.png"


def main(arguments: list[str]) -> int:
    """Write the sheets."""
    target = Path(arguments[0]) if arguments else ROOT / "docs" / "quality"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left, top = spot(folder)
        for title, views in SHEETS.items():
            images = []
            for label, options in views:
                whole = snapshot(CLIP, folder / "view.png", options)
                if title == "light":
                    shown = cv2.resize(
                        whole, (480, 480 * whole.shape[0] // whole.shape[1]), interpolation=cv2.INTER_AREA
                    )
                else:
                    shown = whole[top : top + CROP, left : left + CROP]
                images.append((label, np.asarray(shown, np.uint8)))
            cv2.imwrite(str(target / f"{title}.jpg"), sheet(images), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        screen = screen_clip(folder)
        images = []
        for mode in ("off", "auto"):
            options = ["--bg", "#404040", "--despill", mode, "--rate", "4"]
            whole = snapshot(screen, folder / "view.png", options)
            images.append((f"--despill {mode}", whole[top : top + CROP, left : left + CROP]))
        cv2.imwrite(str(target / "despill.jpg"), sheet(images), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
