"""The OpenVINO engine on the embedded network."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.tiny_networks import brightness_network

import streammatte
from streammatte.cache import LIMITS
from streammatte.engines import open_engine
from streammatte.engines.precision import choose
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.files import ModelFiles
from streammatte.protocols import Engine

ASSETS = Path(streammatte.__file__).parent / "assets"
SMALL = (192, 256)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of compiled networks of this run's own."""
    before = os.environ.get("STREAMMATTE_HOME")
    os.environ["STREAMMATTE_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["STREAMMATTE_HOME"]
    else:
        os.environ["STREAMMATTE_HOME"] = before


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "ppmattingv2_lite.npz") as arrays:
        return arrays["image"], arrays["alpha_half"]


@pytest.fixture
def engine():
    """Opens engines and closes them."""
    opened = []

    def open_one(**options):
        opened.append(open_engine(**{"size": SMALL, "precision": "f32", **options}))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def shifted(golden, count, size=SMALL):
    """Different images: the golden one, shifted."""
    image = cv2.resize(golden[0], size[::-1])
    return np.stack([np.roll(image, 16 * i, axis=1) for i in range(count)])


# Largest and mean difference from the golden alpha. f32 differs by the weights' rounding to float16; bf16 and int8 as
# measured, with a margin: what counts for them is the mean.
@pytest.mark.parametrize(
    ("precision", "largest", "mean"), [("f32", 5e-3, 2e-5), ("bf16", 6e-2, 2e-4), ("int8", 0.4, 1e-3)]
)
def test_golden_pair(engine, golden, precision, largest, mean):
    import openvino as ov

    if precision == "bf16" and "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("the processor has no bf16")
    image, alpha = golden
    one = engine(size=(288, 512), precision=precision)
    assert isinstance(one, Engine)
    assert (one.name, one.device, one.precision, one.input_size) == ("openvino", "CPU", precision, (288, 512))
    given = one.submit(image[None]).result()
    assert given.dtype == np.float32
    difference = np.abs(given[0] - alpha)
    assert difference.max() < largest
    assert difference.mean() < mean


