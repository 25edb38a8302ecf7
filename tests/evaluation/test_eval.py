"""``streammatte eval`` over real files, each run in a process of its own."""

import csv
import io
import json
import subprocess
import sys
from xml.etree import ElementTree

import av
import cv2
import numpy as np
import pytest

from streammatte.evaluation import dtssd, grad, mad, mse, sad
from streammatte.evaluation.bands import trimap_from_alpha

HEIGHT, WIDTH, FRAMES = 48, 64, 8
WORST = 5


def run_eval(*arguments, code=0):
    command = [sys.executable, "-m", "streammatte", "eval", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def truth_video(frames=FRAMES):
    video = np.zeros((frames, HEIGHT, WIDTH), np.uint8)
    for k in range(frames):
        cv2.circle(video[k], (20 + 3 * k, 24), 12, 255, -1)
        video[k] = cv2.GaussianBlur(video[k], (0, 0), 2)
    return video


def pred_video(truth):
    pred = np.clip(truth * 0.9, 0, 255).astype(np.uint8)
    pred[WORST, 4:14, 4:14] = 220
    return pred


def write_video(path, video, codec="ffv1", pixels="gray", full_range=None, options=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = video.shape[2], video.shape[1], pixels
        if full_range is not None:
            stream.codec_context.color_range = 2 if full_range else 1
        for alpha in video:
            if pixels == "gray":
                frame = av.VideoFrame.from_ndarray(alpha, format="gray")
            else:
                planes = [alpha, np.full((alpha.shape[0] // 2, alpha.shape[1]), 128, np.uint8)]
                frame = av.VideoFrame.from_ndarray(np.concatenate(planes), format="yuv420p")
                frame.color_range = 2 if full_range else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_images(folder, video, name="frame_{:04d}"):
    folder.mkdir(parents=True)
    for number, alpha in enumerate(video):
        cv2.imwrite(str(folder / f"{name.format(number)}.png"), alpha)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    truth = truth_video()
    pred = pred_video(truth)
    write_video(folder / "truth.mkv", truth)
    write_video(folder / "pred.mkv", pred)
    return folder, pred, truth


def expected_means(pred, truth):
    return {
        "mad": np.mean([mad(p, t) for p, t in zip(pred, truth, strict=True)]),
        "mse": np.mean([mse(p, t) for p, t in zip(pred, truth, strict=True)]),
        "sad": np.mean([sad(p, t) for p, t in zip(pred, truth, strict=True)]),
        "grad": np.mean([grad(p, t) for p, t in zip(pred, truth, strict=True)]),
        "dtssd": dtssd(pred, truth),
    }


def test_videos_are_scored_exactly(videos, tmp_path):
    folder, pred, truth = videos
    scores, table = tmp_path / "scores.json", tmp_path / "frames.csv"
    done = run_eval(folder / "pred.mkv", folder / "truth.mkv", "--json", scores, "--csv", table)
    assert "MAD x1e3" in done.stdout and "dtSSD x1e2" in done.stdout
    found = json.loads(scores.read_text())
    for metric, value in expected_means(pred, truth).items():
        assert found["means"]["videos"][metric] == pytest.approx(value, rel=1e-6), metric
    assert found["columns"]["dtssd"]["factor"] == 100
    assert found["items"][0]["frames"]["dtssd"][0] is None
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert len(rows) == FRAMES and rows[0]["dtssd"] == ""
    assert max(rows, key=lambda row: float(row["mad"]))["frame"] == str(WORST)
    printed = float(done.stdout.splitlines()[1].split()[1])
    assert printed == pytest.approx(1e3 * found["means"]["videos"]["mad"], abs=0.01)


def test_page_is_well_formed_and_names_the_worst_frame(videos, tmp_path):
    folder, _, truth = videos
    page = tmp_path / "report.html"
    frames = write_images(tmp_path / "images", truth)
    run_eval(folder / "pred.mkv", folder / "truth.mkv", "--html", page, "--frames", frames)
    text = page.read_text()
    root = ElementTree.fromstring(text.replace("<!DOCTYPE html>\n", ""))
    headings = [heading.text for heading in root.iter("h4")]
    assert headings[0].startswith(f"pred, frame {WORST}: MAD")
    assert len(list(root.iter("svg"))) == 4
    points = [len(line.get("points").split()) for line in root.iter("polyline")]
    assert points == [FRAMES, FRAMES, FRAMES, FRAMES - 1]
    images = [image.get("src") for image in root.iter("img")]
    assert len(images) == 4 * len(headings)
    assert all(source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,")) for source in images)
    assert "http" not in text


def test_full_range_h264_is_read_without_stretching(videos, tmp_path):
    _, _, truth = videos
    lossless = {"qp": "0", "preset": "ultrafast"}
    full = write_video(tmp_path / "full.mp4", truth, "libx264", "yuv420p", True, lossless)
    write_video(tmp_path / "truth.mkv", truth)
    done = run_eval(full, tmp_path / "truth.mkv", "--metrics", "mad", "--json", "-")
    assert json.loads(done.stdout)["means"]["videos"]["mad"] == 0
    assert "MAD" in done.stderr


def test_limited_range_h264_is_stretched(videos, tmp_path):
    _, _, truth = videos
    squeezed = np.rint(16 + truth * (219 / 255)).astype(np.uint8)
    limited = write_video(tmp_path / "limited.mp4", squeezed, "libx264", "yuv420p", False, {"qp": "0"})
    write_video(tmp_path / "truth.mkv", truth)
    done = run_eval(limited, tmp_path / "truth.mkv", "--metrics", "mad", "--json", "-")
    assert json.loads(done.stdout)["means"]["videos"]["mad"] < 0.5 / 219


def test_sequences_and_videos_mix(videos, tmp_path):
    folder, pred, truth = videos
    mattes = write_images(tmp_path / "mattes", pred, "m{}")
    done = run_eval(mattes, folder / "truth.mkv", "--metrics", "mad,dtssd", "--json", "-")
    means = json.loads(done.stdout)["means"]["videos"]
    expected = expected_means(pred, truth)
    assert means["mad"] == pytest.approx(expected["mad"], rel=1e-6)
    assert means["dtssd"] == pytest.approx(expected["dtssd"], rel=1e-6)


def test_numbers_are_sorted_as_numbers(tmp_path):
    truth = truth_video(12)
    mattes = write_images(tmp_path / "mattes", truth, "{}")
    truths = write_images(tmp_path / "truths", truth, "frame_{:03d}")
    done = run_eval(mattes, truths, "--metrics", "mad", "--json", "-")
    assert json.loads(done.stdout)["means"]["videos"]["mad"] == 0


def test_images_are_matched_by_name_and_have_no_time(tmp_path):
    truth = truth_video(3)
    names = ["zoe", "adam", "mia"]
    for folder in ("mattes", "truths"):
        (tmp_path / folder).mkdir()
    for name, alpha in zip(names, truth, strict=True):
        cv2.imwrite(str(tmp_path / "truths" / f"{name}.png"), alpha)
        coloured = np.dstack([alpha, alpha // 2, alpha // 3, alpha])
        cv2.imwrite(str(tmp_path / "mattes" / f"{name}.png"), coloured)
    done = run_eval(tmp_path / "mattes", tmp_path / "truths", "--json", "-")
    found = json.loads(done.stdout)
    assert found["means"]["stills"]["mad"] == 0
    assert "dtssd" not in found["means"]["stills"]
    assert [item["name"] for item in found["items"]] == sorted(names)


def test_trimaps_from_files_and_from_the_truth(videos, tmp_path):
    _, pred, truth = videos
    pred, truth = pred[WORST], truth[WORST]
    trimap = trimap_from_alpha(truth)
    for name, matte in (("pred", pred), ("truth", truth), ("trimap", trimap)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), matte)
    values = []
    for choice in (tmp_path / "trimap.png", "auto"):
        done = run_eval(
            tmp_path / "pred.png", tmp_path / "truth.png", "--trimap", choice, "--metrics", "sad", "--json", "-"
        )
        means = json.loads(done.stdout)["means"]["stills"]
        values.append((means["sad"], means["sad_unknown"]))
    expected = sad(pred, truth), sad(pred, truth, trimap)
    assert values == [pytest.approx(expected, rel=1e-6)] * 2
    assert expected[1] < expected[0]


def test_messddt_takes_the_motion_from_the_video(videos, tmp_path):
    folder, _, truth = videos
    images = write_images(tmp_path / "images", truth)
    arguments = [folder / "pred.mkv", folder / "truth.mkv", "--metrics", "mad,messddt"]
    done = run_eval(*arguments, "--frames", images, "--json", "-")
    assert json.loads(done.stdout)["means"]["videos"]["messddt"] > 0
    done = run_eval(*arguments, code=2)
    assert "--frames" in done.stderr


def test_sixteen_bit_mattes_keep_their_precision(tmp_path):
    truth = np.full((20, 30), 1000, np.uint16)
    cv2.imwrite(str(tmp_path / "pred.png"), truth + 10)
    cv2.imwrite(str(tmp_path / "truth.png"), truth)
    done = run_eval(tmp_path / "pred.png", tmp_path / "truth.png", "--metrics", "mad", "--json", "-")
    assert json.loads(done.stdout)["means"]["stills"]["mad"] == pytest.approx(10 / 65535, rel=1e-3)


def test_temporal_numbers_alone_are_warned_of(videos):
    folder, _, _ = videos
    done = run_eval(folder / "pred.mkv", folder / "truth.mkv", "--metrics", "dtssd")
    assert "frozen" in done.stdout


@pytest.fixture(scope="module")
def broken(tmp_path_factory, videos):
    folder = tmp_path_factory.mktemp("broken")
    truth = videos[2]
    write_video(folder / "truth.mkv", truth)
    write_video(folder / "short.mkv", truth[:-1])
    write_video(folder / "small.mkv", truth[:, :32, :32])
    write_images(folder / "few", truth[:3])
    write_images(folder / "all", truth)
    (folder / "nothing").mkdir()
    (folder / "text.png").write_text("no image")
    cv2.imwrite(str(folder / "colour.png"), np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)))
    cv2.imwrite(str(folder / "one.png"), truth[0])
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["short.mkv", "truth.mkv"], 3, ["short.mkv ends after 7 frames", "truth.mkv goes on"]),
        (["truth.mkv", "short.mkv"], 3, ["short.mkv ends after 7 frames"]),
        (["small.mkv", "truth.mkv"], 3, ["32x32", "64x48"]),
        (["few", "all"], 3, ["3 images", "8"]),
        (["few", "truth.mkv"], 3, ["ends after 3 frames"]),
        (["nothing", "all"], 3, ["holds no image"]),
        (["missing.mkv", "truth.mkv"], 3, ["there is no"]),
        (["text.png", "one.png"], 3, ["not an image"]),
        (["colour.png", "one.png"], 3, ["colour image"]),
        (["truth.mkv", "truth.mkv", "--trimap", "few"], 3, ["ends after 3 frames"]),
        (["truth.mkv", "truth.mkv", "--frames", "few"], 3, ["ends after 3 frames"]),
        (["truth.mkv"], 2, ["PRED and TRUTH"]),
        (["truth.mkv", "truth.mkv", "--metrics", "psnr"], 2, ["psnr", "mad, mse"]),
        (["truth.mkv", "truth.mkv", "--metrics", ","], 2, ["choose of"]),
        (["truth.mkv", "truth.mkv", "--data", "."], 2, ["--data"]),
        (["truth.mkv", "truth.mkv", "--json", "none/x.json"], 4, ["there is no folder"]),
        (["truth.mkv", "truth.mkv", "--html", "nothing"], 4, ["is a folder"]),
        (["truth.mkv", "truth.mkv", "--json", "-", "--csv", "-"], 2, ["file of its own"]),
        (["--data", "missing"], 3, ["there is no folder", "PPM-100"]),
        (["--data", "nothing"], 2, ["holds no data set", "PPM-100"]),
    ],
)
def test_faults_are_one_clear_line(broken, arguments, code, words, monkeypatch):
    monkeypatch.chdir(broken)
    done = run_eval(*arguments, code=code)
    assert done.stderr.startswith("streammatte: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("flag", ["--json", "--csv", "--html"])
def test_reports_that_cannot_be_written(tmp_path, flag):
    truth = truth_video(2)
    write_images(tmp_path / "a", truth)
    write_images(tmp_path / "b", truth)
    done = run_eval(tmp_path / "a", tmp_path / "b", flag, tmp_path, code=4)
    assert done.stderr.startswith(f"streammatte: {tmp_path} is a folder; give a file name")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # no temporary file stays
