"""Cards and deploy files whose values are of the wrong kind: told with the file's name, never taken, never a crash."""

import pytest

from streammatte.errors import ConfigError, ModelError
from streammatte.models.cards import read_card
from streammatte.models.input_rule import read_deploy

CARD = """
name: net
title: Net
architecture: MODNet
input:
  size: [512, 512]
  std: [0.5, 0.5, 0.5]
  trimap: false
  steps: [{limit_short: [null, 512]}, {multiple: 32}]
licence: Apache-2.0
paper: MODNet
seed: {sad: 50, params_m: 6.5, flops_g: null, fps: 68.4}
embedded: false
output_scale: 1
files:
  inference: {url: "https://example.org/net.zip", sha256: null, size: 17}
"""

DEPLOY = """
Deploy: {{model: a.pdmodel, params: a.pdiparams, input_shape: {shape}, transforms: [{transform}]}}
"""


def test_whole_numbers_are_numbers_and_null_is_unknown():
    card = read_card(CARD, "the card")
    assert (card.seed.sad, card.seed.flops_g, card.output_scale) == (50, None, 1)
    assert card.files["inference"].size == 17


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("size: [512, 512]", "size: 512"), r"input\.size must be \[height, width\]"),
        (("size: [512, 512]", "size: [512, true]"), r"input\.size must be"),
        (("[{limit_short: [null, 512]}, {multiple: 32}]", "5"), r"input\.steps must be a list.*got 5"),
        (("{multiple: 32}", "{multiple: 0}"), "whole numbers above 0"),
        (("trimap: false", "trimap: maybe"), r"input\.trimap must be true or false; got 'maybe'"),
        (("std: [0.5, 0.5, 0.5]", "std: [0, 0, 0]"), r"input\.std must be three numbers above 0"),
        (("std: [0.5, 0.5, 0.5]", "std: [.nan, 1, 1]"), "finite"),
        (("sad: 50", "sad: many"), "seed: sad must be a number or null; got 'many'"),
        (("sad: 50", "sad: true"), "seed: sad must be a number"),
        (("sad: 50", "sad: .inf"), "seed: sad must be a number"),
        (("embedded: false", "embedded: maybe"), "embedded must be true or false; got 'maybe'"),
        (("output_scale: 1", "output_scale: half"), "output_scale must be a number"),
        (("title: Net", "title: 5"), "title must be text"),
        (("sha256: null", "sha256: 1234"), r"files\.inference: sha256 must be text \(in quotes.* or null"),
        (("size: 17", "size: 17.5"), "size must be a whole number or null; got 17.5"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told(change, told):
    assert change[0] in CARD
    with pytest.raises(ConfigError, match=rf"^the card.*{told}"):
        read_card(CARD.replace(*change), "the card")


@pytest.mark.parametrize(
    ("shape", "transform", "told"),
    [
        ("5", "", "input_shape must be a list"),
        ("null", "{type: ResizeByShort, short_size: 0}", "whole numbers above 0"),
        ("null", "{type: ResizeToIntMult, mult_int: [32, 32]}", "whole numbers above 0"),
        ("null", "{type: Resize, target_size: [0, 5]}", "whole numbers above 0"),
        ("null", "{type: Normalize, std: [0, 0, 0]}", "std must be three numbers above 0"),
        ("null", "{type: Normalize, mean: [.inf, 0, 0]}", "finite"),
    ],
)
def test_a_deploy_file_with_such_a_value_is_told_by_its_name(tmp_path, shape, transform, told):
    path = tmp_path / "deploy.yaml"
    path.write_text(DEPLOY.format(shape=shape, transform=transform))
    with pytest.raises(ModelError, match=rf"{path}.*{told}"):
        read_deploy(path)
