"""``models export`` and ``models convert``: what they write, what they refuse, what they never leave behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml
from support.onnx_networks import convolved_network

from streammatte import cache
from streammatte.cli import main
from streammatte.engines import open_engine
from streammatte.errors import ConfigError, DiskFullError, ModelError, OutputExistsError
from streammatte.export import convert
from streammatte.export.difference import run_converter
from streammatte.export.quantize import BAD_LOSS
from streammatte.models.graph import read_facts, read_graph
from streammatte.models.input_rule import InputRule, SizeStep
from streammatte.models.resolve import EMBEDDED_WEIGHTS, resolve
from streammatte.networks import create
from streammatte.optional_imports import message

GOLDEN = Path(__file__).parents[1] / "golden"
SAMPLES = Path(__file__).parents[2] / "samples"
OLD, NEW = GOLDEN / "exported26", GOLDEN / "exported3"
LITE = "ppmattingv2-lite"
SIZE = (64, 96)

with_paddle = pytest.mark.skipif(not find_spec("paddle"), reason="Paddle is not installed")
with_export = pytest.mark.skipif(not find_spec("paddle2onnx"), reason="the export extra is not installed")


@pytest.fixture(autouse=True)
def room(tmp_path, monkeypatch):
    """A cache of the test's own, and a folder to stand in."""
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of the embedded network."""
    path = tmp_path_factory.mktemp("weights") / f"{LITE}.npz"
    np.savez(path, **{name: value.numpy() for name, value in create(LITE).state_dict().items()})
    return path


def read_frames(path):
    """Its frames as the network of this test takes them: 192x96."""
    with av.open(path) as video:
        for frame in video.decode(video=0):
            yield cv2.resize(frame.to_ndarray(format="rgb24"), (192, 96), interpolation=cv2.INTER_AREA)


def command(*args):
    """Run the command line in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["models", *map(str, args)])
    return ended.value.code


def listing(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def contents(folder="."):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def rule_of(path):
    return read_facts(Path(path)).rule


# ---- what is read is never written ----


def test_a_network_is_not_written_over_itself(capsys):
    assert command("export", OLD, "-o", "net.xml") == 0
    shutil.copytree(OLD, "net26")
    Path("link.xml").symlink_to("net.xml")
    before = contents()
    for args in (
        ("convert", "net.xml"),
        ("export", "net.xml"),
        ("export", "link.xml", "-o", "net.xml"),
        ("export", "net.xml", "-o", "other/../net.xml"),
        ("export", "net26", "--to", "paddle"),
        ("export", "net26/model.pdmodel", "--to", "paddle", "-o", "net26"),
    ):
        Path("other").mkdir(exist_ok=True)
        assert command(*args, "--overwrite") == 2, args
        assert "give the output another name" in capsys.readouterr().err
        assert contents() == before


@pytest.mark.paddle
@with_export
def test_onnx_and_weights_are_not_written_over_themselves(weights, capsys):
    shutil.copyfile(weights, "net.npz")
    assert command("export", OLD, "--to", "onnx", "-o", "net.onnx") == 0
    before = contents()
    assert command("export", "net.onnx", "--to", "onnx", "-o", "net.onnx") == 2
    assert command("convert", "net.npz", "net.npz") == 2
    assert contents() == before


# ---- outputs appear when they are complete ----


def test_outputs_are_replaced_only_with_overwrite(capsys):
    for args in (("-o", "net.xml"), ("--to", "paddle", "-o", "net")):
        assert command("export", OLD, *args) == 0
        before = contents()
        assert command("export", OLD, *args) == OutputExistsError.exit_code
        assert "--overwrite" in capsys.readouterr().err
        assert contents() == before
        assert command("export", OLD, *args, "--overwrite") == 0
    assert listing() == ["net", "net.bin", "net.xml"]


def test_a_bin_of_another_kind_is_not_replaced():
    Path("net.bin").write_bytes(b"mine")
    assert command("export", OLD, "-o", "net.xml") == OutputExistsError.exit_code
    assert Path("net.bin").read_bytes() == b"mine"


def test_an_export_that_fails_leaves_what_was_there(capsys):
    Path("net.pdmodel").write_bytes(b"no program")
    Path("net.pdiparams").write_bytes(b"")
    Path("net.xml").write_bytes(b"before")
    before = contents()
    assert command("export", "net.pdmodel", "--overwrite") == ModelError.exit_code
    assert contents() == before
    assert listing() == ["net.pdiparams", "net.pdmodel", "net.xml"]


LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
    "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "from streammatte.cli import main; main(sys.argv[1:])"
)


