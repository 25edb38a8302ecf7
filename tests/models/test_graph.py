"""Graphs from elsewhere: which inputs and outputs make a matting network, and what a graph says of itself."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops
from support.tiny_networks import brightness_network, trimap_network
from support.videos import make_video

import streammatte
from streammatte.engines import open_engine
from streammatte.errors import ConfigError, ModelError, ModelNotFoundError
from streammatte.models.resolve import resolve

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))


def image(name="src", shape=(1, 3, -1, -1), kind=np.float32):
    port = ops.parameter(list(shape), kind, name=name)
    port.output(0).get_tensor().set_names({name})
    return port


def mean(x, axis=1, keep=True):
    return ops.reduce_mean(x, np.array([axis]), keep_dims=keep)


def named(node, name):
    node.output(0).get_tensor().set_names({name})
    return node


def saved(folder, outputs, inputs):
    path = folder / "net.xml"
    ov.save_model(ov.Model(outputs, inputs, "net"), str(path), compress_to_fp16=False)
    return str(path)


def two_images():
    first, second = image("src"), image("bgr")
    return [ops.add(mean(first), mean(second))], [first, second]


def gray_image():
    given = image(shape=(1, 1, -1, -1))
    return [mean(given)], [given]


def three_channels():
    given = image()
    return [ops.multiply(given, np.float32(0.5))], [given]


def one_number():
    given = image()
    return [ops.reduce_mean(given, np.array([1, 2, 3]), keep_dims=False)], [given]


def whole_numbers():
    given = image()
    return [ops.convert(mean(given), "u8")], [given]


def channels_last():
    given = image(shape=(1, -1, -1, 3))
    return [mean(given, 3, keep=False)], [given]


def another_shape():
    given = image()
    sides, axes = ops.constant(np.array([7, 9])), ops.constant(np.array([2, 3]))
    return [ops.interpolate(mean(given), sides, "linear_onnx", "sizes", axes=axes)], [given]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (two_images, "src .* bgr .* takes one image"),
        (gray_image, "takes one image"),
        (three_channels, "no alpha"),
        (one_number, "no alpha"),
        (whole_numbers, "no alpha .* of floats"),
        (channels_last, "no alpha"),
        (another_shape, "no alpha"),
    ],
)
def test_what_is_no_matting_network_is_refused(tmp_path, make, message):
    model = saved(tmp_path, *make())
    with pytest.raises(ModelError, match=message) as caught:
        open_engine(model, engine="openvino", size=SIZE)
    assert "net.xml" in str(caught.value)


@pytest.mark.parametrize("name", ["pha", "anything"])
def test_alpha_is_found_among_several_outputs(tmp_path, name):
    given = image()
    foreground = named(ops.multiply(given, np.float32(0.5)), "fgr")
    state = named(ops.multiply(mean(given), np.float32(0)), "state")
    outputs = [foreground, named(mean(given), name), *([state] if name == "anything" else [])]
    if name == "pha":
        outputs.insert(0, state)
    engine = open_engine(saved(tmp_path, outputs, [given]), engine="openvino", size=SIZE, precision="f32")
    alpha = engine.submit(np.full((1, *SIZE, 3), 255, np.uint8)).result()
    engine.close()
    assert alpha.shape == (1, *SIZE)
    assert alpha.mean() == pytest.approx(1, abs=1e-3)


def fixed_network(folder, height, width):
    """Alpha is brightness, at one size only: a map of that size is added."""
    given = image(shape=(1, 3, height, width))
    level = ops.add(ops.multiply(mean(given), np.float32(0.5)), np.float32(0.5))
    return saved(folder, [ops.add(level, np.zeros((1, 1, height, width), np.float32))], [given])


def test_a_graph_of_one_size_is_run_at_it(tmp_path):
    model = fixed_network(tmp_path, 96, 160)
    assert resolve(model).rule.fixed == (96, 160)
    video = make_video(tmp_path / "in.mp4", frames=4, width=128, height=128)
    summary = streammatte.matte_video(video, tmp_path / "out.mp4", model=model, background="none")
    assert summary.frames == 4
    matte = streammatte.matte_image(np.full((50, 70, 3), 255, np.uint8), model=model, min_area=0)
    assert matte.small_alpha.shape == (96, 160)
    assert matte.alpha.min() > 0.98
    with pytest.raises(ConfigError, match=r"takes 160x96 only; got 96x64"):
        open_engine(model, engine="openvino", size=SIZE)


def test_a_fixed_size_need_not_be_a_multiple(tmp_path):
    model = fixed_network(tmp_path, 50, 70)
    engine = open_engine(model, engine="openvino", size=(50, 70))
    assert engine.submit(np.zeros((1, 50, 70, 3), np.uint8)).result().shape == (1, 50, 70)
    engine.close()


def test_a_graph_that_changed_is_read_again(tmp_path):
    path = tmp_path / "net.xml"
    brightness_network(path)
    assert resolve(str(path)).rule.fixed is None
    fixed_network(tmp_path, 96, 160)
    assert resolve(str(path)).rule.fixed == (96, 160)


def test_a_graph_says_that_it_needs_a_trimap(tmp_path):
    model = str(trimap_network(tmp_path / "trimapped.xml"))
    assert resolve(model).rule.trimap
    video = make_video(tmp_path / "in.mp4", frames=2)
    with pytest.raises(ConfigError, match="needs a trimap"):
        streammatte.matte_video(video, tmp_path / "out.mp4", model=model)


def test_what_is_no_number_is_not_taken_for_nobody(tmp_path):
    given = image()
    model = saved(tmp_path, [ops.divide(ops.multiply(mean(given), np.float32(0)), np.float32(0))], [given])
    video = make_video(tmp_path / "in.mp4", frames=2)
    for run in (
        lambda: streammatte.matte_image(np.zeros((64, 96, 3), np.uint8), model=model),
        lambda: streammatte.matte_video(video, tmp_path / "out.mp4", model=model),
    ):
        with pytest.raises(ModelError, match="no numbers"):
            run()
    assert not (tmp_path / "out.mp4").exists()


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"no weights .*nothere\.npz"):
        resolve(f"modnet-mobilenetv2={tmp_path / 'nothere.npz'}")


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0"?><net name="n" version="11"><layers></layers><edges></edges></net>',
        '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
        '<net name="&x;" version="11"><layers></layers><edges></edges></net>',
        "",
        "<net",
    ],
)
def test_a_graph_without_an_image_is_one_clear_error(tmp_path, text):
    (tmp_path / "net.xml").write_text(text)
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(ModelError):
        open_engine(str(tmp_path / "net.xml"), size=SIZE)


def test_a_graph_of_constants_or_of_a_trimap_alone_is_refused(tmp_path):
    constant = ops.constant(np.zeros((1, 1, 64, 96), np.float32))
    with pytest.raises(ModelError, match="its inputs are none"):
        open_engine(saved(tmp_path, [constant], []), size=SIZE)
    trimap = image("trimap", (1, -1, -1, 1), np.uint8)
    with pytest.raises(ModelError, match="takes one image"):
        open_engine(saved(tmp_path, [ops.convert(trimap, "f32")], [trimap]), size=SIZE)
