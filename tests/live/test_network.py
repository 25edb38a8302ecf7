"""The embedded network on a video as camera: what was recorded is compared with the mattes, pixel by pixel."""

import av
import cv2
import numpy as np
import pytest

from streammatte.live.build import build_live
from streammatte.options.live import LiveOptions

BACKGROUND = "#3060a0"
RGB = np.array((0x30, 0x60, 0xA0), int)
EDGE = 17
"""Pixels around the matte that the encoder's blocks may blur."""
NEAR = 16
"""Levels that an encoder at this quality may move a flat colour by."""


@pytest.mark.slow
def test_recorded_pixels_outside_the_matte_are_the_background(samples, tmp_path):
    target = tmp_path / "out.mkv"
    options = LiveOptions(
        camera=str(samples / "person.mp4"),
        backgrounds=(BACKGROUND,),
        record=str(target),
        duration=4.0,
        adaptive=False,
        width=640,
        height=360,
        size=256,
    )
    session = build_live(options)
    scenes, alphas = session.pipeline._stages._scenes, {}
    compose = scenes.compose

    def remember(matte, settings):
        alphas[round(float(matte.frame.time) * 1000)] = matte.alpha.copy()
        return compose(matte, settings)

    scenes.compose = remember
    status = session.pipeline.run()
    assert status.frames > 10
    looked_at = held = 0
    with av.open(str(target)) as video:
        for image in video.decode(video=0):
            off = np.abs(image.to_ndarray(format="rgb24").astype(int) - RGB).max(axis=-1)
            alpha = alphas.get(round(image.time * 1000))
            if alpha is None:
                held += 1
                assert off.max() <= NEAR, "a frame without a matte is not the placeholder frame"
                continue
            reach = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((2 * EDGE + 1,) * 2, np.uint8))
            assert off[reach == 0].max() <= NEAR
            assert (off[alpha == 255] > NEAR).mean() > 0.5
            looked_at += int((reach == 0).sum())
    print(f"\n{status.frames} frames, {held} held, {looked_at} pixels outside the matte compared")
    assert looked_at > 1_000_000
