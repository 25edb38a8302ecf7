"""Stills in every form: orientation, profiles, depth, alpha, and files that are none."""

import io
import struct
import warnings
from contextlib import closing

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, features
from support.videos import pattern_image

from streammatte.errors import SourceError, SourceNotFoundError, UnsupportedSourceError
from streammatte.media.image_reader import animation_format, read_animation, read_matte
from streammatte.sources import open_source, read_still

UPRIGHT = pattern_image(0, 48, 32)


def turned_for(orientation):
    """The image as a camera stores it that was held so; EXIF 2.32, tag 0x0112."""
    undo = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: np.rot90(p, 2), 4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2), 8: lambda p: np.rot90(p, -1),
    }  # fmt: skip
    return np.ascontiguousarray(undo[orientation](UPRIGHT))


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff", "jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_in_every_format(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(turned_for(orientation)).save(path, exif=exif, **options)
    rgb, alpha = read_still(path)
    assert alpha is None
    assert rgb.shape == UPRIGHT.shape
    assert np.abs(rgb.astype(int) - UPRIGHT).max() <= (12 if suffix == "jpg" else 0)


def heic(path, rgb, **options):
    """A photograph as telephones store it; chroma at half size, so colours at hard edges are not exact."""
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    Image.fromarray(rgb).save(path, quality=95, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(tmp_path, orientation):
    # the file says it twice: in its own boxes, which the decoder obeys, and in EXIF
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb, alpha = read_still(heic(tmp_path / "a.heic", turned_for(orientation), exif=exif.tobytes()))
    assert alpha is None
    assert rgb.shape == UPRIGHT.shape
    assert np.abs(rgb.astype(int) - UPRIGHT).mean() < 6


def test_heic_with_alpha_and_with_more_than_8_bits(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    see_through = np.dstack([UPRIGHT, np.full(UPRIGHT.shape[:2], 255, np.uint8)])
    see_through[:16, :, 3] = 0
    _, alpha = read_still(heic(tmp_path / "a.heic", see_through))
    assert alpha is not None
    assert (alpha[:12].max(), alpha[-12:].min()) == (0, 255)
    deep = UPRIGHT.astype(np.uint16) * 257
    heif.from_bytes("RGB;16", UPRIGHT.shape[1::-1], deep.tobytes()).save(tmp_path / "deep.heic", quality=95)
    rgb, _ = read_still(tmp_path / "deep.heic")
    assert np.abs(rgb.astype(int) - UPRIGHT).mean() < 6


def test_a_heic_that_breaks_off_is_refused(tmp_path):
    path = heic(tmp_path / "a.heic", UPRIGHT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnsupportedSourceError, match="damaged"):
        read_still(path)


def test_orientation_of_16_bit_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    gray = turned_for(6)[..., 0].astype(np.uint16) * 257
    Image.fromarray(gray).save(tmp_path / "a.png", exif=exif)
    rgb, _ = read_still(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb[..., 2], UPRIGHT[..., 0])


def profile(gamma):
    """An ICC v2 RGB profile: AdobeRGB's primaries, adapted to D50 as they stand in its own file."""
    xyz = {
        "rXYZ": (0.60974, 0.31111, 0.01947),
        "gXYZ": (0.20528, 0.62567, 0.06087),
        "bXYZ": (0.14919, 0.06322, 0.74457),
    }
    tags = {"wtpt": (0.9642, 1.0, 0.8249), **xyz}

    def fixed(value):
        return struct.pack(">i", round(value * 65536))

    blocks = {name: b"XYZ \0\0\0\0" + b"".join(map(fixed, values)) for name, values in tags.items()}
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    text = b"wide\0"
    blocks["desc"] = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(79)
    blocks["cprt"] = b"text\0\0\0\0none\0\0\0\0"
    blocks |= {"rTRC": curve, "gTRC": curve, "bTRC": curve}
    table, body = struct.pack(">I", len(blocks)), b""
    offset = 128 + 4 + 12 * len(blocks)
    for name, block in blocks.items():
        block += bytes(-len(block) % 4)
        table += name.encode() + struct.pack(">II", offset + len(body), len(block))
        body += block
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


@pytest.fixture(scope="module")
def wide():
    return profile(2.19921875)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_profile_is_converted_as_pillow_does(tmp_path, wide, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(UPRIGHT).save(path, icc_profile=wide)
    rgb, _ = read_still(path)
    wanted = ImageCms.profileToProfile(
        Image.fromarray(UPRIGHT),
        ImageCms.ImageCmsProfile(io.BytesIO(wide)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    np.testing.assert_array_equal(rgb, np.asarray(wanted))
    green = UPRIGHT[..., 1] > UPRIGHT[..., 0].astype(int) + 30
    assert rgb[green][:, 0].mean() < UPRIGHT[green][:, 0].mean() - 5, "wide greens lose red in sRGB"


def test_a_profile_under_alpha_leaves_alpha_alone(tmp_path, wide):
    alpha = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (32, 1))
    Image.fromarray(np.dstack([UPRIGHT, alpha])).save(tmp_path / "a.png", icc_profile=wide)
    Image.fromarray(UPRIGHT).save(tmp_path / "b.png", icc_profile=wide)
    rgb, found = read_still(tmp_path / "a.png")
    np.testing.assert_array_equal(found, alpha)
    np.testing.assert_array_equal(rgb, read_still(tmp_path / "b.png")[0])


def test_a_damaged_profile_is_reported_and_taken_as_srgb(tmp_path, caplog):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", icc_profile=b"no profile")
    rgb, _ = read_still(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb, UPRIGHT)
    assert "colour profile is not usable" in caplog.text


def test_srgb_profiles_change_nothing(tmp_path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", icc_profile=own)
    np.testing.assert_array_equal(read_still(tmp_path / "a.png")[0], UPRIGHT)


def test_16_bits_are_rounded_and_keep_alpha(tmp_path):
    deep = np.dstack([UPRIGHT, UPRIGHT[..., 0]]).astype(np.uint16) * 257 + 100
    deep = np.minimum(deep, 65535)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(deep, cv2.COLOR_RGBA2BGRA))
    rgb, alpha = read_still(tmp_path / "a.png")
    wanted = np.rint(deep / 257).astype(np.uint8)
    np.testing.assert_array_equal(rgb, wanted[..., :3])
    np.testing.assert_array_equal(alpha, wanted[..., 3])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "I;16", "CMYK", "F"])
def test_every_mode_comes_out_as_rgb(tmp_path, mode):
    base = Image.fromarray(UPRIGHT)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(base.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(base.convert("L")).astype(np.float32) / 255)
    elif mode == "PA":
        image = base.quantize(32).convert("PA")
    else:
        image = base.convert(mode)
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "F", "PA") else "a.png")
    image.save(path)
    rgb, alpha = read_still(path)
    assert (rgb.shape, rgb.dtype, rgb.flags.c_contiguous) == ((32, 48, 3), np.uint8, True)
    assert alpha is None
    if mode in ("1", "P", "PA"):
        wanted = np.asarray(image.convert("RGB"))
    else:
        wanted = np.asarray(base.convert("L" if mode in ("L", "LA", "I;16", "F") else "RGB").convert("RGB"))
    assert np.abs(rgb.astype(int) - wanted).max() <= 1


def test_palette_transparency_is_alpha(tmp_path):
    image = Image.fromarray(UPRIGHT).quantize(16)
    image.save(tmp_path / "a.png", transparency=3)
    _, alpha = read_still(tmp_path / "a.png")
    np.testing.assert_array_equal(alpha == 0, np.asarray(image) == 3)


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(UPRIGHT).convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    rgb, _ = read_still(tmp_path / "a.jpg")
    assert np.abs(rgb.astype(int) - UPRIGHT).mean() < 4


def test_webp_and_avif(tmp_path):
    kinds = ["webp"] + (["avif"] if features.check("avif") else [])
    for kind in kinds:
        Image.fromarray(UPRIGHT).save(tmp_path / f"a.{kind}", quality=95)
        rgb, _ = read_still(tmp_path / f"a.{kind}")
        assert np.abs(rgb.astype(int) - UPRIGHT).mean() < 8, kind


def test_an_animation_gives_its_first_image(tmp_path, caplog):
    first, second = Image.fromarray(UPRIGHT), Image.fromarray(255 - UPRIGHT)
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], lossless=True)
    rgb, _ = read_still(tmp_path / "a.webp")
    np.testing.assert_array_equal(rgb, UPRIGHT)
    assert "holds 2 images; the first is taken" in caplog.text


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
def test_truncated_files_are_refused(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnsupportedSourceError, match=f"a.{kind}"):
        read_still(path)


