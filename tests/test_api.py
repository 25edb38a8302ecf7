"""The public functions, on real files with the embedded network."""

from pathlib import Path

import numpy as np
import pytest
from support.videos import make_video

import streammatte
from streammatte.errors import ConfigError, SourceNotFoundError, StreammatteError
from streammatte.sinks import MemorySink


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("api") / "in.mp4", frames=12)


@pytest.fixture(scope="module")
def portrait():
    return np.ascontiguousarray(pytest.importorskip("skimage.data").astronaut())


def test_matte_video_writes_and_sums_up(video, tmp_path):
    seen = []
    summary = streammatte.matte_video(video, tmp_path / "out.mp4", background="navy", size=192, on_progress=seen.append)
    assert isinstance(summary, streammatte.Summary)
    assert (summary.frames, summary.drops) == (12, 0)
    assert summary.output_bytes == (tmp_path / "out.mp4").stat().st_size
    assert summary.outputs == (str(tmp_path / "out.mp4"),)
    assert seen[-1].frames == 12


def test_matte_video_into_memory(video):
    sink = MemorySink()
    assert streammatte.matte_video(video, sink, background="#000000", size=192).frames == 12
    assert len(sink.frames) == 12


def test_stream_gives_mattes_with_their_frames(video):
    mattes = list(streammatte.stream(video, size=192, smooth="off"))
    assert [matte.frame.index for matte in mattes] == list(range(12))
    for matte in mattes:
        assert matte.alpha.shape == (64, 96)
        assert matte.alpha.dtype == np.float32
        assert 0 <= matte.alpha.min() <= matte.alpha.max() <= 1
        assert matte.frame.to_rgb().shape == (64, 96, 3)


def test_stream_can_be_left_early(video):
    iterator = streammatte.stream(video, size=192)
    assert next(iterator).frame.index == 0
    iterator.close()
    with pytest.raises(StopIteration):
        next(iterator)


def test_stream_that_is_never_started_closes_its_engine(video, monkeypatch):
    from streammatte.matting.network import NetworkMatter

    closed, close = [], NetworkMatter.close
    monkeypatch.setattr(NetworkMatter, "close", lambda self: (closed.append(self), close(self)))
    streammatte.stream(video, size=192).close()
    assert len(closed) == 1


def test_matte_image_finds_the_person(portrait):
    matte = streammatte.matte_image(portrait)
    assert matte.alpha.shape == (512, 512)
    assert matte.alpha.dtype == np.float32
    assert matte.alpha[100:140, 200:240].mean() > 0.98, "her face"
    assert matte.alpha[20:120, 20:100].mean() < 0.02, "the flag behind"
    assert (matte.frame.planes[0] == portrait).all()


def test_matte_image_from_a_file_equals_the_array(portrait, tmp_path):
    from PIL import Image

    Image.fromarray(portrait).save(tmp_path / "portrait.png")
    from_file = streammatte.matte_image(tmp_path / "portrait.png")
    assert np.array_equal(from_file.alpha, streammatte.matte_image(portrait).alpha)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_matte_image_says_what_arrays_it_takes(wrong):
    with pytest.raises(ConfigError, match="uint8 RGB"):
        streammatte.matte_image(wrong)


def test_errors_are_also_the_builtins(tmp_path):
    with pytest.raises(FileNotFoundError):
        streammatte.matte_image(tmp_path / "missing.png")
    with pytest.raises(SourceNotFoundError):
        streammatte.matte_video(tmp_path / "missing.mp4", tmp_path / "out.mp4")
    with pytest.raises(ValueError, match="unknown option"):
        streammatte.matte_video(tmp_path / "missing.mp4", tmp_path / "out.mp4", sise=3)
    with pytest.raises(AttributeError):
        _ = streammatte.nothing


def test_every_error_has_its_exit_code():
    import streammatte.errors as errors

    codes = {name: getattr(errors, name).exit_code for name in errors.__all__}
    assert codes["ConfigError"] == 2
    assert codes["TruncatedSourceError"] == 8
    assert all(issubclass(getattr(errors, name), StreammatteError) for name in errors.__all__)
    table = (Path(__file__).parents[1] / "README.md").read_text()
    assert all(f"| {code} |" in table for code in codes.values())