def full_disk(*args):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "models", *map(str, args)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == DiskFullError.exit_code, done.stderr
    assert "no space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_leaves_nothing():
    full_disk("export", LITE, "-o", "net.xml")
    assert listing() == []


@pytest.mark.paddle
@with_export
@pytest.mark.parametrize("args", [("--to", "paddle", "-o", "net"), ("--to", "onnx", "-o", "net.onnx")])
def test_a_full_disk_leaves_nothing_of_paddles(weights, args):
    full_disk("export", weights, *args)
    assert listing() == []


@pytest.mark.paddle
@with_paddle  # the weights are made with it
@pytest.mark.parametrize("name", ["net.npz", "net.pdparams"])
def test_a_full_disk_leaves_no_weights(weights, name):
    full_disk("convert", weights, name)
    assert listing() == []


@pytest.mark.paddle
@with_export
@pytest.mark.parametrize("delay", [0, 0.8])  # while Paddle is imported, while it traces
def test_an_interrupt_leaves_nothing(weights, delay):
    process = subprocess.Popen(
        [sys.executable, "-m", "streammatte", "models", "export", str(weights), "-o", "net.xml"],
        stderr=subprocess.PIPE,
        text=True,
    )
    give_up = time.monotonic() + 60
    while not listing() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert [name[-5:] for name in listing()] == [".part"]
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.strip() == ""
    assert listing() == []


# ---- where it goes ----


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("export", OLD, "-o", "out1"), 2, r"ends in \.xml"),
        (("export", OLD, "-o", "."), 2, r"ends in \.xml"),
        (("export", OLD, "--to", "onnx", "-o", "net.xml"), 2, r"ends in \.onnx"),
        (("export", OLD, "--precision", "int8", "--calibrate", "nothing.mp4", "-o", "out1"), 2, r"ends in \.xml"),
        (("export", OLD, "-o", "/etc/passwd/x.xml"), 4, "not a folder"),
        (("export", OLD, "-o", "/proc/nothing/x.xml"), 4, "cannot write"),
        (("export", OLD, "--to", "paddle", "-o", "/etc/passwd"), 4, "not a folder"),
        (("export", OLD, "--to", "paddle", "-o", "/proc/nothing/net"), 4, "cannot write"),
        (("convert", "."), 2, "gives the output no name"),
        (("convert", ".."), 2, "gives the output no name"),
        (("convert", OLD, "net.tflite"), 2, "end its name in /"),
        (("export", OLD, "--calibrate", "video.mp4"), 2, "--precision int8"),
    ],
)
def test_places_that_cannot_be_are_refused(args, code, says, capsys):
    assert command(*args) == code
    errors = capsys.readouterr().err
    assert "unexpected" not in errors
    assert re.search(says, errors), errors
    assert listing() == []


def test_folders_are_made_and_suffixes_may_be_large(capsys):
    assert command("convert", OLD / "model.pdmodel", "a/b/NET.XML") == 0
    assert capsys.readouterr().out.strip() == "a/b/NET.xml"
    assert listing("a/b") == ["NET.bin", "NET.xml"]
    assert command("export", OLD, "-o", "c/NET.Xml") == 0
    assert listing("c") == ["NET.bin", "NET.xml"]


@pytest.mark.parametrize("name", ["out-v1.2", "net.old/"])
def test_a_folder_may_have_a_dot(name):
    assert command("convert", OLD, name) == 0
    assert listing(name) == ["deploy.yaml", "model.pdiparams", "model.pdmodel"]


def test_a_folder_gives_its_whole_name(capsys):
    shutil.copytree(OLD, "net-v1.2")
    assert command("convert", "net-v1.2") == 0
    assert capsys.readouterr().out.strip() == "net-v1.2.xml"


