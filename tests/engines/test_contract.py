"""One contract for every engine: the same image gives the same alpha, and what is wrong is reported."""

import shutil
import threading
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from streammatte.engines import choose_engine, open_engine
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError, StreammatteError
from streammatte.export.convert import save_as
from streammatte.models.files import ModelFiles
from streammatte.models.resolve import resolve

GOLDEN = Path(__file__).parents[1] / "golden"
OLD = GOLDEN / "exported26"  # written by Paddle 2.6.2, in the layout of the official zips
NEW = GOLDEN / "exported3"  # the same network, written by Paddle 3.3.1
SIZE = (64, 96)
F32, BF16 = 1e-3, 2e-2


def has(package):
    return find_spec(package) is not None


needs_paddle = [pytest.mark.paddle, pytest.mark.skipif(not has("paddle"), reason="Paddle is not installed")]
needs_onnxruntime = pytest.mark.skipif(not has("onnxruntime"), reason="the onnxruntime extra is not installed")
needs_three = [*needs_paddle, pytest.mark.skipif(not has("paddle2onnx"), reason="the export extra is not installed")]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMMATTE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def case():
    with np.load(OLD / "case.npz") as arrays:
        return arrays["image"], arrays["alpha"]


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """The same network in every form that can be made here."""
    folder = tmp_path_factory.mktemp("forms")
    files = resolve(str(OLD))
    found = {
        "folder": OLD,
        "pdmodel": OLD / "model.pdmodel",
        "xml": save_as(files, folder / "net.xml", "openvino"),
        "xml16": save_as(files, folder / "net16.xml", "openvino", precision="f16"),
    }
    if has("paddle2onnx"):
        found["json"] = NEW
        found["onnx"] = save_as(files, folder / "net.onnx", "onnx")
    return found


KINDS = [
    pytest.param("openvino", "folder", id="openvino-folder"),
    pytest.param("openvino", "pdmodel", id="openvino-pdmodel"),
    pytest.param("openvino", "xml", id="openvino-xml"),
    pytest.param("openvino", "xml16", id="openvino-xml16"),
    pytest.param("openvino", "onnx", id="openvino-onnx", marks=needs_three),
    pytest.param("openvino", "json", id="openvino-json", marks=needs_three),
    pytest.param("onnxruntime", "onnx", id="onnxruntime-onnx", marks=[*needs_three, needs_onnxruntime]),
    pytest.param("onnxruntime", "folder", id="onnxruntime-folder", marks=[*needs_three, needs_onnxruntime]),
    pytest.param("paddle", "folder", id="paddle-old", marks=needs_paddle),
    pytest.param("paddle", "json", id="paddle-new", marks=needs_three),
]


@pytest.fixture
def opened():
    engines = []

    def open_(*args, **options):
        engine = open_engine(*args, **options)
        engines.append(engine)
        return engine

    yield open_
    for engine in engines:
        engine.close()


@pytest.mark.parametrize(("engine", "form"), KINDS)
def test_every_engine_and_form_gives_the_same_alpha(opened, forms, case, engine, form):
    images, alpha = case
    running = opened(str(forms[form]), engine=engine, device="cpu", precision="f32", size=SIZE, batch=2)
    assert running.name == engine
    assert running.device.lower() == "cpu"
    assert running.precision == "f32"
    assert running.input_size == SIZE
    given = running.submit(images).result()
    assert given.dtype == np.float32
    assert given.shape == alpha.shape
    assert np.abs(given - alpha).max() < F32


def test_bfloat16_stays_close(opened, forms, case):
    images, alpha = case
    try:
        running = opened(str(forms["xml"]), engine="openvino", device="cpu", precision="bf16", size=SIZE, batch=2)
    except ConfigError as error:
        pytest.skip(str(error))
    assert np.abs(running.submit(images).result() - alpha).max() < BF16


EACH = [
    pytest.param("openvino", id="openvino"),
    pytest.param("onnxruntime", id="onnxruntime", marks=[*needs_three, needs_onnxruntime]),
    pytest.param("paddle", id="paddle", marks=needs_paddle),
]


@pytest.mark.parametrize("engine", EACH)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_every_batch_gives_what_single_images_give(opened, case, engine, batch):
    images, alpha = case
    running = opened(str(OLD), engine=engine, device="cpu", precision="f32", size=SIZE, batch=batch)
    for count in range(1, batch + 1):
        order = [0, 1, 0][:count]
        given = running.submit(np.ascontiguousarray(images[order])).result()
        assert given.shape == (count, *SIZE)
        assert np.abs(given - alpha[order]).max() < F32


@pytest.mark.parametrize("engine", EACH)
@pytest.mark.parametrize("throughput", [True, False])
def test_results_may_be_awaited_in_any_order(opened, case, engine, throughput):
    images, alpha = case
    running = opened(
        str(OLD), engine=engine, device="cpu", precision="f32", size=SIZE, threads=2, throughput=throughput
    )
    order = [0, 1, 1, 0, 1, 0, 0, 1]
    pending = [running.submit(np.ascontiguousarray(images[i : i + 1])) for i in order]
    for at in (7, 0, 3, 1, 6, 2, 5, 4):
        assert np.abs(pending[at].result()[0] - alpha[order[at]]).max() < F32
        assert pending[at].result() is not None  # a second time too


