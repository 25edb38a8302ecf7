"""The evaluation measures the mattes that users get."""

from contextlib import closing

import cv2
import numpy as np
import pytest
from support.videos import make_video, pattern_image

import streammatte
from streammatte.errors import ConfigError
from streammatte.evaluation.maker import NetworkMatteMaker
from streammatte.options.video import VideoOptions

MODEL = "ppmattingv2-lite"


def levels(alpha):
    return np.rint(alpha * 255).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"size": 192, "refine": "off"}])
def test_images_and_videos_are_matted_as_by_the_commands(tmp_path, options):
    still, video = tmp_path / "a.png", make_video(tmp_path / "a.mp4", frames=5, width=128, height=96)
    transparent = np.dstack(
        [pattern_image(0, 128, 96)[..., ::-1], np.tile(np.arange(128, dtype=np.uint8) * 2, (96, 1))]
    )
    cv2.imwrite(str(still), transparent)
    with closing(NetworkMatteMaker(VideoOptions(model=MODEL, **options))) as maker:
        assert maker.ran() == {}
        found = maker.still(still)
        assert maker.ran()["engine"] == "openvino"
        of_video = list(maker.video(video))
    wanted = streammatte.matte_image(still, model=MODEL, **options)
    np.testing.assert_array_equal(found.alpha, levels(wanted.alpha))
    np.testing.assert_array_equal(found.frame.planes[0], wanted.frame.planes[0])
    for matte, frame in zip(of_video, streammatte.stream(video, model=MODEL, **options), strict=True):
        np.testing.assert_array_equal(matte.alpha, levels(frame.alpha))


def test_networks_that_need_trimaps_are_refused_at_once():
    with pytest.raises(ConfigError, match="needs a trimap"):
        NetworkMatteMaker(VideoOptions(model="closed-form"))
