"""Classic methods: known alpha comes back, trimaps from mattes, and what cannot be solved is reported."""

import subprocess
import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest

from streammatte.errors import ConfigError
from streammatte.frames import Frame, Layout
from streammatte.matting.trimap_methods import METHODS, auto_trimap, classic_alpha
from streammatte.runtime import import_pymatting

WIDE, HIGH = 96, 72


def soft_disc():
    """A disc with a soft edge over a smooth background: image, alpha, trimap."""
    y, x = np.mgrid[:HIGH, :WIDE]
    distance = np.hypot(x - WIDE / 2, y - HIGH / 2)
    alpha = np.clip((26 - distance) / 6 + 0.5, 0, 1)
    front = np.stack([200 + 20 * np.sin(x / 30), 60 + 0 * x, 50 + y / 4], axis=2)
    back = np.stack([30 + x / 3, 90 + y / 4, 170 + 0 * x], axis=2)
    image = np.uint8(np.rint(alpha[..., None] * front + (1 - alpha[..., None]) * back))
    trimap = np.uint8(np.where(distance < 20, 255, np.where(distance > 33, 0, 128)))
    return image, alpha.astype(np.float32), trimap


BOUNDS = {"closed-form": 0.005, "knn": 0.06, "learning-based": 0.005, "fast": 0.01, "random-walk": 0.08}
"""Mean error inside the unknown band, measured on this image and rounded up."""


@pytest.mark.parametrize("method", METHODS)
def test_the_alpha_of_a_composite_comes_back(method):
    image, truth, trimap = soft_disc()
    alpha = classic_alpha(method, image, trimap)
    band = trimap == 128
    assert alpha.dtype == np.float32
    assert alpha.min() >= 0
    assert alpha.max() <= 1
    assert (alpha[trimap == 255] == 1).all()
    assert (alpha[trimap == 0] == 0).all()
    assert np.abs(alpha - truth)[band].mean() < BOUNDS[method]


def test_pymattings_advice_goes_to_the_log(caplog, capfd):
    import scipy.sparse

    ichol = import_pymatting().ichol
    indefinite = scipy.sparse.csc_matrix(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with caplog.at_level("INFO"), pytest.raises(ValueError, match="Cholesky"):
        ichol(indefinite, shifts=[0.0])
    assert "PyMatting: PERFORMANCE WARNING" in caplog.text
    assert capfd.readouterr().out == ""


def test_a_first_import_says_what_it_waits_for():
    code = (
        "from streammatte.cli.options import set_up_logging; set_up_logging('warning'); "
        "from streammatte import runtime as m; m.NOTICE_AFTER = 0.0; m.import_pymatting()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "compiling PyMatting, once; this takes half a minute\n"


def test_a_trimap_that_knows_all_is_the_alpha():
    image, truth, _ = soft_disc()
    trimap = np.uint8(255 * (truth > 0.5))
    assert np.array_equal(classic_alpha("knn", image, trimap), (trimap / 255).astype(np.float32))


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("magic", lambda p, t: (p, t), "one of closed-form"),
        ("knn", lambda p, t: (p[..., 0], t), "H, W, 3"),
        ("knn", lambda p, t: (p.astype(np.float32), t), "uint8"),
        ("knn", lambda p, t: (p, t[1:]), "like its image"),
        ("knn", lambda p, t: (p, t / 255.0), "like its image"),
        ("knn", lambda p, t: (p, np.maximum(t, 128)), "no background"),
        ("knn", lambda p, t: (p, np.minimum(t, 128)), "no foreground"),
    ],
)
def test_what_cannot_be_solved_is_reported(method, change, message):
    image, _, trimap = soft_disc()
    with pytest.raises(ConfigError, match=message):
        classic_alpha(method, *change(image, trimap))


@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_a_trimap_keeps_its_distance_from_soft_pixels(kind):
    _, alpha, _ = soft_disc()
    given = alpha if kind == "float" else np.uint8(np.rint(alpha * 255))
    trimap = auto_trimap(given, 4)
    assert set(np.unique(trimap)) == {0, 128, 255}
    soft = np.uint8((alpha > 0.06) & (alpha < 0.94))
    beyond = cv2.distanceTransform(1 - soft, cv2.DIST_L2, 5)
    assert (trimap[beyond < 3.5] == 128).all()
    assert (trimap[(beyond > 6) & (alpha > 0.5)] == 255).all()
    assert (trimap[(beyond > 6) & (alpha < 0.5)] == 0).all()
    assert (auto_trimap(given, 8) == 128).sum() > (trimap == 128).sum()


def test_a_person_cut_off_by_the_frame_stays_known_there():
    alpha = np.zeros((40, 40), np.float32)
    alpha[10:, 10:30] = 1
    trimap = auto_trimap(alpha, 3)
    assert trimap[39, 20] == 255
    assert trimap[0, 0] == 0


def test_faulty_requests_for_a_trimap_are_reported():
    with pytest.raises(ConfigError, match="0 pixels"):
        auto_trimap(np.zeros((4, 4), np.uint8), -1)
    with pytest.raises(ConfigError, match="H, W"):
        auto_trimap(np.zeros((4, 4, 1), np.uint8), 1)


def frame(image, index=0):
    return Frame((image,), Layout.RGB, index, Fraction(1, 25), index=index)