@pytest.mark.paddle
@with_paddle
def test_weights_without_an_output_change_their_container(weights, capsys):
    shutil.copyfile(weights, "best.npz")
    assert command("convert", "best.npz") == 0
    assert capsys.readouterr().out.strip() == "best.pdparams"
    Path("best.npz").unlink()
    assert command("convert", "best.pdparams") == 0
    assert listing() == ["best.npz", "best.pdparams"]
    assert command("convert", "best.npz", "deep/er/net.npz") == 0


def test_weights_of_nobody_ask_without_naming_an_option(capsys):
    Path("best.npz").write_bytes(b"x")
    assert command("convert", "best.npz", "net.xml") == 2
    errors = capsys.readouterr().err
    assert "NETWORK=best.npz" in errors
    assert "--model" not in errors


# ---- sizes ----


def test_a_size_must_be_the_networks(capsys):
    shutil.copytree(OLD, "net")
    deploy = Path("net/deploy.yaml")
    deploy.write_text(deploy.read_text().replace("mult_int: 32", "mult_int: 128"))
    assert command("export", "net", "--size", "128x96", "-o", "a.xml") == 2
    assert "multiples of 128" in capsys.readouterr().err
    assert command("export", OLD, "--size", "96x64", "-o", "fixed.xml") == 0
    assert command("export", "fixed.xml", "--size", "128x128", "-o", "b.xml") == 2
    assert "takes 96x64 only" in capsys.readouterr().err
    assert command("export", "fixed.xml", "--size", "96x64", "-o", "c.xml") == 0
    assert command("export", OLD, "--to", "paddle", "--size", "96x64", "-o", "d") == 2


@pytest.mark.paddle
@with_export
def test_onnx_takes_a_size_whatever_it_is_made_of(capsys):
    import onnx
    import onnxruntime

    assert command("export", OLD, "--to", "onnx", "-o", "open.onnx") == 0
    with np.load(OLD / "case.npz") as case:
        images, alpha = case["image"], case["alpha"]
    height, width = images.shape[1:3]
    for source in (OLD, "open.onnx"):
        name = f"{Path(source).stem}-fixed.onnx"
        assert command("export", source, "--to", "onnx", "--size", f"{width}x{height}", "-o", name) == 0
        model = onnx.load(name)
        onnx.checker.check_model(model, full_check=True)
        shapes = [
            [dim.dim_value for dim in p.type.tensor_type.shape.dim] for p in (*model.graph.input, *model.graph.output)
        ]
        assert shapes == [[0, 3, height, width], [0, 1, height, width]]
        session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
        planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / 127.5 - 1
        given = session.run(None, {session.get_inputs()[0].name: planes})[0]
        assert np.abs(given[:, 0] - alpha).max() < 1e-3
        assert rule_of(name).fixed == (height, width)
        assert command("export", name, "--to", "onnx", "--size", "256x256", "-o", "other.onnx") == 2


# ---- an exported graph knows its input ----

RULE = InputRule(
    size=(1024, 1024),
    mean=(0.1, 0.2, 0.3),
    std=(0.5, 0.6, 0.7),
    steps=(SizeStep("limit_long", (None, 1024)), SizeStep("multiple", (128,))),
)


def ruled(folder):
    """The exported model with another input rule."""
    shutil.copytree(OLD, folder)
    table = yaml.safe_load((folder / "deploy.yaml").read_text())
    table["Deploy"]["transforms"] = [
        {"type": "LoadImages"},
        {"type": "LimitLong", "max_long": 1024},
        {"type": "ResizeToIntMult", "mult_int": 128},
        {"type": "Normalize", "mean": list(RULE.mean), "std": list(RULE.std)},
    ]
    (folder / "deploy.yaml").write_text(yaml.safe_dump(table))
    assert resolve(str(folder)).rule == RULE
    return folder