@pytest.mark.parametrize("size", [(512, 288), (192, 192), (224, 416), (192, 640), (544, 320)])
@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_every_size_has_its_half_size_alpha(engine, golden, size, precision):
    one = engine(size=size, precision=precision)
    height, width = size
    canvas = np.full((height, width, 3), 255, np.uint8)
    side = min(size)
    canvas[:side, :side] = cv2.resize(golden[0][:, 110:398], (side, side))
    alpha = one.submit(canvas[None]).result()
    assert alpha.shape == (1, height // 2, width // 2)
    assert 0 <= alpha.min() <= alpha.max() <= 1
    assert alpha[0, side // 4, side // 4] > 0.9  # the face
    assert alpha[0, 4, 4] < 0.1


def test_batch_of_two_is_two_of_one(engine, golden):
    images = shifted(golden, 2)
    both = engine(batch=2).submit(images).result()
    one = engine()
    for i in range(2):
        np.testing.assert_allclose(both[i], one.submit(images[i : i + 1]).result()[0], atol=1e-4)


def test_fewer_than_batch(engine, golden):
    images = shifted(golden, 3)
    one = engine(batch=3)
    whole = one.submit(images).result()
    for count in (1, 2):
        part = one.submit(images[:count]).result()
        assert part.shape[0] == count
        np.testing.assert_allclose(part, whole[:count], atol=1e-6)


def test_many_in_flight_keep_their_order(engine, golden):
    images = shifted(golden, 12)
    one = engine(threads=2)
    assert one.in_flight >= 2
    alone = [one.submit(image[None]).result() for image in images]
    pending = [one.submit(image[None]) for image in images]  # more than in_flight: the engine waits for the oldest
    for i in reversed(range(len(images))):
        np.testing.assert_array_equal(pending[i].result(), alone[i])
        np.testing.assert_array_equal(pending[i].result(), alone[i])
    assert np.abs(alone[0] - alone[5]).max() > 0.5


def test_results_stay_as_they_were(engine, golden):
    images = shifted(golden, 2)
    one = engine(threads=1)
    first = one.submit(images[:1]).result()
    kept = first.copy()
    for _ in range(one.in_flight + 1):
        one.submit(images[1:]).result()
    np.testing.assert_array_equal(first, kept)


def test_result_may_be_awaited_in_another_thread(engine, golden):
    one = engine()
    pending = one.submit(shifted(golden, 1))
    got = []
    threads = [threading.Thread(target=lambda: got.append(pending.result())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 3
    np.testing.assert_array_equal(got[0], got[2])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing_but_the_number_of_streams(engine, golden, threads):
    images = shifted(golden, 1)
    many = engine(threads=threads)
    live = engine(threads=threads, throughput=False)
    assert live.in_flight == 1
    assert 2 <= many.in_flight <= threads + 1
    np.testing.assert_allclose(many.submit(images).result(), live.submit(images).result(), atol=1e-4)


def test_two_engines_side_by_side(engine, golden):
    tall, wide = engine(size=(256, 192)), engine(size=(192, 256), precision="int8")
    a, b = tall.submit(shifted(golden, 1, (256, 192))), wide.submit(shifted(golden, 1, (192, 256)))
    assert a.result().shape == (1, 128, 96)
    assert b.result().shape == (1, 96, 128)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((1, 192, 192, 3), np.uint8), r"uint8 \(1\.\.2, 192, 256, 3\); got uint8 \(1, 192, 192, 3\)"),
        (np.zeros((1, 192, 256, 3), np.float32), "got float32"),
        (np.zeros((192, 256, 3), np.uint8), r"got uint8 \(192, 256, 3\)"),
        (np.zeros((3, 192, 256, 3), np.uint8), "larger batch"),
        (np.zeros((0, 192, 256, 3), np.uint8), "larger batch"),
        (np.zeros((1, 192, 512, 3), np.uint8)[:, :, ::2], "C-contiguous"),
    ],
)
def test_wrong_images_are_refused(engine, given, message):
    with pytest.raises(ConfigError, match=message):
        engine(batch=2).submit(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, "engine must be one of .*openvino.*'torch'"),
        ({"precision": "int4"}, "precision must be one of .*int8.*'int4'"),
        ({"size": (200, 256)}, "multiples of 32"),
        ({"size": (0, 256)}, "multiples of 32"),
        ({"batch": 0}, "batch 0"),
        ({"threads": -1}, "threads -1"),
        ({"device": "tpu"}, "no device 'tpu' here; it has cpu"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        open_engine(**{"size": SMALL, **options})


def test_unknown_model_lists_the_known():
    with pytest.raises(ModelNotFoundError, match=r"known: .*ppmattingv2-lite"):
        open_engine("no-such-network", size=SMALL)


def test_corrupt_model(tmp_path):
    (tmp_path / "net.xml").write_text("<net>")
    with pytest.raises(ModelError, match="cannot be read as a network") as caught:
        open_engine(str(tmp_path / "net.xml"), size=SMALL)
    assert "\n" not in str(caught.value)
    xml = (ASSETS / "ppmattingv2-lite.f16.xml").read_text()
    (tmp_path / "cut.xml").write_text(xml)
    (tmp_path / "cut.bin").write_bytes(b"\0" * 1000)
    with pytest.raises(ModelError, match="cannot be read as a network"):
        open_engine(str(tmp_path / "cut.xml"), size=SMALL)


def test_model_by_path_has_no_int8_version(engine, golden):
    path = str(ASSETS / "ppmattingv2-lite.f16.xml")
    with pytest.raises(ConfigError, match="no int8 version"):
        open_engine(path, size=SMALL, precision="int8")
    images = shifted(golden, 1)
    np.testing.assert_array_equal(engine(model=path).submit(images).result(), engine().submit(images).result())


def test_closed_engine(engine, golden):
    one = engine()
    pending = one.submit(shifted(golden, 1))
    one.close()
    one.close()
    assert pending.result().shape == (1, 96, 128)
    with pytest.raises(ConfigError, match="closed"):
        one.submit(shifted(golden, 1))


def _compiled(folder):
    return sorted((folder / "openvino").glob("*.blob"))


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_damaged_cache_does_not_stop_the_start(engine, golden, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    images = shifted(golden, 1)
    wanted = engine(precision="int8").submit(images).result()
    (blob,) = _compiled(tmp_path)
    data = blob.read_bytes()
    blob.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "garbage": b"\xa5" * len(data)}[damage])
    np.testing.assert_array_equal(engine(precision="int8").submit(images).result(), wanted)


def test_second_start_uses_the_cache(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    engine()
    (blob,) = _compiled(tmp_path)
    before = blob.stat()
    engine()
    assert _compiled(tmp_path) == [blob]
    assert blob.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_of_the_same_name_with_another_content_is_compiled_again(engine, golden, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    graph = tmp_path / "net.xml"
    times = None
    for kind in ("f16", "int8", "f16"):
        for suffix in (".xml", ".bin"):
            shutil.copyfile((ASSETS / f"ppmattingv2-lite.{kind}.xml").with_suffix(suffix), graph.with_suffix(suffix))
            times = times or (graph.stat().st_atime_ns, graph.stat().st_mtime_ns)
            os.utime(graph.with_suffix(suffix), ns=times)
        images = shifted(golden, 1)
        wanted = engine(precision={"f16": "f32"}.get(kind, kind)).submit(images).result()
        np.testing.assert_array_equal(engine(model=str(graph)).submit(images).result(), wanted)


def test_weights_alone_make_another_network(engine, golden, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    images = shifted(golden, 1)
    alphas = []
    for level in (0.5, 0.25):
        brightness_network(tmp_path / "net.xml", level)
        os.utime(tmp_path / "net.xml", (1, 1))
        os.utime(tmp_path / "net.bin", (1, 1))
        alphas.append(engine(model=str(tmp_path / "net.xml")).submit(images).result())
    assert np.abs(alphas[0] - 2 * alphas[1]).max() < 1e-5


def test_compiled_networks_have_a_bound(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    engine()
    (first,) = _compiled(tmp_path)
    os.utime(first, (1, 1))
    monkeypatch.setitem(LIMITS, "openvino", first.stat().st_size + 1000)
    engine(size=(256, 192))
    assert len(_compiled(tmp_path)) == 1
    assert first not in _compiled(tmp_path)


def test_cache_that_cannot_be_written(engine, golden, tmp_path, monkeypatch):
    home = tmp_path / "file"
    home.write_text("no folder")
    monkeypatch.setenv("STREAMMATTE_HOME", str(home))
    assert engine().submit(shifted(golden, 1)).result().shape == (1, 96, 128)


FILES = ModelFiles("net", {"float": Path("net.f16.xml"), "int8": Path("net.int8.xml")})
ONLY_FLOAT = ModelFiles("net", {"float": Path("net.xml")})


@pytest.mark.parametrize(
    ("capabilities", "files", "wanted"),
    [
        (["FP32", "INT8", "BF16"], FILES, "int8"),
        (["FP32", "INT8", "BF16"], ONLY_FLOAT, "bf16"),
        (["FP32", "FP16"], FILES, "f16"),
        (["FP32"], FILES, "f32"),
    ],
)
def test_auto_takes_what_is_fast(capabilities, files, wanted):
    plan = choose("auto", capabilities, files)
    assert plan.precision == wanted
    assert plan.graph == files.graphs["int8" if wanted == "int8" else "float"]
    assert wanted in plan.reason


def test_precision_that_the_device_lacks():
    with pytest.raises(ConfigError, match=r"no bf16 arithmetic; --precision may be auto, int8, f32"):
        choose("bf16", ["FP32", "INT8"], FILES)


def test_choice_is_logged(engine, caplog):
    with caplog.at_level(logging.INFO, "streammatte.engines"):
        engine(precision="auto")
    assert any("ppmattingv2-lite in" in record.getMessage() for record in caplog.records)


def test_base_install_never_imports_paddle():
    code = (
        "import sys, numpy as np\n"
        "from streammatte.engines import open_engine\n"
        "engine = open_engine(size=(192, 192))\n"
        "engine.submit(np.zeros((1, 192, 192, 3), np.uint8)).result()\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('paddle', 'nncf', 'onnx', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
