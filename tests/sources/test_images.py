"""Stills, folders, globs and numbered sequences."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from support.videos import pattern_image

from streammatte.errors import SourceError, SourceNotFoundError, UnsupportedSourceError
from streammatte.frames import Layout
from streammatte.sources import open_source, read_still


def write(path, image):
    code = cv2.COLOR_RGBA2BGRA if image.ndim == 3 and image.shape[2] == 4 else cv2.COLOR_RGB2BGR
    assert cv2.imwrite(str(path), image if image.ndim == 2 else cv2.cvtColor(image, code))
    return path


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "shots"
    folder.mkdir()
    for number in (1, 2, 9, 10, 11, 100):
        write(folder / f"f{number}.png", pattern_image(number, 48, 32))
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("form", ["{}", "{}/*.png", "{}/f%d.png"])
def test_images_come_in_natural_order(folder, form):
    source = open_source(form.format(folder))
    frames = list(source.frames())
    assert source.info.frame_count == 6
    assert (source.info.width, source.info.height, source.info.layout) == (48, 32, Layout.RGB)
    assert [frame.pts for frame in frames] == [0, 1, 2, 3, 4, 5]
    assert frames[0].time_base == Fraction(1, 25)
    assert frames[0].color.full_range
    for frame, number in zip(frames, (1, 2, 9, 10, 11, 100), strict=True):
        np.testing.assert_array_equal(frame.planes[0], pattern_image(number, 48, 32))


def test_a_gap_in_the_numbers_is_reported(folder, caplog):
    open_source(folder / "f%d.png")
    assert "94 numbers" in caplog.text


def test_padded_numbers_want_their_width(tmp_path):
    for name in ("a_0001.png", "a_0002.png", "a_3.png", "a_00004.png", "a_12345.png"):
        write(tmp_path / name, pattern_image(0, 16, 16))
    assert open_source(tmp_path / "a_%04d.png").info.frame_count == 3


def test_rate_and_part(folder):
    source = open_source(folder, rate=Fraction(30000, 1001), start=0.07, duration=0.1)
    frames = list(source.frames())
    assert source.info.rate == Fraction(30000, 1001)
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[0].planes[0], pattern_image(9, 48, 32))
    with pytest.raises(SourceError, match="beyond its end"):
        open_source(folder, start=9)


def test_images_of_two_sizes_are_refused_by_name(folder):
    write(folder / "f12.png", pattern_image(0, 50, 32))
    source = open_source(folder)
    with pytest.raises(UnsupportedSourceError, match=r"f12\.png is 50x32"):
        list(source.frames())


def test_names_with_wild_characters_are_names(tmp_path):
    path = write(tmp_path / "shot [1] 50%.png", pattern_image(0, 16, 16))
    assert open_source(path).info.frame_count == 1


def test_a_broken_image_is_named(folder):
    (folder / "f3.png").write_bytes(b"not an image")
    (folder / "f4.png").touch()
    with pytest.raises(UnsupportedSourceError, match=r"f3\.png is not an image"):
        list(open_source(folder).frames())
    with pytest.raises(UnsupportedSourceError, match="empty"):
        read_still(folder / "f4.png")
    with pytest.raises(SourceNotFoundError):
        read_still(folder / "none.png")


def test_alpha_gray_and_16_bit(tmp_path):
    rgba = np.dstack([pattern_image(0, 32, 16), np.tile(np.arange(0, 256, 8, dtype=np.uint8), (16, 1))])
    rgb, alpha = read_still(write(tmp_path / "a.png", rgba))
    np.testing.assert_array_equal(rgb, rgba[..., :3])
    np.testing.assert_array_equal(alpha, rgba[..., 3])
    source = open_source(tmp_path / "a.png")
    assert source.info.has_alpha
    np.testing.assert_array_equal(next(source.frames()).alpha, alpha)
    rgb, alpha = read_still(write(tmp_path / "b.png", rgba[..., 0]))
    assert alpha is None
    np.testing.assert_array_equal(rgb[..., 1], rgba[..., 0])
    deep = pattern_image(0, 32, 16).astype(np.uint16) * 257
    rgb, _ = read_still(write(tmp_path / "c.png", deep))
    np.testing.assert_array_equal(rgb, pattern_image(0, 32, 16))


@pytest.mark.parametrize("orientation,turned", [
    (1, lambda p: p), (2, lambda p: p[:, ::-1]), (3, lambda p: np.rot90(p, 2)), (6, lambda p: np.rot90(p, -1)),
    (8, lambda p: np.rot90(p, 1)), (5, lambda p: p.transpose(1, 0, 2)),
])  # fmt: skip
def test_exif_orientation_is_applied(tmp_path, orientation, turned):
    path = write(tmp_path / "a.jpg", pattern_image(0, 96, 64))
    data = path.read_bytes()
    tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + bytes([0, orientation, 0, 0]) + b"\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
    rgb, _ = read_still(path)
    wanted = turned(pattern_image(0, 96, 64))
    assert rgb.shape == wanted.shape
    assert np.abs(rgb.astype(int) - wanted).mean() < 8