def test_an_exported_graph_keeps_its_rule():
    net = ruled(Path("net26"))
    assert command("export", net, "-o", "net.xml") == 0
    files = resolve("net.xml")
    assert (files.rule.size, files.rule.steps, files.multiple) == (RULE.size, RULE.steps, 128)
    with pytest.raises(ConfigError, match="multiples of 128"):
        open_engine("net.xml", engine="openvino", size=(64, 96))
    assert command("export", net, "--size", "256x128", "-o", "fixed.xml") == 0
    assert resolve("fixed.xml").rule.fixed == (128, 256)
    assert command("export", "net.xml", "-o", "again.xml") == 0
    assert resolve("again.xml").rule == files.rule


@pytest.mark.paddle
@with_export
def test_an_exported_onnx_keeps_its_rule_and_normalisation():
    net = ruled(Path("net26"))
    assert command("export", net, "--to", "onnx", "-o", "net.onnx") == 0
    assert resolve("net.onnx").rule == RULE
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), np.uint8)
    alphas = []
    for model in (net, "net.onnx"):
        engine = open_engine(str(model), engine="openvino", device="cpu", precision="f32", size=(128, 128))
        alphas.append(engine.submit(image).result())
        engine.close()
    assert np.abs(alphas[0] - alphas[1]).max() < 1e-5


def test_a_rule_that_cannot_be_read_is_passed_over(caplog):
    import openvino as ov

    assert command("export", OLD, "-o", "net.xml") == 0
    model = ov.Core().read_model("net.xml")
    for text in ("{", "[]", '{"sides": 3}', '{"steps": [{"long": "x"}]}'):
        model.set_rt_info(text, ["framework", "streammatte_input"])
        ov.save_model(model, "other.xml")
        assert rule_of("other.xml") == InputRule()


@pytest.mark.parametrize(
    "source", ["inference.yml", "bare", "trimap"], ids=["fastdeploy", "a bare program", "with a trimap"]
)
def test_a_copied_program_always_gets_its_deploy_file(source):
    shutil.copytree(OLD, "net")
    deploy = Path("net/deploy.yaml")
    given = "net"
    if source == "inference.yml":
        deploy.rename("net/inference.yml")
    elif source == "trimap":
        deploy.write_text(deploy.read_text().replace("ModelName: ", "ModelName: GCA #"))
    else:
        deploy.unlink()
        for path in sorted(Path("net").glob("model.*")):
            path.rename(path.with_stem("mine"))
        given = "net/mine.pdmodel"
    rule = resolve(given).rule
    assert rule.trimap == (source == "trimap")
    assert command("export", given, "--to", "paddle", "-o", "copy") == 0
    copy = resolve("copy")
    assert copy.rule == rule
    assert copy.program.name == Path(resolve(given).program).name


def test_a_copied_deploy_file_names_what_was_copied():
    assert command("export", NEW, "--to", "paddle", "-o", "copy") == 0  # its own says model.pdmodel
    assert yaml.safe_load(Path("copy/deploy.yaml").read_text())["Deploy"]["model"] == "model.json"


@pytest.mark.slow
@pytest.mark.paddle
@with_export
@pytest.mark.timeout(600)
def test_weights_become_eight_bits(room, capsys):
    """From weights in Paddle to a graph of 8 bits that gives what f32 gives, nearly."""
    shutil.copy(EMBEDDED_WEIGHTS, room / f"{LITE}.npz")
    how = ("--precision", "int8", "--calibrate", SAMPLES / "person.mp4", "--size", "192x96", "-o", "small.xml")
    assert command("export", f"{LITE}.npz", *how) == 0
    loss = float(re.search(r"MAD ([0-9.]+)", capsys.readouterr().err)[1])
    assert 0 < loss < BAD_LOSS
    model = read_graph(Path("small.xml"))
    kinds = [op.get_type_name() for op in model.get_ops()]
    assert "FakeQuantize" in kinds and not any("BatchNorm" in kind for kind in kinds)
    frame_rgb = next(iter(read_frames(SAMPLES / "person.mp4")))
    alphas = []
    for name, precision in (("small.xml", "int8"), (f"{LITE}.npz", "f32")):
        engine = open_engine(name, engine="openvino", precision=precision, size=(96, 192))
        alphas.append(engine.submit(frame_rgb[None]).result())
        engine.close()
    assert np.abs(alphas[0] - alphas[1]).mean() < 0.02 and alphas[1].mean() > 0.05


