"""Metrics against golden values, against slow references written from the definitions, and against known cases."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from streammatte.errors import ConfigError
from streammatte.evaluation import conn, dtssd, grad, mad, messddt, mse, sad
from streammatte.evaluation.bands import dense_flow, transition_band, trimap_from_alpha

GOLDEN = Path(__file__).parents[1] / "golden"
STILL = {"MSE": mse, "SAD": sad, "Grad": grad, "Conn": conn}


def golden_cases():
    for case in json.loads((GOLDEN / "metrics.json").read_text()):
        yield case, np.load(GOLDEN / f"metric_s{case['seed']}.npz")


def soft_disc(shape=(72, 96), centre=(36, 48), radius=22, blur=3.0):
    disc = np.zeros(shape, np.uint8)
    cv2.circle(disc, (centre[1], centre[0]), radius, 255, -1)
    return cv2.GaussianBlur(disc, (0, 0), blur)


def noisy(alpha, sigma=30, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, alpha.shape)
    return np.clip(alpha + cv2.GaussianBlur(noise, (0, 0), 1.5) * 3, 0, 255).astype(np.uint8)


def slow_grad(pred, truth, unknown):
    """Rhemann et al. with a full two-dimensional filter in double precision."""
    sigma, half = 1.4, 4
    x = np.arange(-half, half + 1)
    gauss = np.exp(-(x**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
    filter_x = np.outer(gauss, -x * gauss / sigma**2)
    filter_x /= np.sqrt((filter_x**2).sum())

    def magnitude(matte):
        matte = (matte - matte.min()) / max(np.ptp(matte), 1e-12)
        across = ndimage.correlate(matte, filter_x, mode="nearest")
        return np.hypot(across, ndimage.correlate(matte, filter_x.T, mode="nearest"))

    return ((magnitude(pred) - magnitude(truth)) ** 2)[unknown].sum() / 1000


def slow_conn(pred, truth, unknown):
    """Rhemann et al. with scipy's labels, one threshold after another."""
    level = np.full(truth.shape, -1.0)
    for k in range(1, 11):
        both = (pred >= k / 10 - 1e-7) & (truth >= k / 10 - 1e-7)
        labels, count = ndimage.label(both)
        inside = np.zeros_like(both)
        if count:
            inside = labels == 1 + np.argmax(ndimage.sum_labels(both, labels, range(1, count + 1)))
        level[(level < 0) & ~inside] = (k - 1) / 10
    level[level < 0] = 1

    def phi(matte):
        excess = matte - level
        return 1 - excess * (excess >= 0.15)

    return np.abs(phi(pred) - phi(truth))[unknown].sum() / 1000


@pytest.mark.parametrize("name", STILL)
def test_agrees_with_the_seed_inside_the_trimap(name):
    for case, arrays in golden_cases():
        found = STILL[name](arrays["pred"], arrays["truth"], arrays["trimap"])
        assert found == pytest.approx(case["trimap"][name], rel=1e-4)


def test_golden_predictions_are_already_settled_by_their_trimap():
    # The seed's metrics write the trimap into the prediction they are given, and these were stored afterwards: their
    # values over the whole image belong to another prediction and cannot be compared.
    for case, arrays in golden_cases():
        known = arrays["trimap"] != 128
        assert (arrays["pred"][known] == arrays["trimap"][known]).all()
        assert sad(arrays["pred"], arrays["truth"]) < case["whole"]["SAD"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("fast", "slow"), [(grad, slow_grad), (conn, slow_conn)])
def test_agrees_with_a_slow_reference(fast, slow, seed):
    truth = soft_disc(radius=18 + 2 * seed)
    pred = noisy(truth, sigma=20 + 10 * seed, seed=seed)
    pred[5:12, 4:20] = 200  # a separate component, which is what Conn is about
    unit_pred, unit_truth = pred / 255, truth / 255
    trimap = trimap_from_alpha(truth, 9)
    settled = np.where(trimap == 0, 0, np.where(trimap == 255, 1, unit_pred))
    everywhere = np.ones(truth.shape, bool)
    assert fast(pred, truth) == pytest.approx(slow(unit_pred, unit_truth, everywhere), rel=1e-4)
    assert fast(pred, truth, trimap) == pytest.approx(slow(settled, unit_truth, trimap == 128), rel=1e-4)
    assert fast(pred, truth) > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (7, 5), (3, 100)])
