"""Losses against independent NumPy."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

paddle = pytest.importorskip("paddle")
pytestmark = pytest.mark.paddle

from streammatte.training.losses import consistency, gradient_loss, laplacian_loss, mrsd, network_losses  # noqa: E402

RNG = np.random.default_rng(5)
GIVEN, WANTED = RNG.random((2, 1, 32, 48), np.float32), RNG.random((2, 1, 32, 48), np.float32)
MASK = (RNG.random((2, 1, 32, 48)) < 0.3).astype(np.float32)


def tensor(array):
    return paddle.to_tensor(np.asarray(array, np.float32))


def np_mrsd(given, wanted, mask=None):
    error = np.sqrt((given - wanted).astype(np.float64) ** 2 + 1e-6)
    return error.mean() if mask is None else (error * mask).sum() / (np.broadcast_to(mask, mask.shape).sum() + 1e-6)


def np_sobel(x):
    planes = x.reshape(-1, *x.shape[2:]).astype(np.float64)
    squares = [sum((ndimage.sobel(plane, axis, mode="nearest") / 8) ** 2 for axis in (0, 1)) for plane in planes]
    return np.sqrt(np.stack(squares).reshape(x.shape) + 1e-6)


def np_gradient(given, wanted, mask=None):
    if mask is not None:
        given, wanted = given * mask, wanted * mask
    error = np.abs(np_sobel(given) - np_sobel(wanted))
    return error.mean() if mask is None else error.sum() / (mask.sum() + 1e-6)


def np_laplacian(given, wanted):
    at = np.arange(-2, 3)
    kernel = np.exp(-(at**2))[:, None] + np.exp(-(at**2))[None]
    kernel = kernel[None, None] / kernel.sum()
    total = 0.0
    for level in range(6):
        if level == 5:
            return total + np.abs(given - wanted).mean()
        soft = [ndimage.convolve(x.astype(np.float64), kernel, mode="nearest") for x in (given, wanted)]
        total += np.abs((given - soft[0]) - (wanted - soft[1])).mean()
        given, wanted = (x.reshape(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3] // 2, 2).mean((3, 5)) for x in soft)
    return total


@pytest.mark.parametrize("mask", [None, MASK])
def test_values(mask):
    given, wanted = tensor(GIVEN), tensor(WANTED)
    at = None if mask is None else tensor(mask)
    assert float(mrsd(given, wanted, at)) == pytest.approx(np_mrsd(GIVEN, WANTED, mask), rel=1e-5)
    assert float(gradient_loss(given, wanted, at)) == pytest.approx(np_gradient(GIVEN, WANTED, mask), rel=1e-4)


def test_laplacian():
    given, wanted = RNG.random((2, 1, 32, 64), np.float32), RNG.random((2, 1, 32, 64), np.float32)
    expected = np_laplacian(given, wanted)
    assert float(laplacian_loss(tensor(given), tensor(wanted))) == pytest.approx(expected, rel=1e-4)
    assert float(laplacian_loss(tensor(given), tensor(given))) == 0


def test_consistency():
    change = (GIVEN[1] - GIVEN[0]) - (WANTED[1] - WANTED[0])
    expected = np.sqrt(change.astype(np.float64) ** 2 + 1e-6).mean()
    assert float(consistency(tensor(GIVEN), tensor(WANTED))) == pytest.approx(expected, rel=1e-5)


def labels():
    trimap = np.where(MASK > 0, 128, np.where(WANTED > 0.5, 255, 0)).astype(np.float32)
    fore, back = (RNG.random((2, 3, 32, 48), np.float32) * 2 - 1 for _ in range(2))
    image = WANTED * fore + (1 - WANTED) * back
    return {"alpha": WANTED, "trimap": trimap, "foreground": fore, "background": back, "image": image}


def of_network(name, given, truth, network=None):
    found = network_losses(name)(
        {k: tensor(v) for k, v in given.items()}, {k: tensor(v) for k, v in truth.items()}, network
    )
    return {name: float(value) for name, value in found.items()}


def test_ppmattingv2():
    small = RNG.random((2, 1, 4, 6), np.float32)
    area = WANTED.reshape(2, 1, 4, 8, 6, 8).mean((3, 5))
    found = of_network("ppmattingv2-stdc1-human_512", {"alpha": GIVEN, "alpha_8x": small}, labels())
    expected = {
        "alpha_mrsd": np_mrsd(GIVEN, WANTED) + 2 * np_mrsd(GIVEN, WANTED, MASK),
        "alpha_gradient": np_gradient(GIVEN, WANTED) + 2 * np_gradient(GIVEN, WANTED, MASK),
        "alpha_8x_mrsd": np_mrsd(small, area),
        "alpha_8x_gradient": np_gradient(small, area),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def test_ppmatting():
    truth = labels()
    classes = RNG.random((2, 3, 32, 48), np.float32)
    classes /= classes.sum(1, keepdims=True)
    detail = RNG.random((2, 1, 32, 48), np.float32)
    found = of_network("ppmatting-hrnet_w18-human_512", {"alpha": GIVEN, "semantic": classes, "detail": detail}, truth)
    wanted = np.where(truth["trimap"] == 128, 1, np.where(truth["trimap"] == 0, 2, 0))
    chosen = np.take_along_axis(classes, wanted, 1)
    over = [a * truth["foreground"] + (1 - a) * truth["background"] for a in (GIVEN, WANTED)]
    expected = {
        "semantic": -0.25 * np.log(chosen + 1e-6).mean(),
        "detail": 0.25 * (np_mrsd(detail, WANTED, MASK) + np_gradient(detail, WANTED, MASK)),
        "fusion": 0.25 * (np_mrsd(GIVEN, WANTED) + np_mrsd(*over) + np_gradient(GIVEN, WANTED)),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def np_area(x, by):
    return x.reshape(*x.shape[:2], x.shape[2] // by, by, x.shape[3] // by, by).mean((3, 5))


def test_lite():
    given, wanted = RNG.random((2, 1, 32, 64), np.float32), RNG.random((2, 1, 32, 64), np.float32)
    mask = (RNG.random(wanted.shape) < 0.3).astype(np.float32)
    small = RNG.random((2, 1, 4, 8), np.float32)
    truth = {"alpha": wanted, "trimap": np.where(mask > 0, 128, 255).astype(np.float32)}
    found = of_network("ppmattingv2-lite", {"alpha": given, "alpha_8x": small}, truth)
    error = np.sqrt((given - wanted).astype(np.float64) ** 2 + 1e-6)
    expected = {
        "alpha_mrsd": (error * np.where(mask > 0, 3, 1)).mean(),
        "alpha_laplacian": np_laplacian(given, wanted),
        "alpha_8x_mrsd": 0.5 * np_mrsd(small, np_area(wanted, 8)),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def np_blurred(x):
    """OpenCV's Gaussian of 3x3, whose borders mirror without repeating the edge."""
    return np.stack([cv2.GaussianBlur(plane[0], (3, 3), 0.8, borderType=cv2.BORDER_REFLECT_101) for plane in x])[
        :, None
    ]


