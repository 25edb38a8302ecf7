"""Operations of the published networks, as ``paddle.flops`` counts them, against the published figures."""

import pytest

from streammatte import networks
from streammatte.models.cards import load_card

paddle = pytest.importorskip("paddle")
pytestmark = pytest.mark.paddle

COUNTED_AT = {"human_matting-resnet34_vd": 2048}  # the others at 512, PP-Matting-1024 too
SLOW = ("ppmatting-hrnet_w18-human_512", "human_matting-resnet34_vd", "modnet-resnet50_vd", "dim-vgg16")
NAMES = ["ppmattingv2-stdc1-human_512", "modnet-mobilenetv2", "modnet-hrnet_w18"]


class OneInput(paddle.nn.Layer):
    """paddle.flops hands over one tensor: image and trimap together."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x[:, :3], x[:, 3:]) if x.shape[1] == 4 else self.network(x)


@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_operations_are_the_published_ones(name, monkeypatch):
    # paddle.flops takes int() of tensors of one element, which Paddle refuses under today's NumPy
    monkeypatch.setattr(paddle.Tensor, "__int__", lambda tensor: int(tensor.item()))
    card = load_card(name)
    network = networks.create(name)
    network.eval()
    side = COUNTED_AT.get(name, 512)
    with paddle.no_grad():
        count = paddle.flops(OneInput(network), [1, 3 + card.input.trimap, side, side])
    assert count == pytest.approx(card.seed.flops_g * 1e9, rel=0.05)
