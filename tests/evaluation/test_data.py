"""Data sets: their layouts, and the product run over one."""

import json
import subprocess
import sys
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest

from streammatte.errors import ConfigError, SourceError, SourceNotFoundError
from streammatte.evaluation.bands import trimap_from_alpha
from streammatte.evaluation.datasets import Item, find_items
from streammatte.evaluation.page import as_html, error_map
from streammatte.evaluation.report import Report, as_table, seed_line
from streammatte.evaluation.runner import score_item
from streammatte.evaluation.scoring import Scorer, foreground_error

HEIGHT, WIDTH = 96, 128


def alpha(shift=0):
    matte = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(matte, (50 + shift, 52), 30, 255, -1)
    return cv2.GaussianBlur(matte, (0, 0), 2)


def image_of(seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 4)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def save_video(path, frames, codec, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        for frame in frames:
            shown = av.VideoFrame.from_ndarray(frame, format="gray" if frame.ndim == 2 else "bgr24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))


@pytest.fixture
def full_set(tmp_path):
    """The layout with stills, videos and empty rooms."""
    for number, name in enumerate(["anna", "bert"]):
        save(tmp_path / "stills" / f"{name}.jpg", image_of(number))
        save(tmp_path / "stills" / f"{name}_alpha.png", alpha(number))
        save(tmp_path / "stills" / f"{name}_bg.jpg", image_of(9))
    save(tmp_path / "stills" / "anna_fg.jpg", image_of(5))
    place = tmp_path / "videos" / "walk"
    save_video(place / "frames.mp4", [image_of(k) for k in range(4)], "libx264", "yuv420p")
    save_video(place / "alpha.mkv", [alpha(k) for k in range(4)], "ffv1", "gray")
    save(tmp_path / "empty" / "room00.jpg", image_of(3))
    return tmp_path


def shape_of(items):
    return [(item.name, item.kind, bool(item.trimap), bool(item.foreground)) for item in items]


@pytest.mark.parametrize(("images", "mattes"), [("image", "matte"), ("val/fg", "val/alpha"), ("images", "alphas")])
def test_paired_folders(tmp_path, images, mattes):
    for name in ("p2", "p10"):
        save(tmp_path / images / f"{name}.jpg", image_of())
        save(tmp_path / mattes / f"{name}.png", alpha())
    assert shape_of(find_items(tmp_path)) == [("p2", "still", False, False), ("p10", "still", False, False)]
    if images == "val/fg":
        save(tmp_path / "val/trimap/p2.png", alpha())
        assert shape_of(find_items(tmp_path))[0] == ("p2", "still", True, False)
    save(tmp_path / images / "lonely.jpg", image_of())
    with pytest.raises(ConfigError, match=r"no matte in .* for lonely"):
        find_items(tmp_path)


def test_stills_videos_and_empty_rooms(full_set):
    expected = [
        ("anna", "still", False, True),
        ("bert", "still", False, False),
        ("walk", "video", False, False),
        ("room00", "empty", False, False),
    ]
    assert shape_of(find_items(full_set)) == expected
    assert shape_of(find_items(full_set / "stills")) == expected[:2]
    assert shape_of(find_items(full_set / "videos")) == expected[2:3]
    assert shape_of(find_items(full_set / "empty")) == expected[3:]


def test_folders_that_are_none(tmp_path, full_set):
    with pytest.raises(SourceNotFoundError, match="there is no folder"):
        find_items(tmp_path / "missing")
    (full_set / "videos/walk/alpha.mkv").unlink()
    with pytest.raises(ConfigError, match="no alpha video"):
        find_items(full_set)
    bare = tmp_path / "bare"
    bare.mkdir()
    with pytest.raises(ConfigError, match=r"known layouts: image/ \+ matte/"):
        find_items(bare)


class Maker:
    """Gives mattes that are known, in place of a network's."""

    def __init__(self, mattes, colour):
        self.mattes, self.colour = mattes, colour

    def _matte(self, found):
        return SimpleNamespace(alpha=found, frame=SimpleNamespace(to_rgb=lambda: self.colour, planes=(self.colour,)))

    def still(self, _):
        return self._matte(self.mattes[0])

    def video(self, _):
        return (self._matte(found) for found in self.mattes)

    def foreground(self, _):
        return self.colour


def no_video(_):
    raise AssertionError("a still needs no video")


def test_a_still_is_scored_with_the_seeds_trimap_and_the_true_foreground(tmp_path):
    truth, ours = alpha(), alpha(4)
    colour, true_colour = image_of(1), image_of(2)
    item = Item(
        "a",
        "still",
        tmp_path / "a.jpg",
        save(tmp_path / "a_alpha.png", truth),
        foreground=save(tmp_path / "a_fg.png", true_colour[..., ::-1]),
    )
    score = score_item(item, Maker([ours], colour), no_video, ("sad", "mse"))
    means = score.means()
    unknown = trimap_from_alpha(truth) == 128
    error = ours.astype(float) / 255 - truth / 255
    assert means["sad"] == pytest.approx(np.abs(error).sum() / 1000, rel=1e-5)
    assert means["mse_unknown"] == pytest.approx((error[unknown] ** 2).mean(), rel=1e-5)
    f = ours[..., None] / 255 * colour / 255 - truth[..., None] / 255 * true_colour / 255
    assert means["fg_sad"] == pytest.approx(np.abs(f).sum() / 1000, rel=1e-5)
    assert means["fg_mse"] == pytest.approx((f**2).mean(), rel=1e-5)
    line = seed_line(Report("t", [score]))
    assert line.splitlines()[0] == f"SAD: {means['sad']:.4f}, MSE: {means['mse']:.4f} (whole image)"
    without = score_item(item, Maker([ours], colour), no_video, ("mad",), with_trimap=False)
    assert list(without.means()) == ["mad"]


def test_an_empty_room_counts_what_is_seen_in_it(tmp_path):
    seen = np.zeros((HEIGHT, WIDTH), np.uint8)
    seen[:10, :10] = 255
    scores = []
    for name, matte in (("clean", seen * 0), ("ghost", seen)):
        item = Item(name, "empty", tmp_path / "r.jpg")
        scores.append(score_item(item, Maker([matte], image_of()), no_video, ("mad", "grad")))
    report = Report("rooms", scores)
    share = 100 / (HEIGHT * WIDTH)
    assert dict(report.empty_alphas()) == {"clean": 0, "ghost": pytest.approx(share, rel=1e-5)}
    table = as_table(report)
    assert f"mean alpha {share / 2:.5f}" in table and "(ghost)" in table and "1 above 0.005" in table
    assert "ghost" in as_html(report)


def test_a_video_that_is_longer_than_its_truth_is_refused(tmp_path):
    item = Item("f", "video", tmp_path / "frames.mp4", tmp_path / "alpha.mkv")
    colour = image_of()
    frames = [SimpleNamespace(alpha=alpha()) for _ in range(3)]
    with pytest.raises(SourceError, match=r"alpha.mkv ends after 3 frames, .*frames.mp4 goes on"):
        score_item(item, Maker([alpha()] * 4, colour), lambda _: iter(frames), ("mad",))
    with pytest.raises(SourceError, match=r"frames.mp4 ends after 2 frames"):
        score_item(item, Maker([alpha()] * 2, colour), lambda _: iter(frames), ("mad",))


def test_a_matte_of_another_size_is_refused(tmp_path):
    item = Item("a", "still", tmp_path / "a.jpg", save(tmp_path / "a_alpha.png", alpha()[:-2]))
    with pytest.raises(SourceError, match="the prediction is 128x96, the truth 128x94"):
        score_item(item, Maker([alpha()], image_of()), no_video, ("mad",))
    with pytest.raises(ConfigError, match="make them alike"):
        foreground_error(alpha(), image_of(), alpha(), image_of()[:-1])


def test_error_maps_tell_too_much_from_too_little():
    truth = np.zeros((4, 6), np.uint8)
    truth[:, 3:] = 255
    pred = truth.copy()
    pred[0, 0], pred[0, 5] = 255, 0
    shown = error_map(pred, truth).astype(int)
    assert shown[0, 0, 0] > shown[0, 0, 2] + 100 and shown[0, 5, 2] > shown[0, 5, 0] + 100
    assert (shown[1, :, 0] == shown[1, :, 2]).all()


def test_the_product_runs_over_a_data_set(full_set, tmp_path):
    page, scores = tmp_path / "report.html", tmp_path / "scores.json"
    command = [sys.executable, "-m", "streammatte", "eval", "--data", full_set, "--size", "192", "--html", page]
    command += ["--json", scores, "--smooth", "off", "--metrics", "all", "--precision", "f32"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(scores.read_text())
    assert found["means"]["stills"]["count"] == 2 and found["means"]["videos"]["count"] == 1
    assert {"sad", "conn", "sad_unknown", "conn_unknown", "fg_sad", "fg_mse"} <= found["means"]["stills"].keys()
    assert {"mad", "dtssd", "messddt"} <= found["means"]["videos"].keys()
    assert found["settings"]["precision"] == "f32" and found["settings"]["engine"] == "openvino"
    assert found["settings"]["size"] == 192 and found["settings"]["smooth"] == "off"
    assert "SAD: " in done.stdout and "1 empty rooms" in done.stdout
    assert "walk, frame" in page.read_text()


def test_the_tool_compares_two_settings(full_set):
    (full_set / "stills" / "anna_fg.jpg").unlink()
    tool = full_set.__class__(__file__).resolve().parents[2] / "tools" / "evaluate.py"
    command = [sys.executable, tool, full_set / "stills", "--size", "192", "--metrics", "mad,grad"]
    done = subprocess.run(
        list(map(str, [*command, "--compare", "refine=fast"])), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "--refine off -> fast" in done.stdout
    assert any(line.split()[:2] == ["stills", "grad"] for line in done.stdout.splitlines())
    done = subprocess.run(list(map(str, [*command, "--compare", "refine"])), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "OPTION=VALUE" in done.stderr


def test_worst_frames_are_the_worst_and_no_neighbours():
    errors = np.full(60, 0.01)
    errors[[5, 6, 7, 30, 31, 50]] = [0.3, 0.5, 0.4, 0.2, 0.25, 0.1]
    scorer = Scorer("video", "video", ("mad",), video=True)
    truth = np.zeros((8, 8))
    for number, error in enumerate(errors):
        scorer.add(str(number), truth + error, truth)
    assert [frame.name for frame in scorer.result().worst] == ["6", "31", "50"]