def test_modnet():
    from streammatte.networks import create

    truth = labels()
    semantic, detail = RNG.random((2, 1, 2, 3), np.float32), RNG.random((2, 1, 32, 48), np.float32)
    network = create("modnet-mobilenetv2")
    found = of_network("modnet-mobilenetv2", {"alpha": GIVEN, "semantic": semantic, "detail": detail}, truth, network)

    def sixteenth(x):  # bilinear to a sixteenth without aligned corners: the mean of the four in the middle
        return sum(x[:, :, i::16, j::16] for i in (7, 8) for j in (7, 8)) / 4

    unknown = MASK > 0
    boundary = np.where(unknown, GIVEN, WANTED)
    image = truth["image"]
    agreed = np.where(unknown[:, :, ::16, ::16], semantic, np_blurred(sixteenth(GIVEN)))
    expected = {
        "semantic": ((semantic - np_blurred(sixteenth(WANTED))) ** 2).mean(),
        "detail": 10 * np.abs((detail - WANTED) * MASK).mean() / MASK.mean(),
        "fusion_l1": np.abs(GIVEN - WANTED).mean() + 4 * np.abs(boundary - WANTED).mean(),
        "fusion_composite": np.abs((GIVEN - WANTED) * image).mean() + 4 * np.abs((boundary - WANTED) * image).mean(),
        "fusion_semantic": ((agreed - semantic) ** 2).mean(),
    }
    assert found == pytest.approx(expected, rel=1e-3)


def test_human_matting():
    truth = labels()
    classes = RNG.random((2, 3, 16, 24), np.float32)
    classes /= classes.sum(1, keepdims=True)
    focus, fusion, error = (RNG.random((2, 1, 16, 24), np.float32) for _ in range(3))
    given = {"glance": classes, "focus": focus, "fusion": fusion, "error": error, "alpha": GIVEN}
    found = of_network("human_matting-resnet34_vd", given, truth)
    trimap = truth["trimap"][:, :, ::2, ::2]
    small = np_area(WANTED, 2)
    wanted = np.where(trimap == 128, 1, np.where(trimap == 0, 2, 0))

    def large(x):
        return np.stack([cv2.resize(plane[0], (48, 32), interpolation=cv2.INTER_LINEAR) for plane in x])[:, None]

    expected = {
        "glance": -0.25 * np.log(np.take_along_axis(classes, wanted, 1) + 1e-6).mean(),
        "focus": 0.25 * np_mrsd(focus, small, (trimap == 128).astype(np.float32)),
        "fusion": 0.25 * np_mrsd(fusion, small),
        "error": ((large(error) - np.abs(large(fusion) - WANTED)) ** 2).mean(),
        "refine": np.abs(GIVEN - WANTED).mean(),
    }
    assert found == pytest.approx(expected, rel=1e-4)


def test_dim_and_gca():
    truth = labels()
    raw = RNG.random((2, 1, 32, 48), np.float32)
    found = of_network("dim-vgg16", {"alpha": GIVEN, "alpha_raw": raw}, truth)
    over = raw * truth["foreground"] + (1 - raw) * truth["background"]
    expected = {
        "raw": 0.5 * np_mrsd(raw, WANTED, MASK),
        "composite": 0.5 * np_mrsd(over, truth["image"], MASK),
        "alpha": np_mrsd(GIVEN, WANTED, MASK),
    }
    assert found == pytest.approx(expected, rel=1e-4)
    gca = of_network("gca-resguidedcxtatten", {"alpha": GIVEN}, truth)
    assert gca == pytest.approx({"alpha": np.abs(GIVEN - WANTED).mean()}, rel=1e-5)
