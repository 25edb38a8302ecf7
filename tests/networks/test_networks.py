"""The nine published networks: names, shapes, golden cases, batches, training outputs, sizes."""

import numpy as np
import pytest
import support.seeded_networks as zn

from streammatte import networks
from streammatte.errors import ModelError
from streammatte.models.cards import card_names, load_card
from streammatte.networks.checkpoints import load

pytest.importorskip("paddle")
pytestmark = pytest.mark.paddle

QUICK = ("ppmattingv2-stdc1-human_512", "ppmatting-hrnet_w18-human_512", "modnet-mobilenetv2", "gca-resguidedcxtatten")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zn.PUBLISHED]
TRAINING = {
    "PPMattingV2": {"alpha": 1, "alpha_8x": 8},
    "PPMatting": {"alpha": 1, "semantic": 1, "detail": 1},
    "HumanMatting": {"alpha": 1, "glance": 4, "focus": 4, "fusion": 4, "error": 4},
    "MODNet": {"alpha": 1, "semantic": 16, "detail": 1},
    "DIM": {"alpha": 1, "alpha_raw": 1},
    "GCA": {"alpha": 1},
}


@pytest.fixture(scope="module", params=NAMES)
def named(request):
    return request.param, zn.seeded(request.param)


def test_state_dict_is_the_published_one(named):
    name, network = named
    own = [[key, list(value.shape)] for key, value in network.state_dict().items()]
    assert own == zn.specifications()[name]["state_dict"]


def test_parameter_count(named):
    name, network = named
    count = sum(int(value.size) for value in network.parameters())
    assert count == zn.specifications()[name]["parameters"]
    assert count == pytest.approx(load_card(name).seed.params_m * 1e6, rel=0.01)


def test_golden_cases(named):
    name, network = named
    for case in zn.specifications()[name]["cases"]:
        inputs, alpha = zn.golden_case(name, case)
        difference = np.abs(zn.run(network, inputs) - alpha)
        beyond = difference > 1e-3
        assert beyond.mean() <= (1e-3 if name.startswith("ppmatting-") else 0), case
        assert difference[~beyond].mean() < 1e-5, case


def test_a_batch_of_two_is_two_of_one(named):
    name, network = named
    height, width = zn.size_for(name, 64, 96)
    inputs = zn.inputs_of(name, height, width, count=2)
    both = zn.run(network, inputs)
    each = np.concatenate([zn.run(network, [array[i : i + 1] for array in inputs]) for i in range(2)])
    difference = np.abs(both - each)
    assert both.shape == (2, 1, height, width)
    assert np.abs(each[0] - each[1]).max() > 1e-3, "the two images say the same"
    assert (difference > 1e-4).mean() <= (1e-3 if name.startswith("ppmatting-") else 0)
    assert both.min() >= 0
    assert both.max() <= 1


def test_training_outputs(named):
    import paddle

    name, network = named
    height, width = zn.size_for(name, 64, 128)
    network.train()
    try:
        out = network(*[paddle.to_tensor(array) for array in zn.inputs_of(name, height, width, count=2)])
        sum(value.mean() for value in out.values()).backward()
        graded = [key for key, value in network.named_parameters() if value.grad is not None]
    finally:
        network.eval()
        network.clear_gradients()
    wanted = TRAINING[load_card(name).architecture]
    assert out.keys() == wanted.keys()
    assert {key: tuple(value.shape[2:]) for key, value in out.items()} == {
        key: (height // step, width // step) for key, step in wanted.items()
    }
    unreached = {key for key, value in network.named_parameters() if not value.stop_gradient} - set(graded)
    # nothing is taken from HRNet's middle branches, so their last exchange learns nothing
    assert all(key.startswith("backbone.st4.stage_st4_3.") for key in unreached)
    assert not unreached or "hrnet" in name


@pytest.mark.parametrize("name", zn.TRIMAP)
def test_a_missing_trimap_is_an_error(name):
    network = networks.create(name)
    with pytest.raises(ModelError, match="needs a trimap"):
        zn.run(network, zn.inputs_of(name, 64, 64)[:1])


def test_official_checkpoints_load_strictly(tmp_path):
    import paddle

    source = zn.seeded("modnet-mobilenetv2")
    state = source.state_dict()
    paddle.save(state, str(tmp_path / "whole.pdparams"))
    copy = networks.create("modnet-mobilenetv2", tmp_path / "whole.pdparams")
    copy.eval()
    inputs = zn.inputs_of("modnet-mobilenetv2", 64, 96)
    assert np.array_equal(zn.run(copy, inputs), zn.run(source, inputs))
    state.pop("head.lr_branch.conv_lr.layers.0.bias")
    paddle.save(state, str(tmp_path / "part.pdparams"))
    with pytest.raises(ModelError, match=r"1 missing: head\.lr_branch\.conv_lr\.layers\.0\.bias"):
        load(copy, tmp_path / "part.pdparams")


def test_every_network_has_a_card_and_every_card_a_network():
    assert set(card_names()) == set(networks.names())


@pytest.mark.parametrize("name", zn.PUBLISHED)
def test_cards_say_what_networks_need(name):
    card = load_card(name)
    assert card.licence == "Apache-2.0"
    assert card.input.trimap == (name in zn.TRIMAP)
    step = 128 if name.startswith("human") else 32
    assert all(side % step == 0 for side in card.input.size_for(1080, 1920))
    if name != "gca-resguidedcxtatten":
        assert card.files["checkpoint"].filename == f"{name}.pdparams"
        assert card.files["inference"].filename.endswith(".zip")


def test_channel_max_has_the_gradient_of_paddles():
    """Ours takes a hundredth of the time of Paddle's backward pass on a CPU."""
    import paddle

    from streammatte.networks.layers import _channel_max

    values = np.random.default_rng(1).integers(0, 4, (2, 5, 6, 7)).astype(np.float32)  # with several highest ones
    weights = paddle.to_tensor(np.random.default_rng(2).random((2, 1, 6, 7), np.float32))
    gradients = []
    for highest in (_channel_max, lambda x: paddle.max(x, axis=1, keepdim=True)):
        x = paddle.to_tensor(values, stop_gradient=False)
        (highest(x) * weights).sum().backward()
        gradients.append(x.grad.numpy())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-6) and gradients[0].any()
