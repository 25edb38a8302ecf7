"""Third-party networks: recurrent ones, and graphs read by a card; on OpenVINO and on ONNX Runtime."""

import shutil
import subprocess
import sys
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from support.onnx_networks import KEPT, convolved_network, recurrent_network  # noqa: E402
from support.videos import make_video  # noqa: E402

import streammatte  # noqa: E402
from streammatte.build import build_matter  # noqa: E402
from streammatte.compositing.foreground import with_colours  # noqa: E402
from streammatte.engines import choose_engine, open_engine  # noqa: E402
from streammatte.engines.onnxruntime import ONNXRuntimeEngine  # noqa: E402
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError  # noqa: E402
from streammatte.export.convert import save_as  # noqa: E402
from streammatte.export.quantize import quantise_measured  # noqa: E402
from streammatte.frames import Frame, Layout, StreamInfo  # noqa: E402
from streammatte.kernels.color import rgb_matrix  # noqa: E402
from streammatte.models.cards import third_party_cards  # noqa: E402
from streammatte.models.graph import normalised, read_graph  # noqa: E402
from streammatte.models.resolve import resolve  # noqa: E402
from streammatte.options.video import VideoOptions  # noqa: E402

SIZE = (64, 96)
BOTH = pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])


def random_images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), np.uint8)


def running_mean(images, begin=0):
    """What the recurrent network gives: its state is nothing at first, and after each image a mean."""
    state, found = 0.0, []
    for image in images[begin:]:
        state = KEPT * state + (1 - KEPT) * image.mean(axis=-1) / 255
        found.append(state)
    return np.stack(found)


@BOTH
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("names", [("r1i", "r1o"), ("h_in", "h_out"), ("memory", "later")])
def test_a_recurrent_network_remembers(tmp_path, engine, half, names):
    path = recurrent_network(tmp_path / "rvm_mobilenetv3_fp32.onnx", half=half)  # a name whose card is known
    if names != ("r1i", "r1o"):
        path = recurrent_network(tmp_path / "own.onnx", half=half, names=names)
        (tmp_path / "own.yml").write_text(
            plain_card("own", states={names[0]: names[1]} if names[0] == "memory" else {})
        )
    images = random_images(6)
    with closing(open_engine(str(path), engine=engine, precision="f32", size=SIZE, batch=4)) as one:
        assert one.recurrent and one.in_flight == 1
        pending = [one.submit(image[None]) for image in images]
        alphas = np.concatenate([each.result() for each in pending])
        colours = pending[3].foreground()
        tolerance = 5e-3 if half else 1e-5
        assert np.abs(alphas - running_mean(images)).max() < tolerance
        assert colours.shape == (1, *SIZE, 3) and np.abs(colours[0] - images[3] / 510).max() < tolerance
        one.reset()
        assert np.abs(one.submit(images[4:5]).result() - running_mean(images, 4)[:1]).max() < tolerance


def plain_card(name, **graph):
    card = {"name": name, "title": "T", "architecture": "A", "licence": "none", "paper": "none"}
    card |= {"input": {"mean": [0, 0, 0], "std": [1, 1, 1], "steps": [{"multiple": 32}]}, "graph": graph}
    return yaml.safe_dump(card)


@BOTH
def test_two_streams_never_mix(tmp_path, engine):
    path = str(recurrent_network(tmp_path / "rvm_mobilenetv3_fp32.onnx"))
    first, second = random_images(5), random_images(5, seed=1)
    with (
        closing(open_engine(path, engine=engine, size=SIZE)) as one,
        closing(open_engine(path, engine=engine, size=SIZE)) as other,
    ):
        given = [
            (one.submit(a[None]).result(), other.submit(b[None]).result()) for a, b in zip(first, second, strict=True)
        ]
    for images, alphas in ((first, [pair[0] for pair in given]), (second, [pair[1] for pair in given])):
        assert np.abs(np.concatenate(alphas) - running_mean(images)).max() < 1e-2


@BOTH
def test_the_mirror_image_has_a_memory_of_its_own(tmp_path, engine):
    path = str(recurrent_network(tmp_path / "rvm_mobilenetv3_fp32.onnx"))
    images = random_images(4)
    with closing(open_engine(path, engine=engine, precision="f32", size=SIZE, average="flip")) as both:
        alphas = np.concatenate([both.submit(image[None]).result() for image in images])
    assert np.abs(alphas - running_mean(images)).max() < 1e-5