def test_truncated_16_bit_png_is_refused(tmp_path):
    noise = np.random.default_rng(1).integers(0, 65535, (64, 64, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), noise)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnsupportedSourceError, match="damaged"):
        read_still(tmp_path / "a.png")


def test_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(UnsupportedSourceError, match="is empty"):
        read_still(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_text("a letter")
    with pytest.raises(UnsupportedSourceError, match="not an image"):
        read_still(tmp_path / "b.png")
    with pytest.raises(SourceNotFoundError, match="there is no"):
        read_still(tmp_path / "c.png")
    with pytest.raises(SourceError, match="may not be read"):
        read_still(tmp_path)


def test_heic_without_its_package_says_what_to_install(tmp_path):
    try:
        import pillow_heif
    except ImportError:
        (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
        with pytest.raises(UnsupportedSourceError, match="pip install pillow-heif"):
            read_still(tmp_path / "a.heic")
    else:
        pillow_heif.register_heif_opener()
        Image.fromarray(UPRIGHT).save(tmp_path / "a.heic", quality=95)
        assert np.abs(read_still(tmp_path / "a.heic")[0].astype(int) - UPRIGHT).mean() < 8


def test_a_bomb_is_refused(tmp_path, monkeypatch):
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnsupportedSourceError, match="too large"):
        read_still(tmp_path / "a.png")


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path):
    bomb = tmp_path / "bomb.png"
    Image.new("1", (13_000, 13_000)).save(bomb)
    assert bomb.stat().st_size < 500_000
    with pytest.raises(UnsupportedSourceError, match="13000x13000 pixels, more than the 128 megapixels that --max-pix"):
        read_still(bomb)
    Image.new("RGB", (2000, 1000)).save(tmp_path / "a.png")
    with pytest.raises(UnsupportedSourceError, match="2000x1000 pixels, more than the 1 megapixels"):
        read_still(tmp_path / "a.png", 1)
    assert read_still(tmp_path / "a.png", 2)[0].shape == (1000, 2000, 3)
    Image.new("1", (30_000, 30_000)).save(bomb)
    with pytest.raises(UnsupportedSourceError, match="is too large"):
        read_still(bomb)


