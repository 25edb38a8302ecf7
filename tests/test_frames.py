"""Planes, pools and colour descriptions."""

import gc
from fractions import Fraction

import numpy as np
import pytest

from streammatte.frame_pool import FramePool
from streammatte.frames import ColorSpec, Frame, Layout, Matte, plane_shapes
from streammatte.tracks import TrackFeed


@pytest.mark.parametrize(
    ("layout", "shapes"),
    [
        (Layout.YUV420, ((57, 101), (29, 51), (29, 51))),
        (Layout.YUV422, ((57, 101), (57, 51), (57, 51))),
        (Layout.YUV444, ((57, 101),) * 3),
        (Layout.RGB, ((57, 101, 3),)),
        (Layout.GRAY, ((57, 101),)),
    ],
)
def test_pool_gives_planes_of_the_layout(layout, shapes):
    planes = FramePool().take(layout, 101, 57)
    assert plane_shapes(layout, 101, 57) == shapes
    assert tuple(plane.shape for plane in planes) == shapes
    assert all(plane.flags.c_contiguous and plane.flags.writeable for plane in planes)
    assert all(plane.ctypes.data % 64 == 0 for plane in planes)


def test_pool_never_hands_out_memory_that_somebody_still_sees():
    pool = FramePool()
    planes = pool.take(Layout.YUV420, 64, 48)
    kept = planes[2][5:, 3:]
    kept[:] = 77
    address = planes[0].ctypes.data
    del planes
    gc.collect()
    other = pool.take(Layout.YUV420, 64, 48)
    assert other[0].ctypes.data != address
    for plane in other:
        plane[:] = 0
    assert (kept == 77).all()
    del kept
    gc.collect()
    assert pool.take(Layout.YUV420, 64, 48)[0].ctypes.data == address


@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_to_rgb_inverts_the_matrix(matrix, full_range):
    color = ColorSpec(matrix=matrix, full_range=full_range)
    kr, kb = color.luma(480)
    rgb = np.array([200.0, 60.0, 120.0])
    y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2]
    cb, cr = (rgb[2] - y) / (2 * (1 - kb)), (rgb[0] - y) / (2 * (1 - kr))
    scale = (1, 1, 0) if full_range else (219 / 255, 224 / 255, 16)
    values = (y * scale[0] + scale[2], cb * scale[1] + 128, cr * scale[1] + 128)
    planes = tuple(
        np.full(shape, round(value), np.uint8)
        for shape, value in zip(plane_shapes(Layout.YUV420, 5, 3), values, strict=True)
    )
    image = Frame(planes, Layout.YUV420, 0, Fraction(1, 25), color).to_rgb()
    assert image.shape == (3, 5, 3)
    assert np.abs(image - rgb).max() <= 2.5


def test_unspecified_matrix_is_guessed_as_players_do():
    assert ColorSpec().luma(480) == pytest.approx((0.299, 0.114))
    assert ColorSpec().luma(720) == pytest.approx((0.2126, 0.0722))


def test_reprs_are_short():
    frame = Frame((np.zeros((4, 6), np.uint8),), Layout.GRAY, 5, Fraction(1, 10), index=5)
    assert repr(frame) == "Frame(6x4 gray #5 t=0.500s)"
    assert "mean alpha 1.000" in repr(Matte(frame, np.full((4, 6), 255, np.uint8), np.ones((2, 3), np.float32)))


def test_feed_keeps_order():
    feed = TrackFeed()
    for packet in "abc":
        feed.put(packet)
    assert feed.take() == ["a", "b", "c"]
    assert feed.take() == []
