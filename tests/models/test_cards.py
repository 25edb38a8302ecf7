"""Cards and deploy files whose values are of the wrong kind are refused, with the file's and the key's name."""

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
    ("change", "message"),
    [
        (("size: [512, 512]", "size: 512"), r"input\.size: .*array; got 512"),
        (("size: [512, 512]", "size: [512, true]"), r"input\.size\.1: .*integer; got True"),
        (("[{limit_short: [null, 512]}, {multiple: 32}]", "5"), r"input\.steps: .*array; got 5"),
        (("{multiple: 32}", "{multiple: 0}"), r"input\.steps\.1: .*whole numbers above 0"),
        (("trimap: false", "trimap: maybe"), r"input\.trimap: .*boolean; got 'maybe'"),
        (("std: [0.5, 0.5, 0.5]", "std: [0, 0, 0]"), r"input\.std\.0: .*greater than 0; got 0"),
        (("std: [0.5, 0.5, 0.5]", "std: [.nan, 1, 1]"), "finite"),
        (("sad: 50", "sad: many"), r"seed\.sad: .*number; got 'many'"),
        (("sad: 50", "sad: true"), r"seed\.sad: .*number; got True"),
        (("sad: 50", "sad: .inf"), r"seed\.sad: .*finite"),
        (("embedded: false", "embedded: maybe"), "embedded: .*boolean; got 'maybe'"),
        (("output_scale: 1", "output_scale: half"), "output_scale: .*number"),
        (("output_scale: 1", "output_scale: 0"), "output_scale: .*greater than 0"),
        (("output_scale: 1", "output_scale: -1"), "output_scale: .*greater than 0"),
        (("title: Net", "title: 5"), "title: .*string; got 5"),
        (("sha256: null", "sha256: 1234"), r"files\.inference\.sha256: .*string"),
        (("sha256: null", "sha256: abcd"), r"files\.inference\.sha256: .*pattern"),
        (("size: 17", "size: 17.5"), r"files\.inference\.size: .*integer; got 17.5"),
        (("https://example.org/net.zip", "file:///net.zip"), r"files\.inference\.url: .*pattern"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(change, message):
    assert change[0] in CARD
    with pytest.raises(ConfigError, match=rf"^the card.*{message}"):
        read_card(CARD.replace(*change), "the card")


@pytest.mark.parametrize(
    ("shape", "transform", "message"),
    [
        ("5", "", "TypeError"),
        ("null", "{type: ResizeByShort, short_size: 0}", "whole numbers above 0"),
        ("null", "{type: ResizeToIntMult, mult_int: [32, 32]}", "whole numbers above 0"),
        ("null", "{type: Resize, target_size: [0, 5]}", "whole numbers above 0"),
        ("null", "{type: Normalize, std: [0, 0, 0]}", r"std\.0: .*greater than 0"),
        ("null", "{type: Normalize, mean: [.inf, 0, 0]}", "finite"),
    ],
)
def test_a_deploy_file_with_such_a_value_is_named(tmp_path, shape, transform, message):
    path = tmp_path / "deploy.yaml"
    path.write_text(DEPLOY.format(shape=shape, transform=transform))
    with pytest.raises(ModelError, match=rf"{path}.*{message}"):
        read_deploy(path)


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "name: 2026-99-99", "[" * 5000, "", "1e400", "\u00b2"])
def test_yaml_that_is_no_card_is_one_clear_error(text):
    with pytest.raises(ConfigError) as error:
        read_card(text, "the card")
    assert len(str(error.value)) < 400