def frames(levels, times):
    for index, (level, time) in enumerate(zip(levels, times, strict=True)):
        image = np.full((*SIZE, 3), level, np.uint8)
        yield Frame((image,), Layout.RGB, round(time * 1000), Fraction(1, 1000), index=index)


@BOTH
@pytest.mark.parametrize(
    ("levels", "times", "resets"),
    [
        ([100, 110, 90, 100], [0, 0.1, 0.2, 0.3], []),
        ([100, 100, 180, 180], [0, 0.1, 0.2, 0.3], [2]),  # a cut
        ([100, 110, 90, 100], [0, 0.1, 2.0, 2.1], [2]),  # a gap
        ([100, 110, 90, 100], [0, 0.1, 0.05, 0.1], [2]),  # back
    ],
)
def test_cuts_gaps_and_seeks_begin_again(tmp_path, engine, levels, times, resets):
    path = str(recurrent_network(tmp_path / "rvm_mobilenetv3_fp32.onnx"))
    options = VideoOptions.build(
        {"model": path, "engine": engine, "precision": "f32", "smooth": "off", "batch": 3, "min_area": 0.0}
    )
    info = StreamInfo(SIZE[1], SIZE[0], Fraction(10), Layout.RGB)
    expected, state = [], 0.0
    for index, level in enumerate(levels):
        state = (0.0 if index in resets else KEPT * state) + (1 - KEPT) * level / 255
        expected.append(state)
    with closing(build_matter(info, options)) as matter:
        for _ in range(2):  # the second time as another video: reset forgets the first
            mattes = [matte for frame in frames(levels, times) for matte in matter.process(frame)] + matter.drain()
            assert [float(matte.small_alpha.mean()) for matte in mattes] == pytest.approx(expected, abs=2e-3)
            assert mattes[0].small_foreground.mean() == pytest.approx(levels[0] / 510, abs=1e-3)
            matter.reset()


@BOTH
def test_videos_side_by_side(tmp_path, engine):
    """Through the public functions, two streams in one process, taken in turn."""
    path = str(recurrent_network(tmp_path / "rvm_mobilenetv3_fp32.onnx"))
    videos = [make_video(tmp_path / f"{n}.mkv", codec="ffv1", frames=8, width=96 + 32 * n, height=64) for n in (0, 1)]
    how = {"model": path, "engine": engine, "smooth": "off", "refine": "off", "size": 192, "precision": "f32"}
    alone = []
    for video in videos:
        with streammatte.stream(video, **how) as mattes:
            alone.append([matte.small_alpha.copy() for matte in mattes])
    with streammatte.stream(videos[0], **how) as one, streammatte.stream(videos[1], **how) as other:
        together = [(a.small_alpha.copy(), b.small_alpha.copy()) for a, b in zip(one, other, strict=True)]
    for place in (0, 1):
        assert len(alone[place]) == 8
        assert all(np.array_equal(a, b[place]) for a, b in zip(alone[place], together, strict=True))


@pytest.mark.parametrize("layout", [Layout.RGB, Layout.YUV420])
def test_a_networks_own_colours_are_used(layout):
    rgb = np.random.default_rng(2).random((8, 12, 3), np.float32)
    behind = np.zeros((8, 12), np.float32)
    planes = (np.zeros((8, 12, 3), np.uint8),) if layout is Layout.RGB else (np.zeros((8, 12), np.uint8),) * 3
    frame = Frame(planes, layout, 0, Fraction(1))
    found = np.stack([own for own, _ in with_colours(((behind, behind),) * 3, rgb, frame)], axis=-1)
    if layout is not Layout.RGB:
        matrix = rgb_matrix(frame.color, frame.height)
        found = found @ matrix[:, :3].T + matrix[:, 3]
    assert np.abs(found / 255 - rgb).max() < 1e-4


