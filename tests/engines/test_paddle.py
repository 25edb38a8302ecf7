"""The Paddle engine on the CPU, what it refuses, and the choice between it and OpenVINO."""

import logging
import shutil
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from streammatte import engines
from streammatte.engines import choose_engine, open_engine
from streammatte.engines.paddle.engine import PaddleEngine, paddle_calls
from streammatte.errors import ConfigError, EngineUnavailableError, ModelError, ModelNotFoundError
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import resolve
from streammatte.optional_imports import import_paddle

GOLDEN = Path(__file__).parents[1] / "golden"
OLD, NEW = GOLDEN / "exported26", GOLDEN / "exported3"
SIZE = (64, 96)


@pytest.fixture
def paddle(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    return pytest.importorskip("paddle")


def opened(model=OLD, **options):
    return open_engine(str(model), engine="paddle", size=SIZE, **{"device": "cpu", **options})


# ---- devices and precisions ----


@pytest.mark.paddle
@pytest.mark.parametrize("device", ["gpu:²", "gpu:", "gpu:-1", "gpu:0 ", "GPU:0", "gpu:0:1", "tpu"])
def test_devices_that_do_not_exist_are_refused(paddle, device):
    with pytest.raises(ConfigError, match="N a number"):
        opened(device=device)


@pytest.mark.paddle
def test_a_build_for_the_cpu_refuses_the_gpu(paddle):
    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this Paddle has CUDA")
    for options in ({"device": "gpu:0"}, {"device": "gpu:0", "trt": True}, {"device": "auto", "trt": True}):
        with pytest.raises(EngineUnavailableError, match=r"built for the CPU.*streammatte\[gpu\]"):
            opened(**options)


@pytest.mark.paddle
@pytest.mark.parametrize("precision", ["auto", "f16", "bf16"])
def test_tensorrt_needs_a_gpu(paddle, precision):
    with pytest.raises(ConfigError, match="TensorRT needs a GPU"):
        opened(precision=precision, trt=True)


@pytest.mark.paddle
def test_tensorrt_needs_an_old_program(paddle):
    with pytest.raises(ConfigError, match=r"needs .* a \.pdmodel program; got .*model\.json"):
        opened(NEW, device="gpu:0", trt=True)


@pytest.mark.paddle
@pytest.mark.parametrize("precision", ["f16", "bf16", "int8"])
def test_the_cpu_runs_f32_alone(paddle, precision):
    with pytest.raises(ConfigError, match="f32 on the CPU"):
        opened(precision=precision)


@pytest.mark.paddle
def test_every_setting_for_a_gpu_is_one_that_this_paddle_has(paddle, tmp_path):
    """A build for the CPU takes the calls and refuses TensorRT itself, which shows that names and types are right."""
    from paddle import inference

    from streammatte.engines.paddle import config

    program, params = OLD / "model.pdmodel", OLD / "model.pdiparams"
    for precision in ("f32", "f16"):
        made = config.make_config(program, params, 0, precision, 1, 2, trt=False)
        assert made.prog_file() == str(program)
    if not paddle.device.is_compiled_with_cuda():
        with pytest.raises(RuntimeError, match="compile with TENSORRT"):
            config.make_config(program, params, 0, "f16", 1, 2, trt=True)
    assert "shape_range_info_path: str = ''" in inference.Config.enable_tuned_tensorrt_dynamic_shape.__doc__


@pytest.mark.paddle
def test_the_cpu_is_slow_and_the_log_says_so(paddle, caplog):
    opened().close()
    assert "--engine openvino is several times faster" in caplog.text


@pytest.mark.paddle
def test_a_program_of_three_on_an_older_paddle_is_refused(paddle, monkeypatch):
    monkeypatch.setattr(paddle, "__version__", "2.6.2")
    with pytest.raises(ModelError, match="Paddle 3"):
        opened(NEW)


# ---- networks ----


@pytest.mark.paddle
def test_a_trimap_is_required_where_the_network_needs_one(paddle, tmp_path):
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
def test_what_gives_no_alpha_is_refused(paddle, tmp_path):
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


def write(paddle, folder, channels, forward):
    """Write a program whose inputs have these names and channels."""

    class Network(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.mix = paddle.nn.Conv2D(next(iter(channels.values())), 1, 1)

    network = Network()
    network.forward = forward.__get__(network)
    spec = [paddle.static.InputSpec([None, count, None, None], "float32", name) for name, count in channels.items()]
    static = paddle.jit.to_static(network, input_spec=spec, full_graph=True)
    folder.mkdir()
    paddle.jit.save(static, str(folder / "model"))
    return folder / ("model.json" if (folder / "model.json").is_file() else "model.pdmodel")


@pytest.mark.paddle
def test_unknown_inputs_are_refused(paddle, tmp_path):
    def one(self, trimap):
        return self.mix(trimap)

    def three(self, img, trimap, depth):
        return self.mix(img) + trimap + depth

    alone = write(paddle, tmp_path / "alone", {"trimap": 1}, one)
    many = write(paddle, tmp_path / "many", {"img": 3, "trimap": 1, "depth": 1}, three)
    for program, names in ((alone, "the inputs trimap;"), (many, "(depth|trimap).*depth")):
        with pytest.raises(ModelError, match=names):
            opened(program)


@pytest.mark.paddle
def test_an_engine_that_cannot_run_is_closed(paddle, monkeypatch):
    def fails(self, images, trimaps):
        raise ModelError("inference failed: no luck")

    monkeypatch.setattr(PaddleEngine, "_run", fails)
    with pytest.raises(ModelError, match="no luck"):
        opened()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("streammatte-paddle")]


# ---- what Paddle raises ----


@pytest.mark.parametrize(
    "error", [ValueError, IndexError, TypeError, SystemError, OSError, RuntimeError, NotImplementedError, Exception]
)
def test_every_kind_of_error_becomes_one_of_ours(error):
    text = r"^it failed: \(Fatal\) no luck; try another$"
    with pytest.raises(ModelError, match=text) as caught, paddle_calls("it failed", "try another"):
        raise error("(Fatal) no luck")
    assert isinstance(caught.value.__cause__, error)


def test_our_own_errors_pass_as_they_are():
    for error in (EngineUnavailableError("no TensorRT"), ModelNotFoundError("no file")):
        with pytest.raises(type(error)) as caught, paddle_calls("it failed"):
            raise error
        assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("(ResourceExhausted) 3 GB on GPU 0"),
        RuntimeError("could not create a memory object"),
    ],
)
def test_short_memory_names_the_options_to_lower(error):
    with pytest.raises(ModelError, match="smaller --batch or --size"), paddle_calls("it failed", "try another"):
        raise error


