"""Colour: tags kept, deep videos reduced, PQ and HLG tone-mapped by our own table."""

import logging

import av
import numpy as np
import pytest
from support.videos import make_video

from streammatte.frames import ColorSpec, Layout
from streammatte.kernels.tonemap import eetf, hlg_to_nits, pq_from_nits, pq_to_nits, tone_map, tone_table
from streammatte.sources import open_source


@pytest.mark.parametrize(
    "matrix,primaries,transfer,full", [(1, 1, 1, False), (6, 6, 6, False), (1, 1, 1, True), (5, 5, 6, True)]
)
def test_tags_are_kept(tmp_path, matrix, primaries, transfer, full):
    path = make_video(
        tmp_path / "a.mp4", frames=2, matrix=matrix, primaries=primaries, transfer=transfer, full_range=full
    )
    source = open_source(path)
    wanted = ColorSpec(matrix, primaries, transfer, full)
    assert source.info.color == wanted
    assert next(source.frames()).color == wanted


@pytest.mark.parametrize("pix_fmt,layout", [("yuv420p10le", Layout.YUV420), ("yuv422p10le", Layout.YUV422),
                                            ("yuv444p12le", Layout.YUV444)])  # fmt: skip
@pytest.mark.parametrize("full", [False, True])
def test_deep_sdr_is_reduced_and_keeps_its_tags(tmp_path, caplog, pix_fmt, layout, full):
    path = make_video(tmp_path / "a.mkv", frames=3, codec="ffv1", pix_fmt=pix_fmt, matrix=9, primaries=9, transfer=14,
                     full_range=full)  # fmt: skip
    source = open_source(path)
    frames = list(source.frames())
    assert source.info.layout is layout
    assert source.info.color == ColorSpec(9, 9, 14, full)
    assert sum("bits a sample" in record.message for record in caplog.records) == 1
    with av.open(str(path)) as video:
        deep = next(video.decode(video=0))
        shift = 12 if "12" in pix_fmt else 10
        for plane, other in zip(frames[0].planes, deep.planes, strict=True):
            rows = np.frombuffer(other, np.uint16).reshape(-1, other.line_size // 2)[: other.height, : other.width]
            exact = rows / 2 ** (shift - 8) if not full else rows * (255 / (2**shift - 1))
            difference = plane - exact
            assert np.abs(difference).max() <= (2.0 if full else 1.01)
            assert abs(difference.mean()) < 0.5


def test_pq_and_its_inverse():
    nits = np.array([0.0, 0.1, 1, 10, 100, 203, 1000, 4000, 10_000])
    np.testing.assert_allclose(pq_to_nits(pq_from_nits(nits)), nits, rtol=1e-6, atol=1e-4)
    # BT.2408-7 table 1: 203 cd/m2 is at 58 % PQ and at 75 % HLG
    assert pq_from_nits(np.array(203.0)) == pytest.approx(0.58, abs=0.002)
    assert hlg_to_nits(np.full((1, 3), 0.75))[0, 0] == pytest.approx(203, abs=1)
    assert hlg_to_nits(np.ones((1, 3)))[0, 0] == pytest.approx(1000, rel=1e-3)


def test_the_eetf_keeps_darkness_and_ends_at_the_target():
    nits = np.linspace(0, 1000, 400)
    out = eetf(nits, 1000, 203)
    np.testing.assert_allclose(out[nits < 80], nits[nits < 80], rtol=1e-6, atol=1e-4)
    assert (np.diff(out) > -1e-9).all()
    assert out[-1] == pytest.approx(203, rel=1e-6)
    np.testing.assert_array_equal(eetf(np.array([50.0, 300.0]), 150, 203), [50, 203])


def exact(y, cb, cr, *, hlg):
    """The documented equations for one 10-bit limited-range colour, without the table; 8-bit Y'CbCr."""
    ey, eb, er = (y - 64) / 876, (cb - 512) / 896, (cr - 512) / 896
    red, blue = ey + 1.4746 * er, ey + 1.8814 * eb
    green = (ey - 0.2627 * red - 0.0593 * blue) / 0.6780
    code = np.clip([red, green, blue], 0, 1)
    light = hlg_to_nits(code[None])[0] if hlg else pq_to_nits(code)
    top = max(light.max(), 1e-6)
    light = light * eetf(np.array([top]), 1000, 203)[0] / top
    to_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    red, green, blue = np.clip(to_709 @ light / 203, 0, 1) ** (1 / 2.4)
    out = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return 16 + 219 * out, 128 + 224 * (blue - out) / 1.8556, 128 + 224 * (red - out) / 1.5748


@pytest.mark.parametrize("hlg", [False, True])
def test_the_table_follows_the_equations(hlg):
    table = tone_table(hlg=hlg, luma=(0.2627, 0.0593), full_range=False)
    rng = np.random.default_rng(1)
    y = rng.integers(250, 600, (12, 16)).astype(np.uint16)
    cb, cr = (rng.integers(490, 535, (12, 16)).astype(np.uint16) for _ in range(2))
    out = tone_map((y, cb, cr), table, tuple(np.empty((12, 16), np.uint8) for _ in range(3)))
    wanted = np.array(
        [[exact(*map(float, v), hlg=hlg) for v in zip(*row, strict=True)] for row in zip(y, cb, cr, strict=True)]
    )
    for channel in range(3):
        error = np.abs(out[channel] - wanted[..., channel])
        assert error.mean() < 0.6
        assert error.max() < 4


def test_grey_stays_grey_and_grows():
    table = tone_table(hlg=False, luma=(0.2627, 0.0593), full_range=False)
    y = np.arange(64, 941, dtype=np.uint16)[None]
    neutral = np.full_like(y, 512)
    out = tone_map((y, neutral, neutral), table, tuple(np.empty(y.shape, np.uint8) for _ in range(3)))
    assert set(np.unique(out[1])) == set(np.unique(out[2])) == {128}
    assert (np.diff(out[0].astype(int)) >= 0).all()
    assert (out[0][0, 0], out[0][0, -1]) == (16, 235)


@pytest.mark.parametrize("transfer,word", [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("pix_fmt,layout", [("yuv420p10le", Layout.YUV420), ("yuv422p10le", Layout.YUV444),
                                            ("yuv444p12le", Layout.YUV444), ("gbrp10le", Layout.YUV444)])  # fmt: skip
def test_hdr_videos_become_bt709_and_say_so(tmp_path, caplog, transfer, word, pix_fmt, layout):
    def image(index, width, height):
        image = np.full((height, width, 3), 110, np.uint8)
        image[:, width // 2 :] = (150, 120, 100)
        return image

    path = make_video(tmp_path / "a.mkv", width=95, height=63, frames=3, codec="ffv1", pix_fmt=pix_fmt, matrix=9,
                     primaries=9, transfer=transfer, image=image)  # fmt: skip
    source = open_source(path)
    frames = list(source.frames())
    assert source.info.color == frames[2].color == ColorSpec(1, 1, 1, False)
    assert source.info.layout is layout
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert word in warnings[0]
    for column, rgb in ((10, (110, 110, 110)), (80, (150, 120, 100))):
        red, green, blue = (value / 255 for value in rgb)
        luma = 0.2627 * red + 0.6780 * green + 0.0593 * blue
        given = (64 + 876 * luma, 512 + 896 * (blue - luma) / 1.8814, 512 + 896 * (red - luma) / 1.4746)
        wanted = exact(*given, hlg=transfer == 18)
        half = column // 2 if layout is Layout.YUV420 else column
        seen = (frames[0].planes[0][30, column], frames[0].planes[1][15, half], frames[0].planes[2][15, half])
        np.testing.assert_allclose(seen, wanted, atol=2.5)


def test_hdr_turned_upright(tmp_path):
    tags = {"matrix": 9, "primaries": 9, "transfer": 18}
    path = make_video(tmp_path / "a.mov", frames=2, pix_fmt="yuv420p10le", rotation=-90, **tags)
    source = open_source(path)
    assert next(source.frames()).planes[0].shape == (96, 64)
