"""Eight bits: what a network is calibrated on, and what it then costs."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.tiny_networks import brightness_network, trimap_network
from support.videos import make_video

from streammatte.cli import main
from streammatte.engines.precision import choose
from streammatte.errors import ConfigError, UnsupportedSourceError
from streammatte.export.quantize import quantise_measured
from streammatte.images import calibration
from streammatte.models.resolve import resolve

OLD = Path(__file__).parents[1] / "golden" / "exported26"
SIZE = (64, 96)
needs_nncf = pytest.mark.skipif(not find_spec("nncf"), reason="the export extra is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))


@pytest.fixture
def brightness(tmp_path):
    return resolve(str(brightness_network(tmp_path / "brightness.xml")))


def numbered(index, width, height):
    """A frame whose brightness tells its place in the video."""
    return np.full((height, width, 3), 20 + index, np.uint8)


def export(model, video, out):
    """Exit code of the command."""
    options = {"--precision": "int8", "--calibrate": video, "--size": "64x96", "-o": out}
    with pytest.raises(SystemExit) as ended:
        main(["models", "export", *map(str, (model, *(word for pair in options.items() for word in pair)))])
    return ended.value.code


@pytest.mark.parametrize("frames", [4, 10, 19])
def test_images_are_taken_evenly_to_the_videos_end(tmp_path, brightness, monkeypatch, frames):
    monkeypatch.setattr(calibration, "MAX_SAMPLES", 10)
    video = make_video(tmp_path / "video.mp4", frames=frames, image=numbered)
    taken = calibration.samples(video, brightness, SIZE)
    levels = [float(sample[0].mean()) - 20 for sample in taken]
    assert len(taken) == min(frames, 10)
    assert levels[0] == pytest.approx(0, abs=2)
    assert levels[-1] == pytest.approx(frames - 1, abs=2)
    assert np.diff(levels) == pytest.approx((frames - 1) / max(1, len(taken) - 1), abs=2)


def test_photos_of_any_size_keep_their_aspect(tmp_path, brightness):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (width, height) in enumerate([(320, 90), (60, 200), (96, 64)]):
        photo = np.zeros((height, width, 3), np.uint8)
        cv2.circle(photo, (width // 2, height // 2), min(width, height) // 3, (255, 255, 255), -1)
        cv2.imwrite(str(folder / f"{number}.png"), photo)
    for (sample,) in calibration.samples(folder, brightness, (256, 384)):
        assert sample.shape == (256, 384, 3)
        rows, columns = np.nonzero(sample[..., 0] > 127)
        assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.06), "a circle stays one"
    (tmp_path / "none").mkdir()
    with pytest.raises(UnsupportedSourceError, match="holds no image"):
        calibration.samples(tmp_path / "none", brightness, SIZE)


def test_a_network_with_trimap_is_given_trimaps(tmp_path, shared):
    files = resolve(str(trimap_network(tmp_path / "trimapped.xml")))
    folder = tmp_path / "people"
    folder.mkdir()
    portrait = next((shared / "eval" / "stills").glob("pif_*_alpha.png")).name.replace("_alpha.png", ".jpg")
    (folder / portrait).write_bytes((shared / "eval" / "stills" / portrait).read_bytes())
    ((image, trimap),) = calibration.samples(folder, files, (512, 512))
    assert (image.shape, trimap.shape) == ((512, 512, 3), (512, 512, 1))
    assert set(np.unique(trimap)) == {0, 128, 255}


@needs_nncf
def test_eight_bits_of_a_network_with_trimap(tmp_path, capsys):
    model = trimap_network(tmp_path / "trimapped.xml")
    video = make_video(tmp_path / "video.mp4", frames=12)
    out = tmp_path / "small.xml"
    assert export(model, video, out) == 0
    assert "int8 against f32: MAD" in capsys.readouterr().err
    assert resolve(str(out)).rule.trimap


@pytest.mark.parametrize(("kind", "step"), [("folder", "put more images there"), ("video", "a longer video")])
def test_too_few_images_are_reported_before_anything_is_converted(kind, step, tmp_path, capsys):
    given = tmp_path / kind
    if kind == "folder":
        given.mkdir()
        for index in range(9):
            cv2.imwrite(str(given / f"{index}.png"), numbered(index, 96, 64))
    else:
        given = make_video(given.with_suffix(".mp4"), frames=9, image=numbered)
    model = brightness_network(tmp_path / "brightness.xml")
    assert export(model, given, tmp_path / "out.xml") == ConfigError.exit_code
    err = capsys.readouterr().err
    assert f"10 images or more; {given} has 9" in err
    assert step in err
    assert not list(tmp_path.glob("out*"))


def test_int8_needs_enough_images():
    with pytest.raises(ConfigError, match="10 images"):
        quantise_measured(None, [(np.zeros((*SIZE, 3), np.uint8),)] * 9)


@needs_nncf
def test_int8_is_calibrated_on_a_video_and_tells_its_loss(tmp_path, capsys):
    rng = np.random.default_rng(0)
    (tmp_path / "video").mkdir()
    for i in range(12):
        noise = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (96, 64), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "video" / f"{i:03}.png"), noise)
    out = tmp_path / "small.xml"
    assert export(OLD, tmp_path / "video", out) == 0
    err = capsys.readouterr().err
    assert "int8 against f32: MAD" in err
    assert "nncf" not in err
    assert "Paddle" not in err
    assert "FakeQuantize" in out.read_text()
    files = resolve(str(out))
    assert choose("int8", ("INT8", "FP32"), files).graph == out
    assert choose("auto", ("INT8", "FP32"), files).precision == "int8"
    assert choose("auto", ("FP32",), files).graph == out
