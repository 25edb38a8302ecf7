"""What can go wrong around Paddle: short memory, damaged caches, no Python to start, a broken installation."""

import json
import logging
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streammatte import engines
from streammatte.engines import choose_engine, open_engine
from streammatte.engines.paddle import onednn_probe as paddle_probe
from streammatte.engines.paddle import subprocess_call as paddle_child
from streammatte.engines.paddle import tensorrt as paddle_convert
from streammatte.engines.paddle.cache import keep, locked
from streammatte.engines.paddle.config import PaddleSettings
from streammatte.engines.paddle.errors import paddle_calls
from streammatte.engines.paddle.predictor import Lane, open_lane
from streammatte.engines.paddle.subprocess_call import Answer, call_in_child
from streammatte.engines.paddle.tensorrt import building, check_tensorrt, input_names, only_gpu, prepare, record_shapes
from streammatte.errors import EngineUnavailableError, ModelError, ModelNotFoundError
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import resolve
from streammatte.optional_imports import import_paddle

GOLDEN = Path(__file__).parents[1] / "golden"
OLD, NEW = GOLDEN / "exported26", GOLDEN / "exported3"
SIZE = (64, 96)
CPU = PaddleSettings(OLD / "model.pdmodel", OLD / "model.pdiparams")
GPU = replace(CPU, device="gpu:0", precision="f16", trt=True)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def paddle(home):
    return pytest.importorskip("paddle")


def opened(model=OLD, **options):
    return open_engine(str(model), engine="paddle", device="cpu", size=SIZE, **options)


def verdicts(home):
    return [path.read_text() for path in (home / "paddle").glob("kernels-*")]


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
def test_short_memory_says_what_to_take_less_of(error):
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
    print("told:", error)
