"""What the Paddle engine does on a GPU. Run with ``pytest -m gpu`` where there is one."""

from pathlib import Path

import numpy as np
import pytest

from streammatte.engines import open_engine
from streammatte.errors import StreammatteError

GOLDEN = Path(__file__).parents[1] / "golden"
OLD = GOLDEN / "exported26"
SIZE = (64, 96)
F32, F16 = 1e-3, 2e-2
pytestmark = [pytest.mark.gpu, pytest.mark.paddle]


@pytest.fixture(autouse=True)
def paddle(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    return pytest.importorskip("paddle")


@pytest.fixture
def case():
    with np.load(OLD / "case.npz") as arrays:
        return arrays["image"], arrays["alpha"]


@pytest.fixture
def opened():
    engines = []

    def open_(model, **options):
        engines.append(open_engine(str(model), engine="paddle", size=SIZE, **options))
        return engines[-1]

    yield open_
    for engine in engines:
        engine.close()


@pytest.mark.parametrize(("precision", "bound"), [("f32", F32), ("f16", F16)])
def test_cuda_gives_the_same_alpha(opened, case, precision, bound):
    images, alpha = case
    engine = opened(OLD, device="gpu:0", precision=precision, batch=2)
    assert (engine.device, engine.precision) == ("gpu:0", precision)
    given = engine.submit(images).result()
    assert given.dtype == np.float32
    assert np.abs(given - alpha).max() < bound


def test_one_image_after_a_batch_gives_its_own_alpha(opened, case):
    images, alpha = case
    for options in ({}, {"trt": True}):
        engine = opened(OLD, device="gpu:0", precision="f32", batch=2, **options)
        for order in ([0, 1], [1], [0], [1, 0]):
            given = engine.submit(np.ascontiguousarray(images[order])).result()
            assert np.abs(given - alpha[order]).max() < F32


def test_two_engines_in_one_process_keep_apart(opened, case):
    images, alpha = case
    first, second = (opened(OLD, device="gpu:0", batch=1) for _ in range(2))
    for _ in range(20):
        pending = [engine.submit(np.ascontiguousarray(images[i : i + 1])) for i, engine in enumerate((first, second))]
        for i, result in enumerate(pending):
            assert np.abs(result.result()[0] - alpha[i]).max() < F32
    first.close()
    assert np.abs(second.submit(np.ascontiguousarray(images[:1])).result()[0] - alpha[0]).max() < F32


def test_the_second_gpu_serves(opened, case, paddle):
    if paddle.device.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    images, alpha = case
    for trt in (False, True):
        engine = opened(OLD, device="gpu:1", batch=2, trt=trt)
        assert engine.device == "gpu:1"
        assert np.abs(engine.submit(images).result() - alpha).max() < F16


def test_tensorrt_keeps_its_engines(opened, case, tmp_path):
    images, alpha = case
    engine = opened(OLD, device="gpu:0", batch=2, trt=True)
    assert engine.precision == "f16"
    assert np.abs(engine.submit(images).result() - alpha).max() < F16
    home = tmp_path / "home" / "tensorrt"
    kept = {path: path.stat().st_mtime_ns for path in home.rglob("trt_serialized_*")}
    assert kept
    again = opened(OLD, device="gpu:0", batch=2, trt=True)
    assert np.abs(again.submit(images).result() - alpha).max() < F16
    assert {path: path.stat().st_mtime_ns for path in home.rglob("trt_serialized_*")} == kept


def test_too_large_an_image_is_reported(paddle):
    with pytest.raises(StreammatteError, match="--batch"):
        open_engine(str(OLD), engine="paddle", device="gpu:0", size=(16384, 16384), batch=16)
