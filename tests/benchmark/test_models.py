"""The table of networks: published figures, speeds per engine."""

import cv2
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
    assert row["fps"] > 0
    print_table(rows)
    printed = capsys.readouterr().out
    assert "ppmattingv2-lite" in printed
    assert "FLOPs G" in printed


def test_what_is_here_is_scored_too(tmp_path, capsys):
    for folder in ("image", "matte"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    shape = np.zeros((48, 64), np.uint8)
    shape[:, 32:] = 255
    for name, truth in (("a", shape), ("b", np.zeros_like(shape))):
        cv2.imwrite(str(tmp_path / "set" / "image" / f"{name}.png"), np.full((48, 64, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "set" / "matte" / f"{name}.png"), truth)
    rows = model_table(["ppmattingv2-lite"], (192, 256), ["openvino"], 1, precision="f32", data=tmp_path / "set")
    assert rows[0]["mad"] == pytest.approx(250, abs=5)  # nobody is in a gray image: half of one truth is missed
    print_table(rows)
    assert "MAD x1e3" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no stills with a true matte"):
        model_table(["ppmattingv2-lite"], 64, ["openvino"], 1, data=make_empty(tmp_path))


def make_empty(folder):
    (folder / "rooms" / "empty").mkdir(parents=True)
    cv2.imwrite(str(folder / "rooms" / "empty" / "a.jpg"), np.zeros((48, 64, 3), np.uint8))
    return folder / "rooms"


def test_published_figures_stand_beside_the_measured_ones():
    row = {
        **{"name": "net", "seed_params_m": 1.5, "seed_flops_g": None, "engine": "paddle", "precision": "f32"},
        **{"size": "64x64", "ms": 12.345, "fps": 81.0, "seed_fps": 98.89, "weights": "random"},
    }
    head, line = format_models([row]).splitlines()
    assert head.index("ms") < head.index("(published, V100)")
    assert "12.35" in line or "12.34" in line
    assert "98.89" in line


def test_what_cannot_be_measured_is_named(caplog):
    with pytest.raises(ModelNotFoundError, match="known"):
        model_table(["nothing"], 64, ["openvino"], 1)
    with pytest.raises(ConfigError, match="none of"):
        model_table(["ppmattingv2-lite"], 64, ["none"], 1)
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
        assert (row["seed_params_m"], row["seed_flops_g"]) == (6.5, 15.7)
    kept = [path.name for path in (tmp_path / "home").rglob("*") if "modnet" in path.name]
    assert kept == []  # random weights leave nothing in the user's cache
