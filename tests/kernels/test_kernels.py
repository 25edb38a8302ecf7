"""Kernels against plain NumPy in float64."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest

from streammatte.frames import ColorSpec
from streammatte.kernels.blend import blend_plane, foreground_plane
from streammatte.kernels.color import rgb_matrix, yuv_to_rgb
from streammatte.kernels.refine import apply_models, mean_models, solve_models
from streammatte.kernels.rows import axis_taps, flat, frame_taps
from streammatte.kernels.scale import shrink_by_area


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def padded(plane, step=64):
    wide = np.full((plane.shape[0], -(-plane.shape[1] // step) * step + step), 77, np.uint8)
    wide[:, : plane.shape[1]] = plane
    return wide[:, : plane.shape[1]]


def soft_matte(shape, seed=3):
    """Alpha with areas of 0, areas of 255 and everything between."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    wave = 128 + 220 * np.sin(columns / 23 + seed) * np.cos(rows / 17)
    return np.clip(wave, 0, 255).astype(np.uint8)


def enlarged(field, shape):
    """Bilinear with pixel centres aligned, float64."""
    (r, rw), (c, cw) = axis_taps(shape[0], field.shape[0]), axis_taps(shape[1], field.shape[1])
    r1, c1 = np.minimum(r + 1, field.shape[0] - 1), np.minimum(c + 1, field.shape[1] - 1)
    rw, cw = rw[:, None].astype(float), cw[None].astype(float)
    top = field[r][:, c] * (1 - cw) + field[r][:, c1] * cw
    bottom = field[r1][:, c] * (1 - cw) + field[r1][:, c1] * cw
    return top * (1 - rw) + bottom * rw


def test_flat_is_a_view_that_knows_its_step():
    plane = padded(noise((5, 7)))
    memory, step = flat(plane)
    assert step == plane.strides[0]
    assert np.shares_memory(memory, plane)
    rows = np.stack([memory[y * step : y * step + 7] for y in range(5)])
    np.testing.assert_array_equal(rows, plane)


@pytest.mark.parametrize("view", [lambda p: p[::-1], lambda p: p[:, ::2], lambda p: p.T])
def test_flat_copies_what_is_no_plain_plane(view):
    plane = view(noise((6, 8)))
    memory, step = flat(plane)
    np.testing.assert_array_equal(memory.reshape(plane.shape[0], step)[:, : plane.shape[1]], plane)


def test_taps_align_pixel_centres():
    left, weight = axis_taps(8, 4)
    np.testing.assert_allclose(left + weight, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)
    assert axis_taps(5, 1)[0].tolist() == [0] * 5


@pytest.mark.parametrize("color", [ColorSpec(), ColorSpec(1), ColorSpec(9), ColorSpec(6, full_range=True)])
@pytest.mark.parametrize("height", [480, 720])
def test_yuv_to_rgb_is_within_one_level(color, height):
    y, u, v = noise((40, 61)), noise((40, 61), 1), noise((40, 61), 2)
    out = np.empty((40, 61, 3), np.uint8)
    matrix = rgb_matrix(color, height)
    yuv_to_rgb(y, u, v, matrix, out)
    exact = np.stack([y, u, v, np.ones_like(y)], -1).astype(float) @ matrix.T
    assert np.abs(out - np.clip(exact, 0, 255)).max() <= 0.52


