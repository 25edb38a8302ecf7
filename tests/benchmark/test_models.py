"""The table of networks: counts by paddle.flops' rules, speeds per engine."""

import numpy as np
import pytest

from streammatte.benchmark.models import format_models, model_table, print_table
from streammatte.errors import ConfigError, ModelNotFoundError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))


def test_the_embedded_network_is_measured_without_paddle(capsys):
    rows = model_table(["ppmattingv2-lite"], 64, ["openvino"], 2)
    (row,) = rows
    assert row["engine"] == "openvino"
    assert row["size"] == "64x64"
    assert row["weights"] == "here"
    assert row["ms"] > 0
    assert row["fps"] == pytest.approx(1000 / row["ms"])
    print_table(rows)
    told = capsys.readouterr().out
    assert "ppmattingv2-lite" in told
    assert "FLOPs G" in told


def test_published_figures_stand_beside_the_measured_ones():
    row = {
        **dict.fromkeys(("seed_params_m", "seed_flops_g", "seed_sad")),
        **{"name": "net", "params_m": 1.5, "flops_g": None, "engine": "paddle", "precision": "f32"},
        **{"size": "64x64", "ms": 12.345, "fps": 81.0, "seed_fps": 98.89, "weights": "random"},
    }
    head, line = format_models([row]).splitlines()
    assert head.index("ms") < head.index("(published, V100)")
    assert "12.35" in line or "12.34" in line
    assert "98.89" in line


def test_what_cannot_be_measured_is_told(caplog):
    with pytest.raises(ModelNotFoundError, match="known"):
        model_table(["nothing"], 64, ["openvino"], 1)
    with pytest.raises(ConfigError, match="none of"):
        model_table(["ppmattingv2-lite"], 64, ["paddle"], 1)
    assert "left out" in caplog.text


def test_without_paddle_what_is_here_is_measured(monkeypatch, caplog):
    monkeypatch.setattr("streammatte.benchmark.models.find_spec", lambda name: None)
    rows = model_table(["modnet-mobilenetv2", "ppmattingv2-lite"], 64, ["openvino"], 1)
    assert [row["name"] for row in rows] == ["ppmattingv2-lite"]
    assert "modnet-mobilenetv2 is left out" in caplog.text


@pytest.mark.paddle
def test_a_network_without_weights_is_measured_with_random_ones(tmp_path):
    pytest.importorskip("paddle")
    rows = model_table(["modnet-mobilenetv2"], (64, 96), ["openvino", "paddle"], 1)
    assert [row["engine"] for row in rows] == ["openvino", "paddle"]
    for row in rows:
        assert row["weights"] == "random"
        assert row["params_m"] == pytest.approx(row["seed_params_m"], rel=0.01)
        # fully convolutional but for one pooled branch, so operations go with the area
        assert row["flops_g"] * 512 * 512 / (64 * 96) == pytest.approx(row["seed_flops_g"], rel=0.05)
    kept = [path.name for path in (tmp_path / "home").rglob("*") if "modnet" in path.name]
    assert kept == []  # random weights leave nothing in the user's cache


@pytest.mark.paddle
def test_operations_are_those_of_paddle_flops(monkeypatch):
    paddle = pytest.importorskip("paddle")
    from paddle import nn

    from streammatte.benchmark.models import _operations

    class Mixed(nn.Layer):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2D(3, 8, 3, stride=2, padding=1)
            self.grouped = nn.Conv2D(8, 8, 3, padding=1, groups=4, bias_attr=False)
            self.norm = nn.BatchNorm2D(8)
            self.up = nn.Conv2DTranspose(8, 8, 4, stride=2, padding=1)
            self.slope, self.pool, self.shrink = nn.LeakyReLU(), nn.AvgPool2D(2), nn.AdaptiveAvgPool2D(4)
            self.flat = nn.Linear(8 * 16, 5)

        def forward(self, x):
            x = self.pool(self.slope(self.up(self.norm(self.grouped(self.conv(x))))))
            return self.flat(self.shrink(x).flatten(1))

    network = Mixed()
    network.eval()
    monkeypatch.setattr(paddle.Tensor, "__int__", lambda tensor: int(tensor.item()))  # NumPy 2.4 refuses it otherwise
    wanted = paddle.flops(network, [1, 3, 32, 48])
    assert np.isclose(_operations(network, (paddle.zeros([1, 3, 32, 48]),)), wanted, rtol=1e-6)


@pytest.mark.paddle
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_with_spectral_norm_counts_as_a_plain_one(transposed):
    paddle = pytest.importorskip("paddle")

    from streammatte.benchmark.models import _operations
    from streammatte.networks.spectral import SpectralConv

    kind = paddle.nn.Conv2DTranspose if transposed else paddle.nn.Conv2D
    plain = paddle.nn.Sequential(kind(4, 6, 4, stride=2, padding=1, bias_attr=False))
    spectral = paddle.nn.Sequential(SpectralConv(4, 6, 4, 2, 1, transposed=transposed))
    inputs = (paddle.zeros([1, 4, 16, 24]),)
    assert _operations(spectral, inputs) == _operations(plain, inputs) > 0