@BOTH
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("kind", ["alpha", "logits", "softmax", "minmax", "levels"])
def test_what_a_card_says_of_a_graph(tmp_path, engine, kind, layout, order):
    channels = 3 if kind == "softmax" else 1
    path = convolved_network(tmp_path / "net.onnx", channels, layout)
    card = yaml.safe_load(plain_card("net", range=kind, layout=layout, channels=order, channel=channels - 1))
    card["input"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    (tmp_path / "net.yml").write_text(yaml.safe_dump(card))
    images = random_images(2)
    shown = (images / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    base = shown[..., :: -1 if order == "bgr" else 1] @ np.array([0.3, 1.1, 2.3])
    given = np.stack([(k + 1) * base - 1 for k in range(channels)])
    expected = {
        "alpha": given[-1],
        "logits": 1 / (1 + np.exp(-given[-1])),
        "softmax": np.exp(given[-1]) / np.exp(given).sum(0),
        "minmax": np.stack([(x - x.min()) / (x.max() - x.min()) for x in given[-1]]),
        "levels": given[-1] / 255,
    }[kind]
    with closing(open_engine(str(path), engine=engine, precision="f32", size=SIZE, batch=2)) as one:
        assert not one.recurrent
        found = one.submit(images).result()
    assert np.abs(found - expected).max() < 2e-4


def test_a_card_by_name_by_option_and_by_the_name_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "ours"))
    (tmp_path / "home").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"get u2net\.onnx from https") as caught:
        resolve("u2net")
    place = Path(str(caught.value).rpartition("put it into ")[2])  # where it says is where it looks
    place.mkdir(parents=True)
    convolved_network(place / "u2net.onnx", size=(320, 320))
    assert resolve("u2net").graphs["float"] == place / "u2net.onnx"
    convolved_network(tmp_path / "home" / "u2net.onnx", size=(320, 320))
    files = resolve("u2net")
    assert files.reading.range == "minmax" and files.rule.fixed == (320, 320)
    other = Path(shutil.copy(tmp_path / "home" / "u2net.onnx", tmp_path / "other.onnx"))
    assert resolve(str(other)).reading.range == "alpha"
    assert resolve(f"u2net={other}").reading.range == "minmax"
    (tmp_path / "mine.yml").write_text(plain_card("mine", range="logits"))
    options = VideoOptions.build({"model": str(other), "card": str(tmp_path / "mine.yml")})
    assert resolve(options.model).reading.range == "logits" and options.replace(size=256).model == options.model
    with pytest.raises(ConfigError, match="--card goes with --model FILE"):
        VideoOptions.build({"card": "u2net"})
    with pytest.raises(ModelNotFoundError, match="there is no model"):
        resolve("u2net=nothing.onnx")
    (tmp_path / "other.yml").write_text("name: [")
    with pytest.raises(ConfigError, match=r"other\.yml is not valid YAML"):
        resolve(str(other))


def test_cards_of_known_files_are_whole():
    names = [card.name for card in third_party_cards()]
    wanted = {"u2net", "u2netp", "u2net_human_seg", "isnet-general-use", "silueta", "birefnet-portrait"}
    wanted |= {f"rvm_{kind}_{bits}" for kind in ("mobilenetv3", "resnet50") for bits in ("fp32", "fp16")}
    assert wanted <= set(names) and len({card.file for card in third_party_cards()}) == len(names)
    assert all(card.get and card.file and card.licence and not card.files for card in third_party_cards())


@BOTH
@pytest.mark.parametrize("damage", ["text", "cut", "no image", "no alpha", "unknown state", "unknown number"])
def test_a_wrong_graph_gets_one_line(tmp_path, engine, damage):
    path = tmp_path / "net.onnx"
    if damage == "unknown number":
        recurrent_network(path, constant="strength")
    elif damage == "unknown state":
        recurrent_network(path)
        model = onnx.load(str(path))
        del model.graph.output[2]
        onnx.save(model, str(path))
    else:
        convolved_network(path, channels=2 if damage == "no alpha" else 1)
        if damage == "no image":
            model = onnx.load(str(path))
            model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
            onnx.save(model, str(path))
        elif damage == "text":
            path.write_text("not a network")
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError) as caught:
        open_engine(str(path), engine=engine, size=SIZE).close()
    assert "\n" not in str(caught.value) and str(path.name) in str(caught.value)


def test_a_recurrent_network_is_exported(tmp_path):
    path = recurrent_network(tmp_path / "rvm_mobilenetv3_fp32.onnx")
    save_as(resolve(str(path)), tmp_path / "net.xml", "openvino")
    images = random_images(4)
    with closing(open_engine(str(tmp_path / "net.xml"), precision="f32", size=SIZE)) as one:
        assert one.recurrent
        alphas = np.concatenate([one.submit(image[None]).result() for image in images])
    assert np.abs(alphas - running_mean(images)).max() < 1e-5
    model = normalised(read_graph(tmp_path / "net.xml"), resolve(str(path)).rule)
    with pytest.raises(ConfigError, match="cannot be made int8"):
        quantise_measured(model, [(image,) for image in random_images(12)])