@pytest.mark.slow
@pytest.mark.paddle
@with_export
@pytest.mark.skipif(not find_spec("pnnx"), reason="the ncnn extra is not installed")
@pytest.mark.timeout(600)
def test_the_embedded_network_runs_on_ncnn(room, capsys):
    how = ("--to", "ncnn", "--size", "512x288", "--calibrate", SAMPLES / "person.mp4", "-o", "lite.param")
    assert command("export", LITE, *how) == 0
    largest, images = re.search(r"largest difference ([0-9.]+) on (\d+) images", capsys.readouterr().err).groups()
    assert 0 < float(largest) < 0.02 and int(images) == 8
    assert sorted(path.name for path in room.iterdir()) == ["lite.bin", "lite.param"]
    assert command("export", LITE, "--to", "ncnn", "-o", "lite.param") == 4
    assert command("export", LITE, "--to", "ncnn", "-o", "lite.onnx") == 2


@pytest.mark.slow
@pytest.mark.paddle
@with_export
@pytest.mark.skipif(
    not (shutil.which("onnx2tf") and find_spec("ai_edge_litert")), reason="onnx2tf or the tflite extra is not installed"
)
@pytest.mark.timeout(900)
def test_the_embedded_network_runs_on_litert(room, capsys):
    how = ("--to", "tflite", "--size", "256x160", "--calibrate", SAMPLES / "person.mp4", "-o", "lite.tflite")
    assert command("export", LITE, *how) == 0
    largest, images = re.search(r"largest difference ([0-9.]+) on (\d+) images", capsys.readouterr().err).groups()
    assert float(largest) < 0.02 and int(images) == 8
    assert [path.name for path in room.iterdir()] == ["lite.tflite"]


@pytest.mark.parametrize(
    ("tool", "fault"), [("exit 3", "exit 3"), ("echo its own reason >&2; exit 1", "its own reason")]
)
def test_a_converter_that_fails_is_one_line(room, monkeypatch, tool, fault):
    (room / "onnx2tf").write_text(f"#!/bin/sh\n{tool}\n")
    (room / "onnx2tf").chmod(0o755)
    graph = convolved_network(room / "plain.onnx")
    with pytest.raises(ModelError, match=f"onnx2tf cannot convert .*{fault}"):
        run_converter("onnx2tf", str(graph), [str(room / "onnx2tf")], room, [room / "made"], beside=room)


def test_tflite_without_its_tool_says_how_to_get_it(room, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(room))
    graph = convolved_network(room / "plain.onnx")
    assert command("export", graph, "--to", "tflite", "-o", "lite.tflite") == 6
    assert "pipx install onnx2tf" in capsys.readouterr().err
    assert [path.name for path in room.iterdir()] == ["plain.onnx"]


# ---- conversions in the cache ----


def conversions(tmp_path):
    return [name for name in listing(tmp_path / "home" / "converted") if name != ".lock"]


@pytest.mark.paddle
@with_export
@pytest.mark.parametrize("source", ["program", "weights"])
def test_one_conversion_serves_every_size(source, weights, tmp_path):
    model = str(NEW) if source == "program" else f"{LITE}={weights}"
    for size in (SIZE, (128, 64)):
        engine = open_engine(model, engine="openvino", device="cpu", precision="f32", size=size)
        image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
        assert np.isfinite(engine.submit(image).result()).all()
        engine.close()
    assert len(conversions(tmp_path)) == 1


@pytest.mark.paddle
@with_paddle
def test_each_version_of_paddle_has_its_own_program(weights, monkeypatch, tmp_path):
    import paddle

    files = resolve(f"{LITE}={weights}")
    first = convert.convert_for_engine(files, "paddle")
    assert convert.convert_for_engine(files, "paddle") == first
    monkeypatch.setattr(paddle, "__version__", "1.8.5")
    assert convert.convert_for_engine(files, "paddle").program.parent != first.program.parent
    assert len(conversions(tmp_path)) == 2


