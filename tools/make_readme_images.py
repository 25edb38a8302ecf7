"""Make the images of README from the samples: ``python tools/make_readme_images.py``.

``docs/images/before-after.jpg`` shows a frame before, its matte and the composite; ``docs/images/live.webp`` moves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import streammatte

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 40
"""The frame of the still."""
WIDTH, STEP, SIDE = 480, 3, 320
"""Width of each of the three images; every third frame of the animation, and its width."""


def main() -> None:
    """Write both files."""
    target = ROOT / "docs" / "images"
    target.mkdir(exist_ok=True)
    before = ROOT / "samples" / "person.mp4"
    frames: list[Image.Image] = []
    with Image.open(ROOT / "samples" / "beach.jpg") as beach:
        for matte in streammatte.stream(before, duration=3.0, smooth="high"):
            rgb, alpha = matte.frame.to_rgb(), matte.alpha[..., None]
            back = np.asarray(beach.convert("RGB").resize((rgb.shape[1], rgb.shape[0])), np.float32)
            composite = Image.fromarray((alpha * rgb + (1 - alpha) * back).round().astype(np.uint8))
            if matte.frame.index == SHOWN:
                shown = [Image.fromarray(rgb), Image.fromarray((matte.alpha * 255).astype(np.uint8)), composite]
            if matte.frame.index % STEP == 0:
                pair = Image.new("RGB", (2 * rgb.shape[1], rgb.shape[0]))
                pair.paste(Image.fromarray(rgb), (0, 0))
                pair.paste(composite, (rgb.shape[1], 0))
                frames.append(pair.resize((2 * SIDE, SIDE * rgb.shape[0] // rgb.shape[1]), Image.Resampling.LANCZOS))
    height = WIDTH * shown[0].height // shown[0].width
    sheet = Image.new("RGB", (3 * WIDTH, height))
    for place, image in enumerate(shown):
        sheet.paste(image.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS), (place * WIDTH, 0))
    sheet.save(target / "before-after.jpg", quality=88)
    first, *rest = frames
    first.save(
        target / "live.webp", save_all=True, append_images=rest, duration=33 * STEP, loop=0, quality=55, method=6
    )
    for path in sorted(target.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