# ---- ONNX Runtime ----


def test_providers_and_precisions(tmp_path, caplog):
    path = str(convolved_network(tmp_path / "net.onnx"))
    files = resolve(path)
    assert choose_engine("auto", "auto", files)[0] == "openvino"  # this build has no accelerator
    assert choose_engine("auto", "dml", files)[0] == "onnxruntime"
    for device, message in (("dml", "has no device 'dml'"), ("gpu", "onnxruntime-gpu")):
        with pytest.raises(ConfigError, match=message):
            open_engine(path, engine="onnxruntime", device=device, size=SIZE)
    with pytest.raises(ConfigError, match="as it is, or in f16"):
        open_engine(path, engine="onnxruntime", precision="int8", size=SIZE)
    images = random_images(3)
    with caplog.at_level("INFO"):
        engines = [open_engine(path, engine="onnxruntime", precision=p, size=SIZE, batch=3) for p in ("f32", "f16")]
    assert "onnxruntime on cpu runs net in f16" in caplog.text
    exact, halved = (engine.submit(images).result() for engine in engines)
    assert 1e-6 < np.abs(exact - halved).max() < 2e-2
    for engine in engines:
        engine.close()
        engine.close()
    with pytest.raises(ConfigError, match="was closed"):
        engines[0].submit(images)


def test_an_accelerator_is_taken_and_a_fall_back_is_reported(tmp_path, monkeypatch, caplog):
    """The provider of a build with a GPU, which here cannot start: the session runs on the CPU, and the log says so."""
    import onnxruntime

    path = str(convolved_network(tmp_path / "net.onnx"))
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    assert choose_engine("auto", "auto", resolve(path)) == ("onnxruntime", "the installed ONNX Runtime serves cuda")
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        engine = open_engine(path, size=SIZE)
    assert isinstance(engine, ONNXRuntimeEngine) and engine.device == "cpu"
    assert "cannot run net on cuda; it runs on cpu" in caplog.text
    assert np.isfinite(engine.submit(random_images(1)).result()).all()
    engine.close()


def test_a_gpu_works_on_two_batches_from_page_locked_memory(tmp_path, monkeypatch):
    """The CPU's provider stands for CUDA's: how buffers and threads are used, not what a GPU makes of them."""
    import onnxruntime

    monkeypatch.setitem(streammatte.engines.onnxruntime.ACCELERATORS, "cuda", "CPUExecutionProvider")
    made = []

    def pinned(shape, kind):
        made.append(tuple(shape))
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.empty(shape, kind))

    monkeypatch.setattr(streammatte.engines.onnxruntime, "_pinned", pinned)
    path = str(convolved_network(tmp_path / "plain.onnx"))
    images = random_images(12)
    with closing(open_engine(path, engine="onnxruntime", device="cuda", size=SIZE)) as engine:
        assert engine.device == "cuda" and engine.in_flight == 3
        waiting = [engine.submit(image[None]) for image in images[:3]]
        found = [pending.result() for pending in waiting]
        found += [engine.submit(image[None]).result() for image in images[3:]]
    monkeypatch.undo()
    with closing(open_engine(path, engine="onnxruntime", device="cpu", size=SIZE)) as engine:
        expected = [engine.submit(image[None]).result() for image in images]
    assert np.array_equal(np.stack(found), np.stack(expected))
    assert 1 <= len(made) <= 2  # a buffer for each thread, kept


def test_an_openvino_graph_cannot_run_on_onnx_runtime():
    with pytest.raises(ModelError, match="is here as an OpenVINO graph"):
        open_engine("streammatte/assets/ppmattingv2-lite.f16.xml", engine="onnxruntime", size=SIZE)


def test_a_video_by_the_command_line(tmp_path):
    recurrent_network(tmp_path / "net.onnx")
    (tmp_path / "card.yml").write_text(plain_card("net", image="src", alpha="pha", states={"r1i": "r1o"}))
    make_video(tmp_path / "in.mkv", codec="ffv1", frames=5, width=96, height=64)
    command = [sys.executable, "-m", "streammatte", "video", "in.mkv", "out.mkv", "--bg", "navy", "--model", "net.onnx"]
    done = subprocess.run(
        [*command, "--card", "card.yml", "--engine", "onnxruntime"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0 and "5 frames" in done.stderr, done.stderr