def test_no_filter_of_warnings_is_touched(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    read_still(tmp_path / "a.png")
    assert warnings.filters == before


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.gif", "a.jpg"])
@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
def test_an_animation_is_one_whatever_its_suffix(tmp_path, name, kind):
    colors = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    first, *rest = (Image.new("RGB", (64, 48), color) for color in colors)
    first.save(tmp_path / name, kind, save_all=True, append_images=rest, duration=[100, 200, 300], lossless=True)
    assert animation_format(tmp_path / name) == kind
    images = list(read_animation(tmp_path / name))
    assert [seconds for _, _, seconds in images] == pytest.approx([0.1, 0.2, 0.3])
    for (rgb, alpha, _), color in zip(images, colors, strict=True):
        assert alpha is None
        np.testing.assert_allclose(rgb[20, 20], color, atol=3)
    with closing(open_source(tmp_path / name)) as source:
        frames = list(source.frames())
    assert [round(frame.time, 3) for frame in frames] == pytest.approx([0, 0.1, 0.3], abs=0.011)
    for frame, color in zip(frames, colors, strict=True):
        np.testing.assert_allclose(frame.to_rgb()[20, 20], color, atol=6)


def test_a_part_of_an_animation(tmp_path):
    first, *rest = (Image.new("RGB", (64, 48), (10 * index, 0, 0)) for index in range(10))
    first.save(tmp_path / "a.webp", save_all=True, append_images=rest, duration=100, lossless=True)
    with closing(open_source(tmp_path / "a.webp", start=0.3, duration=0.4)) as source:
        frames = list(source.frames())
    assert [frame.pts for frame in frames] == [0, 100, 200, 300]
    np.testing.assert_allclose([frame.to_rgb()[5, 5, 0] for frame in frames], [30, 40, 50, 60], atol=3)
    with pytest.raises(SourceError, match="lies beyond its end"):
        open_source(tmp_path / "a.webp", start=2)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_large_image_is_reduced_while_it_is_read(tmp_path, suffix):
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC).save(tmp_path / f"a.{suffix}", quality=95)
    whole, _ = read_still(tmp_path / f"a.{suffix}")
    rgb, _ = read_still(tmp_path / f"a.{suffix}", at_least=(480, 270))
    assert 480 <= rgb.shape[1] < 1000 and rgb.shape[0] >= 270
    expected = cv2.resize(whole, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_AREA)
    assert np.abs(rgb.astype(int) - expected).mean() < 1.5


