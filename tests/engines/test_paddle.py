"""The Paddle engine: what its Config is told, which kernels it takes, and what a build without a GPU answers."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from streammatte.engines import open_engine
from streammatte.engines.paddle.config import GPU_POOL_MB, PaddleSettings, gpu_index, make_config, plan
from streammatte.engines.paddle.tensorrt import shape_ranges
from streammatte.errors import ConfigError, EngineUnavailableError, ModelError

GOLDEN = Path(__file__).parents[1] / "golden"
OLD, NEW = GOLDEN / "exported26", GOLDEN / "exported3"
SIZE = (64, 96)


def settings(folder=OLD, **options):
    program = next(path for path in (folder / "model.pdmodel", folder / "model.json") if path.is_file())
    return PaddleSettings(program, folder / "model.pdiparams", **options)


def told(settings_, **options):
    return dict(plan(settings_, **options))


def names(settings_, **options):
    return [method for method, _ in plan(settings_, **options)]


def test_the_cpu_is_told_threads_and_kernels():
    calls = told(settings(threads=3, onednn=True))
    assert calls["set_cpu_math_library_num_threads"] == {"x": 3}
    assert "enable_mkldnn" in calls
    assert "disable_mkldnn" not in calls
    assert "enable_use_gpu" not in calls
    plain = told(settings(threads=1))
    assert "disable_mkldnn" in plain  # its default differs between versions
    assert "enable_mkldnn" not in plain


def test_memory_optimisation_is_left_out_of_three():
    assert "enable_memory_optim" in told(settings(major=2))
    assert "enable_memory_optim" not in told(settings(major=3))


def test_the_gpu_is_told_its_number_pool_and_precision():
    calls = told(settings(device="gpu:1"))
    assert calls["enable_use_gpu"] == {
        "memory_pool_init_size_mb": GPU_POOL_MB,
        "device_id": 1,
        "precision_mode": "Float32",
    }
    assert "enable_low_precision_io" not in calls
    half = told(settings(device="gpu", precision="f16"))
    assert half["enable_use_gpu"]["precision_mode"] == "Half"
    assert half["enable_low_precision_io"] == {"x": False}
    assert "set_cpu_math_library_num_threads" not in half


def test_tensorrt_runs_half_with_shapes_and_engines_kept(tmp_path):
    ready = settings(
        device="gpu:0", precision="f16", trt=True, batch=4, shapes=tmp_path / "shapes.pbtxt", cache=tmp_path
    )
    order = names(ready)
    assert order.index("enable_use_gpu") < order.index("enable_tensorrt_engine")  # Paddle ignores TensorRT otherwise
    calls = told(ready)
    engine = calls["enable_tensorrt_engine"]
    assert engine["max_batch_size"] == 4
    assert engine["precision_mode"] == "Half"
    assert engine["use_static"] is True
    assert engine["use_calib_mode"] is False
    assert calls["enable_use_gpu"]["precision_mode"] == "Float32"  # what TensorRT leaves over stays exact
    assert calls["enable_tuned_tensorrt_dynamic_shape"] == {
        "shape_range_info_path": str(tmp_path / "shapes.pbtxt"),
        "allow_build_at_runtime": True,
    }
    assert calls["set_optim_cache_dir"] == {"path": str(tmp_path)}


def test_the_recording_run_has_no_tensorrt(tmp_path):
    ready = settings(device="gpu:0", precision="f16", trt=True, shapes=tmp_path / "s", cache=tmp_path, major=2)
    calls = told(ready, collect=True)
    assert calls["collect_shape_range_info"] == {"path": str(tmp_path / "s")}
    assert "enable_tensorrt_engine" not in calls
    assert "enable_memory_optim" not in calls  # it would hide inner tensors from the recorder


def test_a_program_of_three_is_converted_beforehand():
    ready = settings(NEW, device="gpu:0", precision="f16", trt=True)
    assert ready.converted
    assert "enable_tensorrt_engine" not in told(ready)
    assert not settings(OLD, device="gpu:0", trt=True).converted


def test_shapes_reach_from_one_picture_to_the_batch():
    ranges = shape_ranges(["trimap", "img"], SIZE, 4)
    assert ranges == {
        "img": ((1, 3, *SIZE), (4, 3, *SIZE), (4, 3, *SIZE)),
        "trimap": ((1, 1, *SIZE), (4, 1, *SIZE), (4, 1, *SIZE)),
    }


@pytest.mark.parametrize("device", ["gpu:²", "gpu:", "gpu:-1", "gpu:0 ", "GPU:0", "gpu:0:1"])
def test_devices_that_are_none_are_refused(device):
    with pytest.raises(ConfigError, match="N a number"):
        gpu_index(device)


@pytest.mark.parametrize(("device", "index"), [("cpu", None), ("gpu", 0), ("gpu:0", 0), ("gpu:3", 3)])
def test_devices_are_read(device, index):
    assert gpu_index(device) == index


@pytest.mark.parametrize(
    "options",
    [
        {"device": "gpu:x"},
        {"device": "tpu"},
        {"device": "cpu", "precision": "f16"},
        {"device": "cpu", "trt": True},
        {"device": "gpu:0", "precision": "bf16"},
    ],
)
def test_settings_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError):
        plan(settings(**options))


# ---- from here on with Paddle itself ----


@pytest.fixture
def paddle(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    return pytest.importorskip("paddle")


@pytest.mark.paddle
def test_the_config_says_what_it_was_told(paddle):
    fast, stream = make_config(settings(threads=2, onednn=True))
    assert stream is None
    assert fast.mkldnn_enabled()
    assert fast.cpu_math_library_num_threads() == 2
    assert not fast.use_gpu()
    assert fast.glog_info_disabled()
    assert fast.ir_optim()
    assert Path(fast.prog_file()) == OLD / "model.pdmodel"
    plain, _ = make_config(settings(threads=1))
    assert not plain.mkldnn_enabled()


def signature_holds(config, method, arguments):
    """Make a call; True where Paddle took the arguments, also where this build then lacks what is asked."""
    try:
        getattr(config, method)(*arguments)
    except RuntimeError as error:
        assert "compile with TENSORRT" in str(error), error  # a TypeError would be a wrong signature
    return True


@pytest.mark.paddle
def test_every_gpu_call_is_one_that_this_paddle_has(paddle, tmp_path):
    from paddle import inference

    ready = settings(device="gpu:0", precision="f16", trt=True, batch=2, shapes=tmp_path / "s", cache=tmp_path, major=2)
    half = settings(device="gpu:0", precision="f16")
    config = inference.Config(str(ready.program), str(ready.params))
    for call in (*plan(ready), *plan(half), *plan(ready, collect=True)):
        method, arguments = call
        values = {
            name: getattr(inference.PrecisionType, value) if name == "precision_mode" else value
            for name, value in arguments.items()
        }
        assert hasattr(config, method), method
        text = getattr(inference.Config, method).__doc__
        unnamed = "arg0" in text or not values
        if unnamed:
            assert signature_holds(config, method, list(values.values()))
            continue
        for name in values:
            assert f"{name}: " in text, f"{method} has no argument {name}: {text}"


@pytest.mark.paddle
def test_a_build_for_the_cpu_refuses_the_gpu(paddle):
    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this Paddle has CUDA")
    with pytest.raises(EngineUnavailableError, match=r"streammatte\[gpu\]"):
        open_engine(str(OLD), engine="paddle", device="gpu:0", size=SIZE)
    with pytest.raises(EngineUnavailableError, match=r"built for the CPU"):
        open_engine(str(OLD), device="gpu:0", trt=True, size=SIZE)


@pytest.mark.paddle
def test_tensorrt_says_that_it_needs_a_gpu_before_anything_else(paddle):
    for precision in ("auto", "f16", "bf16"):
        with pytest.raises(ConfigError, match="TensorRT needs a GPU"):
            open_engine(str(OLD), device="cpu", precision=precision, trt=True, size=SIZE)
    if not paddle.device.is_compiled_with_cuda():
        with pytest.raises(EngineUnavailableError, match="built for the CPU"):
            open_engine(str(OLD), trt=True, size=SIZE)


@pytest.mark.paddle
def test_half_precision_on_the_cpu_is_refused(paddle):
    with pytest.raises(ConfigError, match="f32"):
        open_engine(str(OLD), engine="paddle", device="cpu", precision="f16", size=SIZE)


@pytest.mark.paddle
def test_the_kernels_are_tried_once_and_remembered(paddle, tmp_path, caplog):
    model = str(OLD if paddle.__version__.startswith("2.") else NEW)
    caplog.set_level("INFO")
    engine = open_engine(model, engine="paddle", device="cpu", size=SIZE)
    (verdict,) = (tmp_path / "home" / "paddle").iterdir()
    assert verdict.read_text().splitlines()[0] == engine.kernels
    assert ("without oneDNN, several times slower; --engine openvino" in caplog.text) == (engine.kernels == "plain")
    engine.close()
    verdict.write_text("plain\nit had a bad day")  # what is remembered decides: nothing is tried again
    caplog.clear()
    engine = open_engine(model, engine="paddle", device="cpu", size=SIZE)
    assert engine.kernels == "plain"
    assert "it had a bad day" in caplog.text  # every start says why it is slow
    engine.close()


@pytest.mark.paddle
def test_the_program_of_older_paddles_runs_with_fast_kernels(paddle):
    engine = open_engine(str(OLD), engine="paddle", device="cpu", size=SIZE)
    assert engine.kernels == "onednn"
    engine.close()


@pytest.mark.paddle
def test_a_program_of_three_on_an_older_paddle_is_told(paddle, monkeypatch):
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    with pytest.raises(ModelError, match="Paddle 3"):
        open_engine(str(NEW), engine="paddle", device="cpu", size=SIZE)


@pytest.mark.paddle
def test_a_trimap_is_asked_for_where_the_network_needs_one(paddle, tmp_path):
    from streammatte.export.paddle_program import write_paddle
    from streammatte.models.input_rule import InputRule

    class Blend(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            half = paddle.ParamAttr(initializer=paddle.nn.initializer.Constant(0.5))
            self.mix = paddle.nn.Conv2D(1, 1, 1, weight_attr=half, bias_attr=False)

        def forward(self, image, trimap=None):
            return self.mix(trimap / 255) + 0.25 * (image.mean(axis=1, keepdim=True) + 1)

    write_paddle(Blend(), tmp_path / "net", InputRule(trimap=True))
    images = np.full((2, *SIZE, 3), 255, np.uint8)
    trimaps = np.stack([np.zeros(SIZE, np.uint8), np.full(SIZE, 255, np.uint8)])
    for name in ("paddle", "openvino") if find_spec("paddle2onnx") else ("paddle",):
        engine = open_engine(str(tmp_path / "net"), engine=name, device="cpu", precision="f32", size=SIZE, batch=2)
        given = engine.submit(images, trimaps).result()
        assert np.allclose(given[0], 0.5, atol=1e-6)
        assert np.allclose(given[1], 1.0, atol=1e-6)
        assert np.allclose(engine.submit(images[:1], trimaps[1:]).result(), 1.0, atol=1e-6)
        with pytest.raises(ConfigError, match="--trimap"):
            engine.submit(images)
        with pytest.raises(ConfigError, match="trimaps must be"):
            engine.submit(images, trimaps[:1])
        engine.close()


@pytest.mark.paddle
def test_what_gives_no_alpha_is_told(paddle, tmp_path):
    from streammatte.export.paddle_program import write_paddle
    from streammatte.models.input_rule import InputRule

    class Colours(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.mix = paddle.nn.Conv2D(3, 3, 1)

        def forward(self, image):
            return self.mix(image)

    write_paddle(Colours(), tmp_path / "net", InputRule())
    with pytest.raises(ModelError, match="no alpha"):
        open_engine(str(tmp_path / "net"), engine="paddle", device="cpu", size=SIZE)


@pytest.mark.paddle
def test_the_normalisation_of_the_deploy_file_is_used(paddle, tmp_path):
    shutil.copytree(OLD, tmp_path / "net")
    text = (OLD / "deploy.yaml").read_text()
    text = text.replace("- type: Normalize", "- type: Normalize\n    mean: [0.0, 0.0, 0.0]\n    std: [1.0, 1.0, 1.0]")
    (tmp_path / "net" / "deploy.yaml").write_text(text)
    image = np.load(OLD / "case.npz")["image"][:1]
    results = []
    for engine_name in ("openvino", "paddle"):
        engine = open_engine(str(tmp_path / "net"), engine=engine_name, device="cpu", precision="f32", size=SIZE)
        results.append(engine.submit(image).result())
        engine.close()
    assert np.abs(results[0] - results[1]).max() < 1e-3
    assert np.abs(results[0][0] - np.load(OLD / "case.npz")["alpha"][0]).max() > 0.01
