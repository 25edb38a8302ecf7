"""``--average flip``: the mean of the mattes of an image and of its mirror image."""

import numpy as np
import pytest

from streammatte.engines import open_engine
from streammatte.engines.averaged import FlipAveragedEngine
from streammatte.protocols import Engine


class Done:
    def __init__(self, alpha):
        self._alpha = alpha

    def result(self):
        return self._alpha

    def foreground(self):
        return None


class Ramp:
    """Gives the red channel plus a ramp from left to right; remembers what it was given."""

    name = device = precision = precision_reason = "ramp"
    input_size, in_flight, recurrent = (4, 8), 3, False

    def __init__(self):
        self.given, self.closed = [], 0

    def submit(self, images, trimaps=None):
        self.given.append((images.copy(), None if trimaps is None else trimaps.copy()))
        return Done(images[..., 0].astype(np.float32) / 255 + np.linspace(0, 0.1, 8, dtype=np.float32))

    def reset(self):
        return None

    def close(self):
        self.closed += 1


def test_what_depends_on_the_side_is_averaged_out():
    engine = FlipAveragedEngine(Ramp())
    assert isinstance(engine, Engine)
    noise = np.random.default_rng(0)
    images, trimaps = noise.integers(0, 200, (2, 4, 8, 3), np.uint8), noise.integers(0, 256, (2, 4, 8), np.uint8)
    alpha = engine.submit(images, trimaps).result()
    np.testing.assert_allclose(alpha, images[..., 0] / np.float32(255) + 0.05, atol=1e-6)
    (_, (mirrored, across)) = engine._engine.given
    np.testing.assert_array_equal(mirrored, images[:, :, ::-1])
    np.testing.assert_array_equal(across, trimaps[:, :, ::-1])
    assert (engine.input_size, engine.in_flight) == ((4, 8), 3)
    engine.close()
    assert engine._engine.closed == 1


def test_the_network_sees_an_image_and_its_mirror_image_alike():
    image = np.random.default_rng(1).integers(0, 256, (1, 192, 192, 3), np.uint8)
    alphas = {}
    for average in ("off", "flip"):
        engine = open_engine(size=(192, 192), precision="f32", average=average, throughput=False)
        straight, mirrored = (engine.submit(np.ascontiguousarray(each)).result() for each in (image, image[:, :, ::-1]))
        alphas[average] = float(np.abs(straight - mirrored[..., ::-1]).max())
        engine.close()
    assert alphas["flip"] < 1e-5 < alphas["off"]


@pytest.mark.parametrize(
    ("options", "wanted"), [("ImageOptions", "flip"), ("VideoOptions", "off"), ("LiveOptions", "off")]
)
def test_where_it_is_on_by_default(options, wanted):
    from streammatte.options.images import ImageOptions
    from streammatte.options.live import LiveOptions
    from streammatte.options.presets import load_preset
    from streammatte.options.video import VideoOptions

    kinds = {"ImageOptions": ImageOptions, "VideoOptions": VideoOptions, "LiveOptions": LiveOptions}
    assert kinds[options]().average == wanted
    assert VideoOptions.build(load_preset("quality")).average == "flip"