"""


@pytest.mark.paddle
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory as Linux does")
def test_a_batch_too_large_for_the_memory_is_told(paddle):
    done = subprocess.run(
        [sys.executable, "-c", STARVED, str(OLD)], capture_output=True, text=True, check=False, timeout=250
    )
    assert "told: inference failed" in done.stdout, done.stderr[-2000:]
    assert "smaller --batch or --size" in done.stdout


# ---- TensorRT's cache ----


@pytest.mark.paddle
def test_a_build_without_tensorrt_is_told_before_anything_is_made(paddle, home):
    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this Paddle has CUDA")
    for settings in (GPU, replace(GPU, program=NEW / "model.json", params=NEW / "model.pdiparams")):
        with pytest.raises(EngineUnavailableError, match="without TensorRT; install"):
            prepare(settings, SIZE)
    assert not (home / "tensorrt").exists()


@pytest.mark.paddle
def test_a_tensorrt_that_is_not_found_is_told(paddle, monkeypatch):
    from paddle import inference

    def missing():
        raise RuntimeError(
            "TensorRT dynamic library (libnvinfer.so) that Paddle depends on is not configured correctly"
        )

    monkeypatch.setattr(inference, "get_trt_compile_version", lambda: (8, 5, 3))
    monkeypatch.setattr(inference, "get_trt_runtime_version", missing)
    with pytest.raises(EngineUnavailableError, match=r"wants TensorRT 8\.5\.3.*LD_LIBRARY_PATH"):
        check_tensorrt(GPU)


@pytest.mark.paddle
def test_the_names_of_inputs_are_asked_once(paddle, tmp_path):
    assert input_names(GPU, tmp_path) == ["img"]
    damaged = replace(GPU, program=tmp_path / "none.pdmodel")
    assert input_names(damaged, tmp_path) == ["img"]  # from what was kept


@pytest.mark.paddle
@pytest.mark.parametrize("text", ["{}", "nonsense", ""])
def test_a_damaged_program_is_told_when_its_names_are_asked(paddle, tmp_path, text):
    if paddle.__version__.startswith("2."):
        pytest.skip("Paddle 2 does not read .json")
    program = tmp_path / "model.json"
    program.write_text(text)
    with pytest.raises(ModelError, match="cannot be read as a Paddle model") as caught:
        input_names(replace(GPU, program=program, params=NEW / "model.pdiparams"), tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "inputs").exists()


@pytest.mark.paddle
def test_a_recording_that_failed_leaves_no_shapes(paddle, tmp_path):
    shapes = tmp_path / "shapes.pbtxt"
    right, wrong = (1, 3, *SIZE), (2, 5, *SIZE)
    with pytest.raises(ModelError, match="cannot be prepared for TensorRT"):
        record_shapes(CPU, {"img": (right, wrong, right)}, shapes)
    assert not shapes.exists()
    record_shapes(CPU, {"img": (right, (2, 3, *SIZE), (2, 3, *SIZE))}, shapes)
    assert shapes.stat().st_size > 0
    assert not (tmp_path / "shapes.part").exists()


def test_half_written_engines_are_built_anew(tmp_path):
    ready = replace(GPU, cache=tmp_path)
    engine = tmp_path / "trt_serialized_1"
    engine.write_bytes(b"half")
    with pytest.raises(ZeroDivisionError), building(ready):
        assert not engine.exists()
        engine.write_bytes(b"half again")
        1 / 0
    with building(ready):
        assert not engine.exists()
        engine.write_bytes(b"whole")
    with building(ready):
        assert engine.read_bytes() == b"whole"


def test_a_second_start_waits_for_the_first(tmp_path, caplog):
    if sys.platform == "win32":
        pytest.skip("there is no flock")
    entered = threading.Event()

    def second():
        with locked(tmp_path):
            entered.set()

    with caplog.at_level("INFO"), locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(10)
    thread.join(10)
    assert "waiting" in caplog.text


def test_a_conversion_stays_where_it_was_made(tmp_path, monkeypatch):
    made = []

    def convert(module, job, *, seconds, environment):
        made.append((json.loads(job), environment["CUDA_VISIBLE_DEVICES"]))
        target = Path(made[-1][0]["target"])
        assert not target.exists()
        target.mkdir()
        for name in ("engine_1_0.trt", "../model.json", "../model.pdiparams"):
            (target / name).write_text("")
        return Answer("done")

    monkeypatch.setattr(paddle_convert, "call_in_child", convert)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    settings = replace(GPU, program=NEW / "model.json", params=NEW / "model.pdiparams", device="gpu:1")
    shape = (1, 3, *SIZE)
    (tmp_path / "model").mkdir()  # of a start that was killed
    for _ in range(2):
        ready = paddle_convert.convert(settings, {"img": (shape, shape, shape)}, tmp_path)
        assert (ready.program, ready.params) == (tmp_path / "model.json", tmp_path / "model.pdiparams")
    (job, device) = made[0]
    assert len(made) == 1
    assert device == "7"
    assert job["half"] is True
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    paddle_convert.convert(settings, {"img": (shape, shape, shape)}, moved)
    assert len(made) == 2  # its program named engines of the other folder


def test_a_conversion_that_fails_says_why(tmp_path, monkeypatch):
    settings = replace(GPU, program=NEW / "model.json", params=NEW / "model.pdiparams")
    for told in (Answer("refused", "no converter for pd_op.nms"), Answer("passing", "no answer in 3600 s")):
        monkeypatch.setattr(paddle_convert, "call_in_child", lambda *_, told=told, **__: told)
        with pytest.raises(ModelError, match=f"{told.reason}; run it without --trt"):
            paddle_convert.convert(settings, {}, tmp_path)
        assert not (tmp_path / "ready").exists()


def test_a_child_sees_one_gpu_by_its_own_name():
    assert only_gpu(1, {"FLAGS_selected_gpus": "1", "HOME": "/h"}) == {"HOME": "/h", "CUDA_VISIBLE_DEVICES": "1"}
    assert only_gpu(0, {"CUDA_VISIBLE_DEVICES": "GPU-8f3a, 2"})["CUDA_VISIBLE_DEVICES"] == "GPU-8f3a"


# ---- the child process ----


@pytest.mark.paddle
def test_a_file_of_the_users_folder_is_not_run(paddle, home, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("random.py", "paddle.py", "json.py"):
        (folder / name).write_text("open('was-run', 'w').close(); raise SystemExit(0)")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    opened().close()
    assert not (folder / "was-run").exists()
    assert len(verdicts(home)) == 1


def program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.paddle
@pytest.mark.parametrize("kind", ["empty", "none", "missing", "not python", "says nothing", "frozen"])
def test_without_a_python_to_start_plain_kernels_serve(paddle, home, tmp_path, monkeypatch, caplog, kind):
    started = tmp_path / "started"
    programs = {
        "empty": "",
        "none": None,
        "missing": str(tmp_path / "gone" / "python3"),
        "not python": program(tmp_path / "blender", f"#!/bin/sh\ntouch {started}"),
        "says nothing": program(tmp_path / "python3", "#!/bin/sh\nexit 0"),
        "frozen": program(tmp_path / "python-app", f"#!/bin/sh\ntouch {started}"),
    }
    monkeypatch.setattr(sys, "executable", programs[kind])
    monkeypatch.setattr(sys, "frozen", kind == "frozen", raising=False)
    engine = opened()
    assert engine.kernels == "plain"
    assert "could not be tried" in caplog.text
    assert not started.exists()
    assert verdicts(home) == []
    engine.close()


@pytest.mark.parametrize(
    ("code", "errors", "kind"),
    [
        (-11, "", "refused"),
        (-6, "C++ Traceback\nerror", "refused"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "passing"),
        (-9, "", "passing"),
        (-15, "", "passing"),
        (1, "ModuleNotFoundError: No module named 'streammatte'", "passing"),
        (0xC0000005, "", "refused"),
    ],
)
def test_a_child_without_an_answer_is_judged_by_its_end(code, errors, kind):
    found = paddle_child._unanswered(code, errors)
    assert found.kind == kind
    assert found.reason


def test_a_child_that_takes_too_long_is_ended():
    found = call_in_child("time", seconds=0.001)
    assert (found.kind, found.reason) == ("passing", "no answer in 0 s")


@pytest.mark.paddle
@pytest.mark.parametrize("answer", [Answer("passing", "ended by SIGKILL"), Answer("passing", "no answer in 600 s")])
def test_what_may_pass_is_no_verdict(paddle, home, monkeypatch, caplog, answer):
    with monkeypatch.context() as patch:
        patch.setattr(paddle_probe, "call_in_child", lambda *_, **__: answer)
        engine = opened()
    assert engine.kernels == "plain"
    assert answer.reason in caplog.text
    assert verdicts(home) == []
    engine.close()
    engine = opened()
    assert engine.kernels == "onednn"
    engine.close()


@pytest.mark.paddle
def test_another_processor_is_tried_anew(paddle, home, monkeypatch):
    for model in ("A", "B"):
        monkeypatch.setattr(paddle_probe, "_processor", lambda model=model: model)
        opened().close()
    assert len(verdicts(home)) == 2


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path, caplog):
    with caplog.at_level("INFO"):
        keep(tmp_path / "no such folder" / "verdict", "plain")
    assert "cannot be kept" in caplog.text


# ---- networks that are none of ours, and engines that fail ----


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
    kind = "json" if (folder / "model.json").is_file() else "pdmodel"
    return PaddleSettings(folder / f"model.{kind}", folder / "model.pdiparams")


@pytest.mark.paddle
def test_inputs_that_nobody_feeds_are_told(paddle, tmp_path):
    def one(self, trimap):
        return self.mix(trimap)

    def three(self, img, trimap, depth):
        return self.mix(img) + trimap + depth

    alone = write(paddle, tmp_path / "alone", {"trimap": 1}, one)
    many = write(paddle, tmp_path / "many", {"img": 3, "trimap": 1, "depth": 1}, three)
    for settings, names in ((alone, "the inputs trimap;"), (many, "(depth|trimap).*depth")):
        with pytest.raises(ModelError, match=names):
            opened(settings.program)
        with pytest.raises(ModelError, match=names):
            open_lane(settings, (1, 3, *SIZE), (0.5,) * 3, (0.5,) * 3)
        with pytest.raises(ModelError, match=names):
            input_names(settings, tmp_path)


@pytest.mark.paddle
def test_an_engine_that_cannot_run_is_closed(paddle, monkeypatch):
    def fails(self, images, trimaps):
        raise ModelError("inference failed: no luck")

    released = []
    monkeypatch.setattr(Lane, "run", fails)
    monkeypatch.setattr(Lane, "release", lambda self: released.append(self))
    with pytest.raises(ModelError, match="no luck"):
        opened()
    assert len(released) == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("streammatte-paddle")]


@pytest.mark.paddle
def test_a_lane_waits_for_its_stream_and_gives_it_up_last(paddle):
    from paddle import inference

    from streammatte.engines.paddle.config import make_config

    class Stream:
        looks = 0

        def query(self):
            self.looks += 1
            return self.looks > 3

        def __del__(self):
            ended.append("stream")

    class Predictor:
        def __init__(self):
            self.real = inference.create_predictor(make_config(CPU)[0])

        def __getattr__(self, name):
            return getattr(self.real, name)

        def __del__(self):
            ended.append("predictor")

    with np.load(OLD / "case.npz") as arrays:
        image, alpha = arrays["image"][:1], arrays["alpha"][:1]
    for leave in (Lane.release, lambda lane: None):  # a lane that is dropped goes in the same order
        ended = []
        stream = Stream()
        lane = Lane(Predictor(), stream, (1, 3, *SIZE), (0.5,) * 3, (0.5,) * 3)
        assert np.abs(lane.run(image, None) - alpha).max() < 1e-3
        assert stream.looks == 4
        del stream
        leave(lane)
        del lane
        assert ended == ["predictor", "stream"]


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
def test_a_broken_paddle_ends_only_what_asked_for_it(monkeypatch, tmp_path, caplog, text):
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