@pytest.mark.parametrize(("fast", "slow"), [(grad, slow_grad), (conn, slow_conn)])
def test_small_images_agree_too(fast, slow, shape):
    rng = np.random.default_rng(1)
    pred, truth = (rng.integers(0, 256, shape).astype(np.uint8) for _ in range(2))
    expected = slow(pred / 255, truth / 255, np.ones(shape, bool))
    assert fast(pred, truth) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_conn_joins_components_that_touch_only_sideways():
    truth = np.zeros((9, 12), np.uint8)
    truth[1:8, 1:11] = 255
    truth[2:7, 5:7] = 0  # a ring: its halves meet at the top and at the bottom
    pred = truth.copy()
    pred[1:8, 1] = 128
    expected = slow_conn(pred / 255, truth / 255, np.ones(truth.shape, bool))
    assert conn(pred, truth) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("metric", [mse, sad, mad, grad, conn])
def test_bytes_and_floats_give_the_same(metric):
    truth = soft_disc()
    pred = noisy(truth)
    trimap = trimap_from_alpha(truth)
    for region in (None, trimap):
        expected = metric(pred, truth, region)
        assert metric(pred / 255, truth / 255, region) == expected
        assert metric((pred / 255).astype(np.float32), truth, region) == expected
    assert metric(truth, truth) == 0


@pytest.mark.parametrize("metric", [mse, sad, mad, grad, conn])
def test_arguments_stay_as_they_were(metric):
    truth = soft_disc()
    pred = noisy(truth)
    trimap = trimap_from_alpha(truth)
    before = pred.copy(), truth.copy(), trimap.copy()
    metric(pred, truth, trimap)
    for after, old in zip((pred, truth, trimap), before, strict=True):
        assert (after == old).all()


def test_plain_values_of_a_known_error():
    truth = np.zeros((10, 20))
    pred = truth + 0.5
    trimap = np.zeros((10, 20), np.uint8)
    trimap[:, :10] = 128
    assert (mad(pred, truth), mse(pred, truth), sad(pred, truth)) == (0.5, 0.25, 0.1)
    assert (mad(pred, truth, trimap), mse(pred, truth, trimap), sad(pred, truth, trimap)) == (0.5, 0.25, 0.05)
    assert mad(pred, truth, np.zeros((10, 20), np.uint8)) == 0


def test_strided_views_are_taken():
    truth = soft_disc((72, 96))
    pred = noisy(truth)
    for metric in (mse, sad, grad, conn):
        expected = metric(np.ascontiguousarray(pred[:, ::2]), np.ascontiguousarray(truth[:, ::2]))
        assert metric(pred[:, ::2], truth[:, ::2]) == expected


def moving(frames=6, step=3):
    return np.stack([soft_disc(centre=(36, 30 + step * k)) for k in range(frames)])


def test_dtssd_of_known_cases():
    video = moving()
    assert dtssd(video, video) == 0
    # An error that never changes is no flicker.
    assert dtssd(np.clip(video / 255 * 0.5, 0, 1), video / 255 * 0.5) == 0
    steps = np.diff(video / 255, axis=0)
    frozen = np.repeat(video[:1], len(video), axis=0)
    expected = np.mean([np.sqrt((step**2).mean()) for step in steps])
    assert dtssd(frozen, video) == pytest.approx(expected, rel=1e-5)
    flicker = np.full((4, 8, 8), 0.5)
    flicker[1::2] += 0.1
    assert dtssd(flicker, np.full((4, 8, 8), 0.5)) == pytest.approx(0.1, rel=1e-5)


def test_a_frozen_matte_looks_steady_only_to_itself():
    video = moving()
    frozen = np.repeat(video[:1], len(video), axis=0)
    steady = noisy(video[0], sigma=8)
    live = np.stack([noisy(frame, sigma=8, seed=k) for k, frame in enumerate(video)])
    own_change = np.abs(np.diff(frozen.astype(float), axis=0)).mean()
    assert own_change == 0 < np.abs(np.diff(live.astype(float), axis=0)).mean()
    assert mad(frozen[-1], video[-1]) > mad(live[-1], video[-1])
    assert mad(steady, video[0]) < mad(frozen[-1], video[-1])