@pytest.mark.paddle
@with_export
def test_a_file_of_the_same_name_with_another_content_is_converted_again(tmp_path):
    shutil.copytree(NEW, "net")
    facts = Path("net/model.pdiparams").stat()
    alphas = []
    for scale in (1.0, 0.0):
        data = np.frombuffer(Path(NEW / "model.pdiparams").read_bytes(), np.uint8).copy()
        if not scale:
            data[-64:] = 0  # the last weights
        Path("net/model.pdiparams").write_bytes(data.tobytes())
        os.utime("net/model.pdiparams", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        engine = open_engine("net", engine="openvino", device="cpu", precision="f32", size=SIZE)
        alphas.append(engine.submit(np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)).result())
        engine.close()
    assert np.abs(alphas[0] - alphas[1]).max() > 1e-3
    assert len(conversions(tmp_path)) == 2


@pytest.mark.paddle
@with_export
def test_conversions_have_a_bound(tmp_path, monkeypatch):
    monkeypatch.setitem(cache.LIMITS, "converted", 0)
    for name in ("a", "b"):
        shutil.copytree(NEW, name)
        convert.convert_for_engine(resolve(name), "openvino")
    assert [name[0] for name in conversions(tmp_path)] == ["b"]


# ---- what native code prints ----


def test_text_as_onnx_is_one_line():
    Path("net.onnx").write_text("hello")
    done = subprocess.run(
        [sys.executable, "-m", "streammatte", "models", "convert", "net.onnx"], capture_output=True, text=True
    )
    assert done.returncode == ModelError.exit_code
    assert done.stderr.count("\n") == 1
    assert "cannot be read as a network" in done.stderr


@pytest.mark.paddle
@with_export
def test_paddles_advice_on_building_is_left_out(weights):
    env = {**os.environ, "PATH": ""}  # no ccache
    done = subprocess.run(
        [sys.executable, "-m", "streammatte", "models", "export", str(weights), "--to", "onnx", "-o", "net.onnx"],
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert "ccache" not in done.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "(InvalidArgument) The number of input's channels is wrong.\n  [Hint: Expected a == b.] "
            "(at /paddle/paddle/phi/infermeta/binary.cc:642)\n  [operator < conv2d > error]",
            "(InvalidArgument) The number of input's channels is wrong.",
        ),
        (
            "(ResourceExhausted) Fail to alloc memory of 9 size, error code is 12. (at /paddle/cpu_allocator.cc:44)\n",
            "(ResourceExhausted) Fail to alloc memory of 9 size, error code is 12.",
        ),
        (
            "\n\n----\nC++ Traceback (most recent call last):\n----\n0   paddle::Predictor::Predictor()\n\n----\n"
            "Error Message Summary:\n----\nResourceExhaustedError: \n\n"
            "Out of memory error on GPU 0. Cannot allocate 5GB.\n\nPlease check.\n (at /paddle/x.cc:87)\n",
            "ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate 5GB.",
        ),
        (
            "Error Message Summary:\n----\nUnimplementedError: no kernel (at /paddle/x.cc:1)\n"
            "  [operator < pd_kernel.phi_kernel > error]",
            "UnimplementedError: no kernel",
        ),
        (
            'In transformed code:\n    File "net.py", line 3\n\n    ValueError: (NotFound) no such kernel. (at x.cc:1)',
            "(NotFound) no such kernel.",
        ),
        ("[json.exception.parse_error.101] parse error", "[json.exception.parse_error.101] parse error"),
        ("Exception from core.cpp:84:\nCheck 'x' failed\nUnable to read the model\n\n", "Unable to read the model"),
        ("  [operator < conv2d > error]", "[operator < conv2d > error]"),
        ("", "RuntimeError"),
    ],
)
def test_the_cause_is_taken_from_the_text(text, line):
    assert message(RuntimeError(text)) == line


@pytest.mark.paddle
@with_paddle
def test_the_cause_is_taken_from_paddles_own_errors():
    import paddle

    with pytest.raises(ValueError, match="channels") as caught:
        paddle.nn.functional.conv2d(paddle.zeros([1, 4, 8, 8]), paddle.zeros([2, 3, 3, 3]))
    assert message(caught.value).startswith("(InvalidArgument) The number of input's channels should be equal")
