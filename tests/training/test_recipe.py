"""Recipes: the installed ones, files, and what is wrong with them."""

import pytest

from streammatte.errors import ConfigError
from streammatte.networks import names
from streammatte.training.parameters import rate_at
from streammatte.training.recipe import load_recipe, recipe_names
from streammatte.training.transforms import compose


def test_every_network_has_its_recipe():
    assert set(recipe_names()) == {*names(), "ppmattingv2-lite-finetune"}
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.network == name.removesuffix("-finetune")
        assert compose(recipe.transforms)


def test_numbers_of_the_seed():
    recipe = load_recipe("ppmattingv2-stdc1-human_512")
    assert (recipe.batch, recipe.iters, recipe.size, recipe.optimizer) == (16, 100_000, 512, "sgd")
    rates = [rate_at(recipe, step, recipe.iters) for step in (0, 500, 1000, 50_500, 100_000)]
    assert rates == pytest.approx([1e-5, 0.005005, 0.01, 0.01 * 0.5**0.9, 0.0])
    modnet = load_recipe("modnet-hrnet_w18")
    steps = (0, 39_999, 40_000, 79_999, 80_000)
    assert [rate_at(modnet, step, modnet.iters) for step in steps] == pytest.approx([0.02, 0.02, 0.002, 0.002, 0.0002])
    assert modnet.weight_decay == 4e-5


def test_another_size_changes_the_transforms():
    recipe = load_recipe("ppmattingv2-stdc1-human_512").resized(256)
    found = dict(recipe.transforms)
    assert found["RandomCrop"] == {"crop_size": [256, 256]} and found["LimitShort"] == {"max_short": 256}
    assert found["RandomBlur"] == {"prob": 0.1}


def test_files_extend_others_and_are_changed(tmp_path):
    (tmp_path / "base.yml").write_text("extends: modnet-mobilenetv2\nbatch: 3\nlosses: {detail: 2}\n")
    (tmp_path / "mine.yml").write_text("extends: base.yml\nlearning_rate: 0.5\n")
    recipe = load_recipe(str(tmp_path / "mine.yml"))
    assert (recipe.network, recipe.batch, recipe.learning_rate) == ("modnet-mobilenetv2", 3, 0.5)
    assert recipe.losses == {"detail": 2.0}
    changed = recipe.changed(("batch=5", "losses.semantic=0", "schedule=cosine", "rssn=on", "boundaries=3,5"))
    assert (changed.batch, changed.schedule, changed.rssn, changed.falls) == (5, "cosine", True, (3, 5))
    assert changed.losses == {"detail": 2.0, "semantic": 0.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("netwrok: dim-vgg16", "unknown option netwrok"),
        ("network: nothing", "nothing"),
        ("batch: many", "batch"),
        ("batch: 0", "batch"),
        ("transforms: [3]", "a transform is a name"),
        ("transforms: [{RandomCrop: 3}]", "its arguments are names"),
        ("losses: [1]", "losses are names"),
        ("losses: {alpha: -1}", "a factor of a loss"),
        ("extends: loop.yml", "too many"),
        ("extends: nowhere", "no recipe 'nowhere'"),
        ("- a", "option: value"),
    ],
)
def test_wrong_files_are_refused(tmp_path, text, said):
    (tmp_path / "loop.yml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_recipe(str(tmp_path / "loop.yml"))


@pytest.mark.parametrize("text", ["batch", "nothing=3", "batch=x", "losses.a=x", "learning_rate=nan"])
def test_wrong_changes_are_refused(text):
    with pytest.raises(ConfigError):
        load_recipe("dim-vgg16").changed((text,))
    with pytest.raises(ConfigError, match="no recipe"):
        load_recipe("nothing")
    with pytest.raises(ConfigError, match="boundaries are steps"):
        _ = load_recipe("dim-vgg16").changed(("boundaries=a,b",)).falls