def test_matrix_maps_black_white_and_primaries():
    limited = rgb_matrix(ColorSpec(1), 1080)
    np.testing.assert_allclose(limited @ [16, 128, 128, 1], [0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(limited @ [235, 128, 128, 1], [255] * 3, atol=1e-9)
    np.testing.assert_allclose(limited @ [62.6, 102.3, 240, 1], [255, 0, 0], atol=0.5)  # BT.709 red
    unspecified = ColorSpec()
    np.testing.assert_allclose(rgb_matrix(unspecified, 719), rgb_matrix(ColorSpec(6), 100))
    np.testing.assert_allclose(rgb_matrix(unspecified, 720), rgb_matrix(ColorSpec(1), 100))


@pytest.mark.parametrize(("size", "small"), [((540, 960), (288, 512)), ((37, 53), (29, 31)), ((9, 12), (9, 7))])
def test_shrink_by_area_is_the_mean_over_the_area(size, small):
    plane = noise(size)

    def shares(n, m):
        edges = np.arange(m + 1) * (n / m)
        cells = np.arange(n)
        upper, lower = np.minimum(cells + 1, edges[1:, None]), np.maximum(cells, edges[:-1, None])
        return np.clip(upper - lower, 0, 1) * (m / n)

    exact = shares(size[0], small[0]) @ plane.astype(float) @ shares(size[1], small[1]).T
    assert np.abs(shrink_by_area(padded(plane), small) - exact).max() <= 0.51


@pytest.mark.parametrize("shape", [(48, 96), (33, 45), (1, 1), (7, 200)])
@pytest.mark.parametrize("estimated", [False, True])
def test_blend_against_float64(shape, estimated):
    image, back, alpha = noise(shape), noise(shape, 1), soft_matte(shape)
    small = tuple((np.random.default_rng(4 + i).random((9, 13)) * 255).astype(np.float32) for i in range(2))
    out = np.empty(shape, np.uint8)
    blend_plane(out, padded(image), alpha, padded(back), small if estimated else None)
    a = alpha / 255
    F = image.astype(float)
    if estimated:
        f, b = enlarged(small[0].astype(float), shape), enlarged(small[1].astype(float), shape)
        F = np.clip(f + a * (image - a * f - (1 - a) * b), 0, 255)
    assert np.abs(out - (a * F + (1 - a) * back)).max() <= 0.51
    np.testing.assert_array_equal(out[alpha == 0], back[alpha == 0])
    np.testing.assert_array_equal(out[alpha == 255], image[alpha == 255])


def test_blend_of_equals_changes_nothing():
    image, alpha = noise((64, 64)), noise((64, 64), 5)
    out = np.empty_like(image)
    blend_plane(out, image, alpha, image)
    np.testing.assert_array_equal(out, image)


@pytest.mark.parametrize("estimated", [False, True])
def test_foreground_is_the_ground_where_nobody_is(estimated):
    shape = (40, 70)
    image, alpha, back = noise(shape), soft_matte(shape), np.full(shape, 16, np.uint8)
    small = (np.full((5, 9), 90, np.float32), np.full((5, 9), 200, np.float32)) if estimated else None
    out = np.empty(shape, np.uint8)
    foreground_plane(out, image, alpha, back, small)
    a = alpha / 255
    F = np.clip(90 + a * (image - a * 90 - (1 - a) * 200.0), 0, 255) if estimated else image
    assert np.abs(out - np.where(alpha > 0, F, 16.0)).max() <= 0.51


def test_models_against_linalg():
    rng = np.random.default_rng(7)
    alpha = rng.random((12, 15)).astype(np.float32)
    guide = tuple(noise((12, 15), seed) for seed in (1, 2, 3))
    models, weights = solve_models(alpha, guide, 2.0, 0.1)
    models = models / weights[..., None]
    for y, x in [(0, 0), (5, 7), (11, 14), (3, 0)]:
        rows, columns = np.clip([y - 1, y, y + 1], 0, 11), np.clip([x - 1, x, x + 1], 0, 14)
        colors = np.stack([plane[rows][:, columns].ravel() for plane in guide], -1).astype(float)
        p = alpha[rows][:, columns].ravel().astype(float) * 255
        sigma = np.cov(colors.T, bias=True) + 2.0 * np.eye(3)
        a = np.linalg.solve(sigma, (colors * p[:, None]).mean(0) - colors.mean(0) * p.mean())
        np.testing.assert_allclose(models[y, x], [*a, p.mean() - a @ colors.mean(0)], rtol=2e-3, atol=2e-2)
        covariance = (colors * p[:, None]).mean(0) - colors.mean(0) * p.mean()
        unexplained = (p.var() - a @ covariance) / 255**2
        assert weights[y, x] == pytest.approx(1 / (unexplained + 0.01), rel=1e-3)


def test_means_of_models_are_weighted():
    models = np.zeros((3, 3, 4), np.float32)
    weights = np.ones((3, 3), np.float32)
    weights[0, 0] = 10
    models[0, 0] = 10 * np.float32(7)
    np.testing.assert_allclose(mean_models(models, weights)[1, 1], 7 * 10 / 18, rtol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0), (1, 1), (0, 1)])
def test_apply_models_against_float64(shift):
    height, width = 45, 83
    rng = np.random.default_rng(8)
    models = (rng.standard_normal((9, 14, 4)) * [0.5, 0.3, 0.3, 60] + [0, 0, 0, 60]).astype(np.float32)
    models[:4, :8] = 0  # a corner that is certainly background
    models[5:, 8:, :3], models[5:, 8:, 3] = 0, 300
    luma = padded(noise((height, width)))
    small = (-(-height >> shift[0]), -(-width >> shift[1]))
    chroma = [padded(noise(small, seed)) for seed in (1, 2)]
    out = apply_models(models, (luma, *chroma), shift, frame_taps((height, width), (9, 14)))
    rows, columns = np.arange(height) >> shift[0], np.arange(width) >> shift[1]
    parts = [luma, chroma[0][rows][:, columns], chroma[1][rows][:, columns], np.ones_like(luma)]
    exact = sum(enlarged(models[..., c].astype(float), (height, width)) * parts[c] for c in range(4))
    assert np.abs(out - np.clip(exact, 0, 255)).max() <= 0.51
    assert (out == 0).any()
    assert (out == 255).any()


def test_models_take_chroma_planes_of_different_steps():
    models = np.zeros((4, 4, 4), np.float32)
    models[..., 1], models[..., 2] = 0.5, 0.25
    luma, u, v = noise((20, 20)), noise((10, 10), 1), noise((10, 10), 2)
    taps = frame_taps((20, 20), (4, 4))
    plain = apply_models(models, (luma, u, v), (1, 1), taps)
    np.testing.assert_array_equal(apply_models(models, (luma, padded(u), v), (1, 1), taps), plain)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "options", [("--despill", "auto", "--match-light", "on"), ("--refine", "best", "--smooth", "best")]
)
def test_a_first_run_gives_what_later_ones_give(tmp_path, options):
    """The process that compiles the kernels, and one that finds them in the cache: the same composites and mattes."""
    given = []
    for name in ("first", "later"):
        command = [sys.executable, "-m", "streammatte", "video", "samples/person.mp4", str(tmp_path / f"{name}.mkv")]
        command += ["--alpha", str(tmp_path / f"{name}.alpha.mkv"), "--bg", "samples/beach.jpg", "--codec", "ffv1"]
        home = {**os.environ, "STREAMMATTE_HOME": str(tmp_path / "home")}
        subprocess.run([*command, "--duration", "0.4", "--size", "192", *options], check=True, env=home)
        for file in (f"{name}.mkv", f"{name}.alpha.mkv"):
            with av.open(str(tmp_path / file)) as video:
                given.append([hash(frame.to_ndarray().tobytes()) for frame in video.decode(video=0)])
    assert given[0] == given[2] and given[1] == given[3] and len(given[0]) == 12
