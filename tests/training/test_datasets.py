"""Samples: found, composed, the same for a number, broken files passed over."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.people import write_people
from support.videos import make_video

from streammatte.errors import ConfigError, SourceError, SourceNotFoundError
from streammatte.training.datasets import Batches, Samples, find_entries, loaded, read_pair
from streammatte.training.recipe import Recipe


@pytest.fixture
def people(tmp_path):
    return write_people(tmp_path / "people")


def samples(people, **more):
    recipe = Recipe.build({"data": str(people), "size": 48, **more})
    return Samples(recipe, find_entries(people))


def test_layouts(tmp_path, people):
    assert len(find_entries(people)) == 3
    listed = write_people(tmp_path / "ppm", parts=("train/fg", "train/alpha"))
    shutil.copytree(listed / "train" / "fg", listed / "bg")
    (listed / "train.txt").write_text("train/fg/p0.png bg/p1.png\ntrain/fg/p1.png\n")
    (listed / "val.txt").write_text("train/fg/p2.png\n")
    entries = find_entries(listed)
    assert [entry.background for entry in entries] == [listed / "bg" / "p1.png", None]
    assert find_entries(listed, "val")[0].alpha == listed / "train" / "alpha" / "p2.png"


def test_what_is_no_data(tmp_path, people):
    with pytest.raises(SourceNotFoundError):
        find_entries(tmp_path / "missing")
    (tmp_path / "train.txt").write_text("images/a.png\n")
    with pytest.raises(ConfigError, match="has no fg/"):
        find_entries(tmp_path)
    (tmp_path / "train.txt").write_text("fg/a.png\n")
    with pytest.raises(ConfigError, match="line 1: there is no"):
        find_entries(tmp_path)
    (tmp_path / "train.txt").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        find_entries(tmp_path)


def test_the_datas_own_rooms(people):
    """Without a folder of backgrounds people are laid over the rooms of the data, or a room is shown with nobody."""
    sample = samples(people, compose=1.0).draw(0)
    share = sample["alpha"][..., None] / 255
    blend = sample["foreground"] * share + sample["background"] * (1 - share)
    assert np.abs(blend - sample["image"]).max() <= 1 and sample["alpha"].any()
    alone = samples(people).draw(0)
    assert np.abs(sample["background"].astype(int) - alone["image"]).mean() > 5
    empty = samples(people, empty=1.0).draw(0)
    assert not empty["alpha"].any() and (empty["image"] == empty["background"]).all() and empty["image"].std() > 1


def test_a_number_is_a_sample_and_a_round_has_each_entry_once(people):
    made = [samples(people, seed=4).draw(number) for number in range(6)]
    again = samples(people, seed=4)
    for number in (5, 2, 0):
        assert all((again.draw(number)[name] == made[number][name]).all() for name in made[number])
    assert {sample["alpha"].shape for sample in made} == {(48, 48)}
    for turn in (made[:3], made[3:]):
        assert len({sample["image"][24, 24].tobytes() for sample in turn}) == 3


def test_composites_are_what_alpha_says(people, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path / "home"))
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    cv2.imwrite(str(rooms / "gray.png"), np.full((30, 40, 3), 77, np.uint8))
    for _ in range(2):  # estimated, then from the cache
        for number in range(3):
            sample = samples(people, compose=1.0, backgrounds=str(rooms)).draw(number)
            share = sample["alpha"][..., None] / 255
            truth = sample["foreground"] * share + sample["background"] * (1 - share)
            assert np.abs(truth - sample["image"]).max() <= 1
            assert (sample["image"][sample["alpha"] == 0] == 77).all()
            inside = sample["alpha"] == 255
            assert np.abs(sample["foreground"][inside].astype(int) - sample["image"][inside]).max() <= 1
        assert len(list((tmp_path / "home" / "foregrounds").glob("*.png"))) == 3


def test_videos_are_backgrounds(people, tmp_path):
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    make_video(rooms / "v.mp4", frames=30, width=96, height=64)
    drawn = [samples(people, compose=1.0, backgrounds=str(rooms)).draw(number)["background"] for number in range(6)]
    assert len({image.tobytes() for image in drawn}) > 1


def test_several_people_and_soft_rooms(people, tmp_path):
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    cv2.imwrite(str(rooms / "gray.png"), np.full((80, 80, 3), 77, np.uint8))
    made = samples(people, compose=1.0, backgrounds=str(rooms), rssn=True)
    alone = samples(people, compose=1.0, backgrounds=str(rooms))
    areas = [(made.draw(number)["alpha"].sum(), alone.draw(number)["alpha"].sum()) for number in range(24)]
    assert any(both > one for both, one in areas)
    for number in range(24):
        sample = made.draw(number)
        assert (np.abs(sample["image"].astype(int) - 77).max(-1)[sample["alpha"] == 0] <= 3).all()


def test_broken_files_are_named_and_passed_over(people, caplog):
    (people / "images" / "p1.png").write_bytes(b"no image")
    cv2.imwrite(str(people / "alphas" / "p2.png"), np.zeros((5, 5), np.uint8))
    made = samples(people)
    drawn = [made.draw(number) for number in range(6)]
    assert {sample["image"][24, 24].tobytes() for sample in drawn} == {drawn[0]["image"][24, 24].tobytes()}
    assert {path.name for path in made.broken} == {"p1.png", "p2.png"}
    assert sum("is left out" in message for message in caplog.messages) == 2
    for path in (people / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="in a row cannot be read"):
        samples(people).draw(0)


class Make:
    def __init__(self, people, **more):
        self.given = people, more

    def __call__(self):
        people, more = self.given
        return samples(people, **more)


def test_processes_share_steps_and_give_what_one_gives(people):
    whole = [Batches(Make(people), 4, 0, 3)[index] for index in range(3)]
    assert whole[0][0].shape == (4, 3, 48, 48) and whole[0][1].shape == (4, 1, 48, 48)
    for rank in range(2):
        part = Batches(Make(people), 2, 0, 3, rank=rank, ranks=2)
        assert all((part[2][place] == whole[2][place][2 * rank : 2 * rank + 2]).all() for place in range(5))
    later = Batches(Make(people), 4, 2, 1)
    assert (later[0][0] == whole[2][0]).all()
    by_processes = list(loaded(Batches(Make(people), 4, 0, 3), 2))
    assert all((one[0] == other[0]).all() for one, other in zip(by_processes, whole, strict=True))


def test_errors_of_processes_are_raised_here(people):
    for path in (people / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(SourceError, match="in a row"):
        list(loaded(Batches(Make(people), 2, 0, 3), 1))


def test_pairs_are_moments_apart(people):
    image, alpha, *_ = Batches(Make(people), 2, 0, 1, pairs=True)[0]
    assert image.shape[0] == 4
    for first in (0, 2):
        difference = np.abs(alpha[first].astype(int) - alpha[first + 1])
        assert 0 < difference.mean() < 30


def test_pairs_of_files(people):
    image, alpha = read_pair(find_entries(people)[0])
    assert image.dtype == alpha.dtype == np.uint8 and image.shape[:2] == alpha.shape
    assert Path(find_entries(people)[0].image).name == "p0.png"