STARVED = """
import resource, sys
import numpy as np
from streammatte.engines import open_engine
from streammatte.errors import ModelError
engine = open_engine(sys.argv[1], engine="paddle", device="cpu", size=(1024, 1024), batch=8)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
images = np.zeros((8, 1024, 1024, 3), np.uint8)
resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20,) * 2)
try:
    engine.submit(images).result()
except ModelError as error:
    print("raised:", error)
"""


@pytest.mark.paddle
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory as Linux does")
def test_a_batch_too_large_for_the_memory_is_reported(paddle):
    done = subprocess.run(
        [sys.executable, "-c", STARVED, str(OLD)], capture_output=True, text=True, check=False, timeout=250
    )
    assert "raised: inference failed" in done.stdout, done.stderr[-2000:]
    assert "smaller --batch or --size" in done.stdout


# ---- importing and choosing ----


def broken(monkeypatch, tmp_path, text):
    """Put a Paddle that does not import in front of the real one."""
    for name in [name for name in sys.modules if name.split(".")[0] == "paddle"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paddle", None)  # so that this one is gone afterwards where none was before
    monkeypatch.delitem(sys.modules, "paddle")
    (tmp_path / "paddle.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("text", ["raise ImportError('libcudart.so.12')", "import nothing_of_this_name", "1 / 0"])
def test_a_broken_paddle_ends_only_what_needs_it(monkeypatch, tmp_path, caplog, text):
    broken(monkeypatch, tmp_path, text)
    with pytest.raises(EngineUnavailableError, match=r"cannot be imported.*install it again"):
        open_engine(str(OLD), engine="paddle", device="cpu", size=SIZE)
    assert choose_engine("auto", "auto", resolve(str(OLD))) == ("openvino", "the installed Paddle does not work")
    assert "Paddle is left out" in caplog.text


def test_importing_paddle_leaves_the_root_logger_alone(monkeypatch, tmp_path):
    broken(monkeypatch, tmp_path, "import logging; logging.basicConfig(); logging.getLogger().setLevel(10)")
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    monkeypatch.setattr(root, "handlers", [])
    import_paddle("the test")
    assert root.handlers == []
    assert root.level == before[1]


@pytest.fixture
def without(monkeypatch):
    """Hide packages from the choice of an engine."""

    def hide(*names):
        monkeypatch.setattr(engines, "find_spec", lambda name: None if name in names else object())

    return hide


@pytest.mark.parametrize("device", ["auto", "cpu", "gpu:0"])
def test_what_openvino_cannot_read_here_goes_to_paddle(without, device):
    weights = ModelFiles("net", weights=Path("net.pdparams"), architecture="modnet-mobilenetv2")
    program = ModelFiles("net", program=Path("net.json"), params=Path("net.pdiparams"))
    for files in (weights, program):
        for package in ("paddle2onnx", "onnx"):
            without(package)
            chosen, reason = choose_engine("auto", device, files)
            assert chosen == "paddle"
            assert f"through {package}" in reason
            assert "streammatte[export]" in reason
        without("paddle2onnx", "onnx", "paddle")
        assert choose_engine("auto", device, files)[0] == "openvino"
    without("paddle2onnx", "onnx")
    assert choose_engine("auto", "cpu", resolve(str(OLD)))[0] == "openvino"  # it reads .pdmodel by itself
    assert choose_engine("auto", "npu", program) == ("openvino", "the fastest on --device npu")


@pytest.mark.paddle
def test_a_new_program_runs_by_itself_where_the_export_extra_is_not_here(paddle, without, caplog):
    if paddle.__version__.startswith("2."):
        pytest.skip("Paddle 2 does not read .json")
    without("paddle2onnx")
    with caplog.at_level("INFO"):
        engine = open_engine(str(NEW), device="cpu", size=SIZE)
    assert engine.name == "paddle"
    assert "engine paddle: OpenVINO reads exported3 through paddle2onnx" in caplog.text
    engine.close()