def test_a_small_image_is_read_as_it_is(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_still(tmp_path / "a.png", at_least=(480, 270))[0], image)


def test_mattes_are_read_exactly_and_bounded(tmp_path):
    deep = np.array([[0, 1, 65535, 32768]], np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    np.testing.assert_array_equal(read_matte(tmp_path / "deep.png"), deep.astype(np.float32) / np.float32(65535))
    Image.new("L", (2000, 1000)).save(tmp_path / "a.png")
    with pytest.raises(UnsupportedSourceError, match="more than the 1 megapixels"):
        read_matte(tmp_path / "a.png", 1)
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)).save(tmp_path / "colour.png")
    with pytest.raises(UnsupportedSourceError, match="colour image without alpha"):
        read_matte(tmp_path / "colour.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "deep.png", "a.tif", "a.webp", "alpha.png", "a.heic"])
def test_mattes_are_upright_in_every_format(tmp_path, name):
    """A matte beside an image has that one's size, whatever turned either."""
    values = np.zeros((256, 64), np.uint8)
    values[:64] = 255  # upright: white at the top
    stored = np.ascontiguousarray(np.rot90(values, 1))
    image = Image.fromarray(stored.astype(np.uint16) * 257 if name == "deep.png" else stored)
    if name == "alpha.png":
        image = Image.merge("RGBA", [image.point(lambda value: 0)] * 3 + [image])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    if name == "a.heic":
        heic(tmp_path / name, np.dstack([stored] * 3), chroma=444, matrix_coefficients=0, exif=exif.tobytes())
    else:
        image.save(tmp_path / name, exif=exif)
    matte = np.asarray(read_matte(tmp_path / name), np.float32)
    matte = matte if name == "deep.png" else matte / 255
    assert matte.shape == values.shape
    np.testing.assert_allclose(matte, values / 255, atol=0.05)


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_animations_are_upright_in_srgb(tmp_path, wide, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    first, second = (Image.new("RGB", (64, 48), (value, 120, 40)) for value in (90, 200))
    how = {"save_all": True, "append_images": [second], "duration": 100, "lossless": True, "exif": exif}
    first.save(tmp_path / "a.img", kind, icc_profile=wide, **how)
    first.save(tmp_path / "still.png", icc_profile=wide, exif=exif)
    rgb, _ = read_still(tmp_path / "still.png")
    images = list(read_animation(tmp_path / "a.img"))
    assert [image.shape for image, _, _ in images] == [(64, 48, 3)] * 2
    np.testing.assert_allclose(images[0][0], rgb, atol=2)
    assert np.abs(images[0][0][5, 5].astype(int) - (90, 120, 40)).max() > 3  # it was converted
