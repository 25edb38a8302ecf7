"""What the Paddle engine does on a GPU. Run with ``pytest -m gpu`` where there is one."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from streammatte.engines import open_engine
from streammatte.errors import StreammatteError

GOLDEN = Path(__file__).parents[1] / "golden"
OLD, NEW = GOLDEN / "exported26", GOLDEN / "exported3"
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
    assert (engine.kernels, engine.precision) == ("cuda", precision)
    given = engine.submit(images).result()
    assert given.dtype == np.float32
    assert np.abs(given - alpha).max() < bound


def test_one_picture_after_a_batch_gives_its_own_alpha(opened, case):
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
    for model, trt in ((OLD, False), (OLD, True), (NEW, True)):
        if model == NEW and paddle.__version__.startswith("2."):
            continue
        engine = opened(model, device="gpu:1", batch=2, trt=trt)
        assert engine.device == "gpu:1"
        assert np.abs(engine.submit(images).result() - alpha).max() < F16


def test_tensorrt_keeps_its_engines(opened, case, tmp_path):
    images, alpha = case
    engine = opened(OLD, device="gpu:0", batch=2, trt=True)
    assert (engine.kernels, engine.precision) == ("tensorrt", "f16")
    assert np.abs(engine.submit(images).result() - alpha).max() < F16
    home = tmp_path / "home" / "tensorrt"
    kept = {path: path.stat().st_mtime_ns for path in home.rglob("trt_serialized_*")}
    assert kept
    again = opened(OLD, device="gpu:0", batch=2, trt=True)
    assert np.abs(again.submit(images).result() - alpha).max() < F16
    assert {path: path.stat().st_mtime_ns for path in home.rglob("trt_serialized_*")} == kept


def test_tensorrt_of_a_new_program_is_converted_once(opened, case, tmp_path, paddle):
    if paddle.__version__.startswith("2."):
        pytest.skip("Paddle 2 does not read .json")
    images, alpha = case
    # the parameters' name need not be the program's
    shutil.copytree(NEW, tmp_path / "net")
    (tmp_path / "net" / "model.pdiparams").rename(tmp_path / "net" / "weights.pdiparams")
    deploy = tmp_path / "net" / "deploy.yaml"
    deploy.write_text(deploy.read_text().replace("model.pdiparams", "weights.pdiparams"))
    engine = opened(tmp_path / "net", device="gpu:0", batch=2, trt=True)
    assert np.abs(engine.submit(images).result() - alpha).max() < F16
    home = tmp_path / "home" / "tensorrt"
    kept = {path: path.stat().st_mtime_ns for path in home.rglob("*.trt")}
    assert kept  # where the program names them
    again = opened(tmp_path / "net", device="gpu:0", batch=2, trt=True)
    assert np.abs(again.submit(images).result() - alpha).max() < F16
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*.trt")} == kept


def test_too_large_a_picture_is_told(paddle):
    with pytest.raises(StreammatteError, match="--batch"):
        open_engine(str(OLD), engine="paddle", device="gpu:0", size=(16384, 16384), batch=16)
