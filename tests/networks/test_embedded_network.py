"""The embedded network: architecture, weights, export, assets, card."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streammatte import networks
from streammatte.engines import open_engine
from streammatte.errors import EngineUnavailableError, ModelError, ModelNotFoundError
from streammatte.models.cards import load_card
from streammatte.models.graph import normalised, read_graph
from streammatte.models.input_rule import InputRule
from streammatte.models.resolve import EMBEDDED_WEIGHTS
from streammatte.networks.checkpoints import load, read_state

NAME = "ppmattingv2-lite"
ASSETS = Path(networks.__file__).parents[1] / "assets"
SIZES = [(288, 512), (512, 288), (512, 512), (192, 192), (544, 960), (224, 416)]


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "ppmattingv2_lite.npz") as arrays:
        return arrays["image"], arrays["alpha_half"]


@pytest.fixture(scope="module")
def weights():
    """The weights that the package's graphs were exported from."""
    return EMBEDDED_WEIGHTS


@pytest.fixture(scope="module")
def network(weights):
    pytest.importorskip("paddle")
    network = networks.create(NAME, weights)
    network.eval()
    return network


def resized(golden, height, width):
    import cv2

    return cv2.resize(golden[0], (width, height))


def half(network, image):
    import paddle

    with paddle.no_grad():
        tensor = paddle.to_tensor((image.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
        return network.alpha_half(tensor).numpy()[0, 0]


@pytest.mark.paddle
def test_golden_pair(network, golden):
    image, alpha = golden
    assert np.abs(half(network, image) - alpha).max() < 1e-3


@pytest.mark.paddle
def test_forward_enlarges_and_training_gives_two_outputs(network, weights, golden):
    import paddle

    image = paddle.to_tensor((golden[0].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None])
    try:
        with paddle.no_grad():
            assert network(image).shape == [1, 1, 288, 512]
            network.train()
            outputs = network(image[:, :, :192, :192])
    finally:
        network.eval()
        load(network, weights)
    assert {name: list(value.shape) for name, value in outputs.items()} == {
        "alpha": [1, 1, 192, 192],
        "alpha_8x": [1, 1, 24, 24],
    }


@pytest.mark.paddle
@pytest.mark.parametrize("shape", [(8, 4), (3, 3), (32, 17), (6, 6)])
def test_pooling_by_matrices_is_adaptive_pooling(shape):
    paddle = pytest.importorskip("paddle")
    from streammatte.networks.layers import AdaptiveAvgPool2D

    x = paddle.to_tensor(np.random.default_rng(0).standard_normal((2, 3, *shape), np.float32))
    for bins in (2, 4, 6):
        wanted = paddle.nn.functional.adaptive_avg_pool2d(x, bins).numpy()
        np.testing.assert_allclose(AdaptiveAvgPool2D(bins)(x).numpy(), wanted, atol=1e-6)


@pytest.mark.paddle
def test_export_agrees_with_paddle_at_every_shape(network, golden, tmp_path):
    pytest.importorskip("paddle2onnx")
    import openvino as ov

    from streammatte.export import onnx as export

    onnx = export.to_onnx(network, tmp_path / "net.onnx")
    export.save_openvino(normalised(read_graph(onnx), InputRule()), tmp_path / "net.xml", half=False)
    core = ov.Core()
    for size in SIZES:
        model = core.read_model(tmp_path / "net.xml")
        model.reshape([1, *size, 3])
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        image = resized(golden, *size)
        alpha = compiled(image[None])[0][0]
        assert alpha.shape == (size[0] // 2, size[1] // 2)
        assert np.abs(alpha - half(network, image)).max() < 1e-3, size


@pytest.mark.paddle
def test_its_weights_give_the_same_small_matte_on_both_engines(weights, golden, tmp_path, monkeypatch):
    # one that is enlarged before the edges are refined has others
    pytest.importorskip("paddle2onnx")
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    image = resized(golden, 96, 128)[None]
    alphas = []
    for name in ("openvino", "paddle"):
        engine = open_engine(
            f"ppmattingv2-lite={weights}", engine=name, device="cpu", precision="f32", size=(96, 128), throughput=False
        )
        alphas.append(engine.submit(image).result())
        engine.close()
    assert alphas[0].shape == alphas[1].shape == (1, 48, 64)
    assert np.abs(alphas[0] - alphas[1]).max() < 1e-3


@pytest.mark.paddle
def test_weights_that_do_not_fit_are_listed(network, weights, tmp_path):
    with np.load(weights) as arrays:
        state = dict(arrays)
    del state["head.conv_out.weight"]
    state["head.extra"] = np.zeros(3, np.float32)
    state["fuse2x.reduce._conv.weight"] = np.zeros((16, 31, 1, 1), np.float32)
    np.savez(tmp_path / "wrong.npz", **state)
    with pytest.raises(ModelError) as caught:
        networks.create(NAME, tmp_path / "wrong.npz")
    text = str(caught.value)
    assert "1 missing: head.conv_out.weight" in text
    assert "1 unexpected: head.extra" in text
    assert "fuse2x.reduce._conv.weight (16, 31, 1, 1) instead of (16, 32, 1, 1)" in text
    assert "\n" not in text


@pytest.mark.paddle
def test_pdparams_load_like_npz(network, golden, tmp_path):
    import paddle

    paddle.save(network.state_dict(), str(tmp_path / "net.pdparams"))
    other = networks.create(NAME, tmp_path / "net.pdparams")
    other.eval()
    np.testing.assert_array_equal(half(other, golden[0]), half(network, golden[0]))


def test_unreadable_weights(tmp_path):

    with pytest.raises(ModelNotFoundError, match="no weights at"):
        read_state(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_state(tmp_path / "broken.npz")
    (tmp_path / "weights.txt").write_text("no weights")
    with pytest.raises(ModelError, match=r"\.npz or \.pdparams"):
        read_state(tmp_path / "weights.txt")


def test_unknown_network_lists_the_known():
    with pytest.raises(ModelNotFoundError, match=NAME):
        networks.create("ppmatting-of-nobody")


def test_without_paddle_create_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['paddle'] = None\n"
        "from streammatte import networks\n"
        "from streammatte.errors import EngineUnavailableError\n"
        f"try: networks.create({NAME!r})\n"
        "except EngineUnavailableError as error: print(error)\n"
    )
    text = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "streammatte[cpu]" in text
    assert issubclass(EngineUnavailableError, ModelError)


def test_assets_are_small_and_on_the_card():
    card = load_card(NAME)
    assert card.embedded
    assert sum(path.stat().st_size for path in ASSETS.iterdir()) < 20e6  # the weights they are exported from too
    for file in card.assets.values():
        assert (ASSETS / file).is_file()
        assert (ASSETS / file).with_suffix(".bin").is_file()
    assert set(card.assets) == {"float", "int8"}


def test_card_carries_training_and_licence():
    card = load_card(NAME)
    assert card.licence == "Apache-2.0"
    for word in ("EfficientNet-Lite0", "RVM", "GPL-3.0", "CC BY 4.0", "Houses-dataset", "18F"):
        assert word in card.training, word
    assert "hands" in card.limits
    assert card.output_scale == 0.5
    assert {"f32", "bf16", "int8"} <= set(card.quality)