def test_dtssd_within_a_trimap_counts_the_later_frame():
    truth = np.zeros((2, 4, 4))
    pred = truth.copy()
    pred[1, 0, 0] = 1
    trimap = np.zeros((2, 4, 4), np.uint8)
    trimap[1, 0, :] = 128
    assert dtssd(pred, truth, trimap) == pytest.approx(0.5)
    trimap[1, 0, 0] = 0
    assert dtssd(pred, truth, trimap) == 0


def test_messddt_follows_the_motion():
    height, width, step = 40, 64, 4
    truth = np.zeros((3, height, width))
    pred = np.zeros((3, height, width))
    for k in range(3):
        pred[k, 10:30, 10 + step * k : 20 + step * k] = 0.5  # an error that travels with the person
    flow = np.zeros((2, height, width, 2), np.float32)
    flow[..., 0] = step
    assert messddt(pred, truth, flow=flow) == pytest.approx(0, abs=1e-7)
    still = messddt(pred, truth)
    assert still == pytest.approx(0.25 * 2 * step * 20 / (height * width), rel=1e-5)
    assert messddt(pred, truth, flow=-flow) > still


def test_dense_flow_finds_a_shift():
    luma = np.random.default_rng(0).integers(0, 255, (120, 160)).astype(np.uint8)
    luma = cv2.GaussianBlur(luma, (0, 0), 3)
    flow = dense_flow(luma[:, :-4], luma[:, 4:])
    assert np.median(flow[20:-20, 20:-20, 0]) == pytest.approx(-4, abs=0.5)
    assert abs(np.median(flow[20:-20, 20:-20, 1])) < 0.5


def test_trimap_is_the_seeds():
    truth = np.zeros((80, 80), np.uint8)
    truth[:, 40:] = 255
    trimap = trimap_from_alpha(truth)
    row = trimap[40]
    assert (row == 128).sum() == 24  # 12 pixels either side of the edge
    assert row[27] == 0 and row[28] == 128 and row[51] == 128 and row[52] == 255
    assert (trimap_from_alpha(truth / 255) == trimap).all()
    assert (trimap_from_alpha(truth, 1)[40] != 128).all()
    with pytest.raises(ConfigError, match="1 pixel or more"):
        trimap_from_alpha(truth, 0)


def test_band_lies_around_the_transition():
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 20] = 128
    truth[:, 21:] = 255
    columns = np.flatnonzero(transition_band(truth)[20])
    assert list(columns) == list(range(13, 28))
    assert list(np.flatnonzero(transition_band(truth, 2)[20])) == list(range(18, 23))
    assert not transition_band(np.zeros((20, 20), np.uint8)).any()
    assert (transition_band(truth / 255) == transition_band(truth)).all()


GOOD = np.zeros((8, 9), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GOOD, GOOD[:, :8]), r"pred is \(8, 9\), truth \(8, 8\)"),
        ((GOOD[..., None], GOOD), r"expected an array of shape \(H, W\)"),
        ((GOOD.tolist(), GOOD), "got list"),
        ((GOOD.astype(np.int32), GOOD), "got int32"),
        ((GOOD.astype(bool), GOOD), "got bool"),
        ((GOOD + 200.0, GOOD), "divide by 255"),
        ((np.full((8, 9), np.nan), GOOD), "lie in 0..1"),
        ((GOOD[:0], GOOD[:0]), "empty"),
        ((GOOD, GOOD, GOOD.astype(float)), "trimap: expected uint8"),
        ((GOOD, GOOD, GOOD[:4]), r"trimap is \(4, 9\)"),
    ],
)
@pytest.mark.parametrize("metric", [mse, sad, mad, grad, conn])
def test_wrong_arguments_are_refused(metric, arguments, message):
    with pytest.raises(ConfigError, match=message):
        metric(*arguments)


def test_wrong_videos_are_refused():
    video = np.zeros((3, 8, 9), np.uint8)
    for metric in (dtssd, messddt):
        with pytest.raises(ConfigError, match=r"shape \(T, H, W\)"):
            metric(GOOD, GOOD)
        with pytest.raises(ConfigError, match="at least two frames"):
            metric(video[:1], video[:1])
        with pytest.raises(ConfigError, match="pred is"):
            metric(video, video[:2])
    with pytest.raises(ConfigError, match=r"flow: expected float \(2, 8, 9, 2\)"):
        messddt(video, video, flow=np.zeros((3, 8, 9, 2), np.float32))
    with pytest.raises(ValueError, match="flow"):
        messddt(video, video, flow=np.zeros((2, 8, 9, 2), np.int32))
