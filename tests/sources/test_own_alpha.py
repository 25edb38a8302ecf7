"""The alpha of an input: every format that has one is read, and multiplies the matte."""

from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from support.videos import make_video

import streammatte
from streammatte.build import build_pipeline
from streammatte.errors import UnsupportedSourceError
from streammatte.media.capabilities import has_encoder
from streammatte.options.video import VideoOptions
from streammatte.sinks import MemorySink
from streammatte.sources import open_source

FORMATS = [
    ("a.mov", "prores_ks", "yuva444p10le", {}),
    ("a.webm", "libvpx-vp9", "yuva420p", {"auto-alt-ref": "0"}),
    ("b.webm", "libvpx", "yuva420p", {"auto-alt-ref": "0"}),
    ("b.mov", "qtrle", "argb", {}),
    ("c.mov", "png", "rgba", {}),
    ("a.apng", "apng", "rgba", {}),
    ("a.mkv", "ffv1", "bgra", {}),
]


def half_transparent(index, width, height):
    rgba = np.full((height, width, 4), 120, np.uint8)
    rgba[..., 3] = np.where(np.arange(width) < width // 2, 0, 255)
    return rgba


def write(path, codec, pix_fmt, options):
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(half_transparent(index, 96, 64), format="rgba").reformat(format=pix_fmt)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), FORMATS)
def test_every_format_gives_its_alpha(tmp_path, name, codec, pix_fmt, options):
    if not has_encoder(codec):
        pytest.skip(f"no {codec} here")
    with closing(open_source(write(tmp_path / name, codec, pix_fmt, options))) as source:
        frames = list(source.frames())
    assert source.info.has_alpha and len(frames) == 4
    for frame in frames:
        assert frame.alpha[:, :44].max() <= 2 and frame.alpha[:, 52:].min() >= 253


class Opaque:
    """An engine that takes all for a person."""

    name, device, precision, precision_reason, in_flight = "opaque", "none", "none", "none", 1
    recurrent = False

    def __init__(self, size):
        self.input_size = size

    def submit(self, images, trimaps=None):
        alpha = np.ones((len(images), self.input_size[0] // 2, self.input_size[1] // 2), np.float32)
        return type("Done", (), {"result": lambda _: alpha, "foreground": lambda _: None})()

    def reset(self):
        return None

    def close(self):
        return None


def mattes(path, mode):
    from streammatte.build import build_matter, input_fit

    options = VideoOptions(input_alpha=mode, refine="off")
    with closing(open_source(path)) as source:
        height, width = input_fit(source.info, options).padded
        matter = build_matter(source.info, options, engine=Opaque((height, width)))
        return [matte for frame in source.frames() for matte in matter.process(frame)] + matter.drain()


def test_alpha_multiplies_the_matte_or_is_ignored(tmp_path):
    path = write(tmp_path / "a.mkv", "ffv1", "bgra", {})
    for matte in mattes(path, "multiply"):
        assert matte.alpha[:, :44].max() == 0 and matte.alpha[:, 52:].min() == 255
        assert matte.small_alpha[:, : matte.small_alpha.shape[1] // 2 - 4].max() == 0
    for matte in mattes(path, "ignore"):
        assert matte.alpha.min() == 255


def test_only_the_inputs_alpha_is_taken_and_no_network_runs(tmp_path):
    path = write(tmp_path / "a.mkv", "ffv1", "bgra", {})
    sink = MemorySink()
    options = VideoOptions(background="#0000ff", input_alpha="only", model="closed-form")
    build_pipeline(path, None, options, sink=sink).run()
    rgb = sink.frames[0].to_rgb()
    assert (rgb[32, 10] == [0, 0, 255]).all() and (rgb[32, 90] == 120).all()


def test_an_input_without_alpha_is_refused_by_only(tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=3)
    with pytest.raises(UnsupportedSourceError, match="has no alpha; leave out --input-alpha only"):
        streammatte.matte_video(path, tmp_path / "out.mp4", input_alpha="only")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("opaque", [0, 1, 2])
def test_an_opaque_image_among_transparent_ones_is_opaque(tmp_path, opaque):
    for index in range(3):
        rgba = half_transparent(index, 96, 64)
        rgba[..., 3] = 255 if index == opaque else rgba[..., 3]
        Image.fromarray(rgba).save(tmp_path / f"{index}.png")
    sink = MemorySink()
    build_pipeline(tmp_path, None, VideoOptions(background="#0000ff", input_alpha="only"), sink=sink).run()
    blue = [bool((frame.to_rgb()[32, 10] == [0, 0, 255]).all()) for frame in sink.frames]
    assert blue == [index != opaque for index in range(3)]
