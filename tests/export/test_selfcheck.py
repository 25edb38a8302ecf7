"""Every kind of network is run once by ``models verify``, at a size it takes; what cannot be run here is reported."""

import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops
from support.tiny_networks import brightness_network, trimap_network

from streammatte.export import selfcheck
from streammatte.export.selfcheck import check
from streammatte.models.cards import load_card
from streammatte.models.files import ModelFiles
from streammatte.models.input_rule import InputRule, SizeStep

GOLDEN = Path(__file__).parents[1] / "golden"
NET = "modnet-mobilenetv2"

paddle = pytest.mark.skipif(not find_spec("paddle"), reason="Paddle is not installed")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models" / NET


@pytest.fixture
def files(monkeypatch):
    """Takes the files that the check finds under NET's name, and gives its line."""

    def verdict(given):
        monkeypatch.setattr(selfcheck, "verify", lambda name: [])
        monkeypatch.setattr(selfcheck, "resolve", lambda name: given)
        return check(load_card(NET))

    return verdict


def rule(*steps, **more):
    return InputRule(steps=tuple(SizeStep(*step) for step in steps), **more)


def network(path, shape, scale=1.0, pooled=None):
    """Alpha is the mean of the image, times ``scale``; ``pooled`` makes sides of other multiples fail."""
    image = ops.parameter(shape, np.float32, name="image")
    image.output(0).get_tensor().set_names({"image"})
    mean = ops.reduce_mean(image, np.array([1]), keep_dims=True)
    alpha = ops.multiply(ops.add(ops.multiply(mean, np.float32(0.5)), np.float32(0.5)), np.float32(scale))
    if pooled:
        alpha = ops.space_to_depth(alpha, "blocks_first", pooled)
        alpha = ops.depth_to_space(alpha, "blocks_first", pooled)
    ov.save_model(ov.Model([alpha], [image], "net"), str(path), compress_to_fp16=False)
    return path


def test_the_embedded_network_runs():
    assert str(check(load_card("ppmattingv2-lite"))) == "ok"


def test_a_network_of_another_multiple_is_tried_at_its_own(files, tmp_path):
    graph = network(tmp_path / "net.xml", [1, 3, -1, -1], pooled=128)
    given = ModelFiles("net", {"float": graph}, rule=rule(("limit_long", (None, 2048)), ("multiple", (128,))))
    assert str(files(given)) == "ok"


def test_a_graph_of_one_size_is_tried_at_that(files, tmp_path):
    graph = network(tmp_path / "net.xml", [1, 3, 80, 112])
    assert str(files(ModelFiles("net", {"float": graph}, rule=rule(("fixed", (80, 112)))))) == "ok"


def test_a_network_with_a_trimap_is_run(files, tmp_path):
    graph = trimap_network(tmp_path / "net.xml")
    assert str(files(ModelFiles("net", {"float": graph}, rule=rule(trimap=True)))) == "ok"
    wrong = network(tmp_path / "wrong.xml", [1, 3, -1, -1], scale=3.0)
    assert "alpha from" in str(files(ModelFiles("net", {"float": wrong}, rule=rule(trimap=True))))


def test_graphs_that_disagree_are_a_fault(files, tmp_path):
    half = network(tmp_path / "half.xml", [1, 3, -1, -1], scale=0.2)
    whole = brightness_network(tmp_path / "whole.xml")
    assert "int8 graph is" in str(files(ModelFiles("net", {"float": whole, "int8": half})))


@pytest.mark.parametrize("error", [RuntimeError("Error: no kernel for it"), OSError("gone")])
def test_what_the_compiler_raises_is_a_fault(files, tmp_path, monkeypatch, error):
    def refuse(*args):
        raise error

    monkeypatch.setattr(ov.Core, "compile_model", refuse)
    verdict = files(ModelFiles("net", {"float": brightness_network(tmp_path / "net.xml")}))
    assert len(verdict.faults) == 1
    assert str(error) in verdict.faults[0]


@pytest.mark.paddle
@paddle
def test_a_program_of_paddle_3_is_run(root):
    shutil.copytree(GOLDEN / "exported3", root / "inference")
    assert str(check(load_card(NET))) == "ok"
    (root / "inference" / "model.pdiparams").write_bytes(b"x" * 100)
    assert check(load_card(NET)).faults


@pytest.mark.paddle
@paddle
def test_a_program_that_is_none_is_a_fault(root):
    shutil.copytree(GOLDEN / "exported3", root / "inference")
    (root / "inference" / "model.json").write_text("{}")
    assert check(load_card(NET)).faults


@pytest.mark.paddle
@paddle
@pytest.mark.parametrize("name", [NET, "gca-resguidedcxtatten"])
def test_weights_are_put_into_their_network_and_run(tmp_path, name):
    from support.seeded_networks import seeded

    folder = tmp_path / "home" / "models" / name
    folder.mkdir(parents=True)
    state = {key: value.numpy() for key, value in seeded(name).state_dict().items()}
    (folder / f"{name}.pdparams").write_bytes(pickle.dumps(state, 4))
    assert str(check(load_card(name))) == "ok"
    state.popitem()
    (folder / f"{name}.pdparams").write_bytes(pickle.dumps(state, 4))
    assert "missing" in str(check(load_card(name)))


def test_without_paddle_only_the_files_are_checked_and_it_says_so(root, monkeypatch):
    monkeypatch.setattr(selfcheck, "find_spec", lambda name: None)
    shutil.copytree(GOLDEN / "exported3", root / "inference")
    assert str(check(load_card(NET))).startswith("ok (files only: it needs Paddle")
    shutil.rmtree(root / "inference")
    (root / f"{NET}.pdparams").write_bytes(pickle.dumps({"weight": np.zeros(3, np.float32)}))
    assert str(check(load_card(NET))).startswith("ok (files only: it needs Paddle")
    (root / f"{NET}.pdparams").write_bytes(b"<html>")
    assert "cannot be read as weights" in str(check(load_card(NET)))


def test_what_is_not_here_says_how_to_get_it():
    assert f"models pull {NET}" in str(check(load_card(NET)))