@pytest.mark.parametrize("engine", EACH)
def test_two_engines_serve_two_threads(opened, case, engine):
    images, alpha = case
    engines = [opened(str(OLD), engine=engine, device="cpu", precision="f32", size=SIZE, threads=1) for _ in range(2)]
    worst = []

    def use(running, which):
        for _ in range(10):
            given = running.submit(np.ascontiguousarray(images[which : which + 1])).result()
            worst.append(float(np.abs(given[0] - alpha[which]).max()))

    threads = [threading.Thread(target=use, args=(running, i)) for i, running in enumerate(engines)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(worst) == 20
    assert max(worst) < F32


@pytest.mark.parametrize("engine", EACH)
def test_what_cannot_be_matted_is_refused(opened, case, engine):
    images, _ = case
    running = opened(str(OLD), engine=engine, device="cpu", precision="f32", size=SIZE, batch=1)
    for wrong in (
        images,  # more than the batch
        images[:1, :32],
        images[:1].astype(np.float32),
        images[0],
        images[:1].transpose(0, 3, 1, 2),
        images[:0],
    ):
        with pytest.raises(ConfigError, match="uint8"):
            running.submit(wrong)
    assert running.submit(np.ascontiguousarray(images[:1])).result().shape == (1, *SIZE)  # it still serves


@pytest.mark.parametrize("engine", EACH)
def test_a_closed_engine_says_so(opened, case, engine):
    running = opened(str(OLD), engine=engine, device="cpu", precision="f32", size=SIZE)
    running.close()
    running.close()
    with pytest.raises(ConfigError, match="closed"):
        running.submit(np.ascontiguousarray(case[0][:1]))


@pytest.mark.parametrize("engine", EACH)
def test_a_missing_file_is_reported(tmp_path, engine):
    shutil.copytree(OLD, tmp_path / "net")
    (tmp_path / "net" / "model.pdiparams").unlink()
    for model in (tmp_path / "net", tmp_path / "nothing", tmp_path / "nothing.xml"):
        with pytest.raises(ModelNotFoundError) as caught:
            open_engine(str(model), engine=engine, device="cpu", size=SIZE)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", EACH)
@pytest.mark.parametrize("broken", ["model.pdmodel", "model.pdiparams"])
@pytest.mark.parametrize("how", ["cut", "noise"])
def test_a_corrupt_model_is_reported(tmp_path, engine, broken, how):
    shutil.copytree(OLD, tmp_path / "net")
    path = tmp_path / "net" / broken
    data = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, len(data), np.uint8).tobytes()
    path.write_bytes(data[: len(data) // 2] if how == "cut" else noise)
    with pytest.raises(ModelError) as caught:
        open_engine(str(tmp_path / "net"), engine=engine, device="cpu", size=SIZE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_a_corrupt_graph_is_reported(tmp_path, suffix):
    (tmp_path / f"net{suffix}").write_bytes(b"no network" * 50)
    with pytest.raises(ModelError):
        open_engine(str(tmp_path / f"net{suffix}"), size=SIZE)


@pytest.mark.parametrize("engine", EACH)
def test_a_size_off_the_grid_is_refused(engine):
    with pytest.raises(ConfigError, match="multiples of 32"):
        open_engine(str(OLD), engine=engine, device="cpu", size=(50, 96))


def test_wrong_options_are_refused():
    for options in (
        {"engine": "tensorflow"},
        {"precision": "f64"},
        {"batch": 0},
        {"threads": -1},
        {"trt": True, "engine": "openvino"},
    ):
        with pytest.raises(ConfigError):
            open_engine(str(OLD), size=SIZE, **options)


def test_without_paddle_its_engine_names_what_to_install(tmp_path):
    if has("paddle"):
        pytest.skip("Paddle is installed")
    with pytest.raises(StreammatteError, match=r"streammatte\[cpu\]"):
        open_engine(str(OLD), engine="paddle", size=SIZE)


def test_auto_logs_what_it_chose_and_why(opened, caplog):
    with caplog.at_level("INFO"):
        running = opened(str(OLD), size=SIZE)
    assert running.name == "openvino"
    assert "engine openvino: " in caplog.text


def test_auto_takes_openvino_on_the_cpu_and_for_graphs():
    graph = ModelFiles("net", {"float": Path("net.xml")})
    assert choose_engine("auto", "cpu", resolve(str(OLD)))[0] == "openvino"
    assert choose_engine("auto", "gpu:0", graph) == (
        "openvino",
        "net is here as a graph, which Paddle does not read",
    )
    assert choose_engine("paddle", "cpu", graph) == ("paddle", "as chosen")


@pytest.mark.gpu
@pytest.mark.paddle
@pytest.mark.parametrize("trt", [False, True])
def test_the_gpu_gives_the_same_alpha(opened, case, trt):
    images, alpha = case
    running = opened(str(OLD), device="gpu:0", size=SIZE, batch=2, trt=trt)
    assert running.name == "paddle"
    assert np.abs(running.submit(images).result() - alpha).max() < (BF16 if trt else F32)
