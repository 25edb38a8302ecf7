"""``streammatte image`` as a process and through its command: files, folders, faults, interrupts."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from support.videos import pattern_image

from streammatte.cli.image import command
from streammatte.errors import (
    BackgroundError,
    ConfigError,
    ModelNotFoundError,
    OutputExistsError,
    SinkError,
    SourceNotFoundError,
    UnsupportedOutputError,
    UnsupportedSourceError,
)
from streammatte.stats import format_bytes


def run(*args):
    """The command in this process; errors come as exceptions."""
    return command.main([str(arg) for arg in args], standalone_mode=False)


def process(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "streammatte", "image", *map(str, args)], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "100"), "streammatte: --size must be 192 to 2048 pixels"),
        (("--size", "big"), "streammatte: --size must be a whole number, 192 to 2048 pixels"),
        (("--sise", "300"), "streammatte: no such option '--sise'"),
    ],
)
def test_a_wrong_option_is_reported_on_one_line(words, message):
    done = process("a.png", "b.png", *words)
    assert done.returncode == ConfigError.exit_code
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("count", "message"), [(0, "0.0 kB"), (20_430, "20.4 kB"), (99_999, "100.0 kB"), (100_000, "0.1 MB")]
)
def test_a_size_is_never_rounded_to_nothing(count, message):
    assert format_bytes(count) == message


@pytest.fixture
def still(tmp_path):
    Image.fromarray(pattern_image(0, 96, 64)).save(tmp_path / "in.png")
    return tmp_path / "in.png"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate([(96, 64), (64, 96), (80, 80)]):
        Image.fromarray(pattern_image(number, *size)).save(folder / f"p{number}.jpg", quality=95)
    (folder / "notes.txt").write_text("x")
    return folder


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(pytest.importorskip("skimage.data").astronaut()).save(path)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# One image


def test_a_portrait_is_cut_out(portrait, tmp_path):
    assert run(portrait, tmp_path / "cut.png", "--alpha", tmp_path / "a.png", "--foreground", tmp_path / "f.png") == 0
    cut = np.asarray(Image.open(tmp_path / "cut.png"))
    alpha = np.asarray(Image.open(tmp_path / "a.png"))
    fore = np.asarray(Image.open(tmp_path / "f.png"))
    original = np.asarray(Image.open(portrait))
    assert (cut.shape, alpha.shape, fore.shape) == ((512, 512, 4), (512, 512), (512, 512, 3))
    np.testing.assert_array_equal(cut[..., 3], alpha)
    assert alpha[100:140, 200:240].mean() > 250, "her face"
    assert alpha[20:120, 20:100].mean() < 5, "the flag behind"
    sure = alpha == 255
    assert np.abs(cut[sure][:, :3].astype(int) - original[sure]).max() <= 1
    assert (fore[alpha == 0] == 0).all()


def test_a_jpeg_gets_green_or_the_given_colour(portrait, tmp_path):
    run(portrait, tmp_path / "green.jpg")
    green = np.asarray(Image.open(tmp_path / "green.jpg"))
    assert np.abs(green[20:120, 20:100].reshape(-1, 3).mean(0) - (0, 177, 64)).max() < 3
    run(portrait, tmp_path / "navy.jpg", "--bg", "#000080")
    navy = np.asarray(Image.open(tmp_path / "navy.jpg"))
    assert np.abs(navy[20:120, 20:100].reshape(-1, 3).mean(0) - (0, 0, 128)).max() < 3
    run(portrait, tmp_path / "own.png", "--bg", "none")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "own.png")), np.asarray(Image.open(portrait)))


def test_orientation_is_applied_to_all_outputs(portrait, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.rot90(np.asarray(Image.open(portrait))[:, :400], 1)
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "in.jpg", exif=exif, quality=95)
    run(tmp_path / "in.jpg", tmp_path / "out.png", "--alpha", tmp_path / "a.png")
    out, alpha = Image.open(tmp_path / "out.png"), np.asarray(Image.open(tmp_path / "a.png"))
    assert out.size == (400, 512)
    assert out.getexif().get(0x0112, 1) == 1
    assert alpha[100:140, 200:240].mean() > 250


def test_alpha_of_the_image_stays(portrait, tmp_path):
    rgba = np.dstack([np.asarray(Image.open(portrait)), np.full((512, 512), 255, np.uint8)])
    rgba[:120, :, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "in.png")
    run(tmp_path / "in.png", tmp_path / "out.webp")
    out = np.asarray(Image.open(tmp_path / "out.webp"))
    assert (out[:120, :, 3] == 0).all()
    assert out[125:145, 200:240, 3].mean() > 240


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1200, 9)])
def test_odd_little_images(tmp_path, size):
    Image.fromarray(pattern_image(0, 40, 40)).resize(size).save(tmp_path / "in.png")
    for target in ("out.png", "out.jpg"):
        run(tmp_path / "in.png", tmp_path / target)
        assert Image.open(tmp_path / target).size == size
    run(tmp_path / "in.png", tmp_path / "blur.png", "--bg", "blur")
    assert Image.open(tmp_path / "blur.png").size == size


@pytest.mark.slow  # PyMatting compiles its kernels for two minutes
def test_trimap_and_classic_method(portrait, tmp_path):
    run(portrait, tmp_path / "a.png", "--size", "192", "--model", "closed-form", "--auto-trimap", "12")
    alpha = np.asarray(Image.open(tmp_path / "a.png"))[..., 3]
    assert alpha[100:140, 200:240].mean() > 250
    trimap = np.full((512, 512), 128, np.uint8)
    trimap[:, :60], trimap[180:, 180:260] = 0, 255
    cv2.imwrite(str(tmp_path / "t.png"), trimap)
    run(portrait, tmp_path / "b.png", "--size", "192", "--model", "closed-form", "--trimap", tmp_path / "t.png")
    alpha = np.asarray(Image.open(tmp_path / "b.png"))[..., 3]
    assert (alpha[:, :60] == 0).all()
    assert (alpha[180:, 180:260] == 255).all()
    cv2.imwrite(str(tmp_path / "t.png"), trimap[:400])
    with pytest.raises(UnsupportedSourceError, match=r"512x400, its image .* is 512x512"):
        run(portrait, tmp_path / "c.png", "--model", "closed-form", "--trimap", tmp_path / "t.png")
    assert names(tmp_path) == ["a.png", "b.png", "t.png"]


# Refused before anything is written


def test_an_output_is_not_replaced_unasked(still, tmp_path):
    (tmp_path / "out.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(still, tmp_path / "out.png")
    with pytest.raises(OutputExistsError):
        run(still, tmp_path / "new.png", "--alpha", tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"mine"
    assert names(tmp_path) == ["in.png", "out.png"]
    assert run(still, tmp_path / "out.png", "--overwrite") == 0
    assert Image.open(tmp_path / "out.png").size == (96, 64)


def test_outputs_are_never_inputs(still, photos, tmp_path):
    data = still.read_bytes()
    os.link(still, tmp_path / "same.png")
    (tmp_path / "link.png").symlink_to(still)
    for target in (still, tmp_path / "same.png", tmp_path / "link.png"):
        with pytest.raises(ConfigError, match=r"also the (input|background)"):
            run(still, target, "--overwrite")
    with pytest.raises(ConfigError, match=r"also the (input|background)"):
        run(still, tmp_path / "x.png", "--alpha", still, "--overwrite")
    with pytest.raises(ConfigError, match=r"also the (input|background)"):
        run(still, photos / "p0.jpg", "--bg", photos / "p0.jpg", "--overwrite")
    with pytest.raises(ConfigError, match=r"also the (input|background)"):
        run(photos, "--out-dir", photos, "--bg", "red", "--overwrite")
    with pytest.raises(ConfigError, match="two outputs"):
        run(still, tmp_path / "x.png", "--alpha", tmp_path / "x.png")
    assert still.read_bytes() == data


@pytest.mark.parametrize("args,error,text", [
    (("missing.png", "o.png"), SourceNotFoundError, "there is no"),
    (("in.png",), ConfigError, "one INPUT and one OUTPUT"),
    (("in.png", "in.png", "o.png"), ConfigError, "--out-dir"),
    (("photos", "o.png"), ConfigError, "--out-dir"),
    (("photos/*.jpg", "o.png"), ConfigError, "--out-dir"),
    (("in.png", "photos"), ConfigError, "is a folder"),
    (("in.png", "o.mp4"), UnsupportedOutputError, "suffix must be"),
    (("in.png", "o.jpg", "--bg", "transparent"), UnsupportedOutputError, "alpha"),
    (("in.png", "nowhere/o.png"), SinkError, "does not exist"),
    (("in.png", "o.png", "--bg", "missing.jpg"), BackgroundError, "missing.jpg"),
    (("in.png", "o.png", "--model", "missing"), ModelNotFoundError, "missing"),
    (("in.png", "o.png", "--model", "knn"), ConfigError, "needs a trimap"),
    (("in.png", "o.png", "--trimap", "missing.png"), SourceNotFoundError, "no trimap"),
    (("photos/notes.txt", "o.png"), UnsupportedSourceError, "not an image"),
    (("photos", "--out-dir", "o", "--trimap", "in.png"), ConfigError, "one trimap for 3"),
    (("empty", "--out-dir", "o"), UnsupportedSourceError, "holds no image"),
    (("e*/*.png", "--out-dir", "o"), SourceNotFoundError, None),
])  # fmt: skip
def test_what_is_refused_leaves_nothing(still, photos, tmp_path, monkeypatch, args, error, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    if text is None:
        error, text = UnsupportedSourceError, "holds no image"
    with pytest.raises(error, match=text):
        run(*args)
    assert names(tmp_path) == ["empty", "in.png", "photos"]


# Folders


def test_a_folder_with_mattes(photos, tmp_path):
    out = tmp_path / "new" / "done"
    assert run(photos, "--out-dir", out, "--alpha", tmp_path / "new" / "mattes") == 0
    assert names(out) == names(tmp_path / "new" / "mattes") == ["p0.png", "p1.png", "p2.png"]
    for number, size in enumerate([(96, 64), (64, 96), (80, 80)]):
        cut = Image.open(out / f"p{number}.png")
        assert (cut.size, cut.mode) == (size, "RGBA")
        mattes = Image.open(tmp_path / "new" / "mattes" / f"p{number}.png")
        np.testing.assert_array_equal(np.asarray(cut)[..., 3], np.asarray(mattes))


def test_opaque_images_keep_their_kind(photos, still, tmp_path):
    Image.fromarray(pattern_image(0, 40, 30)).save(photos / "q.tiff")
    assert run(str(photos / "*"), still, "--out-dir", tmp_path / "o", "--bg", "navy") == 0
    assert names(tmp_path / "o") == ["in.png", "p0.jpg", "p1.jpg", "p2.jpg", "q.png"]


def test_a_broken_image_is_skipped_and_reported(photos, tmp_path):
    (photos / "p1.jpg").write_bytes((photos / "p1.jpg").read_bytes()[:700])
    (photos / "p3.png").touch()
    done = process(photos, "--out-dir", tmp_path / "o", "--json")
    assert done.returncode == 3, done.stderr
    assert names(tmp_path / "o") == ["p0.png", "p2.png"]
    assert "p1.jpg" in done.stderr
    assert "p3.png is empty" in done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["frames"] == 2
    assert [entry["source"] for entry in summary["failed"]] == [str(photos / "p1.jpg"), str(photos / "p3.png")]


def test_only_broken_images(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("x")
    done = process(tmp_path / "bad", "--out-dir", tmp_path / "o")
    assert done.returncode == 3
    assert not (tmp_path / "o").exists()


def test_trimaps_of_a_folder_go_by_name(photos, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    for number, (width, height) in enumerate([(96, 64), (64, 96), (80, 80)]):
        trimap = np.full((height, width), 128, np.uint8)
        trimap[:, : 10 + number], trimap[:, -10:] = 255, 0
        cv2.imwrite(str(marks / f"p{number}.png"), trimap)
    assert run(photos, "--out-dir", tmp_path / "o", "--model", "closed-form", "--trimap", marks) == 0
    for number in range(3):
        alpha = np.asarray(Image.open(tmp_path / "o" / f"p{number}.png"))[..., 3]
        assert (alpha[:, : 10 + number] == 255).all()
        assert (alpha[:, -10:] == 0).all()
    cv2.imwrite(str(marks / "p1.png"), np.zeros((3, 3), np.uint8))
    assert run(photos, "--out-dir", tmp_path / "o2", "--model", "closed-form", "--trimap", marks) == 3
    assert names(tmp_path / "o2") == ["p0.png", "p2.png"]
    (marks / "p2.png").unlink()
    with pytest.raises(SourceNotFoundError, match="holds no trimap named p2"):
        run(photos, "--out-dir", tmp_path / "o3", "--model", "closed-form", "--trimap", marks)


def test_a_trimap_that_says_too_little_is_passed_over(photos, tmp_path, capsys):
    marks = tmp_path / "marks"
    marks.mkdir()
    for number, (width, height) in enumerate([(96, 64), (64, 96), (80, 80)]):
        trimap = np.full((height, width), 128, np.uint8)
        trimap[:, :10] = 0
        trimap[:, -10:] = 128 if number == 1 else 255  # the second marks nobody
        cv2.imwrite(str(marks / f"p{number}.png"), trimap)
    assert run(photos, "--out-dir", tmp_path / "o", "--model", "fast", "--size", "192", "--trimap", marks) == 3
    message = capsys.readouterr().err
    assert "p1" in message
    assert "the trimap marks no foreground" in message
    assert names(tmp_path / "o") == ["p0.png", "p2.png"]


def test_existing_outputs_stop_a_folder_before_its_first_image(photos, tmp_path):
    out = tmp_path / "o"
    out.mkdir()
    (out / "p2.png").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match=r"p2\.png"):
        run(photos, "--out-dir", out)
    assert names(out) == ["p2.png"]
    assert run(photos, "--out-dir", out, "--overwrite") == 0
    assert names(out) == ["p0.png", "p1.png", "p2.png"]


def test_two_images_of_one_name(photos, tmp_path):
    (tmp_path / "other").mkdir()
    Image.fromarray(pattern_image(0, 40, 30)).save(tmp_path / "other" / "p0.png")
    with pytest.raises(ConfigError, match="would become"):
        run(photos, tmp_path / "other", "--out-dir", tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(photos, tmp_path):
    out = tmp_path / "o"
    out.mkdir(mode=0o555)
    with pytest.raises(SinkError, match="no permission"):
        run(photos, "--out-dir", out)
    with pytest.raises(SinkError, match="cannot make the folder"):
        run(photos, "--out-dir", out / "deeper")


def test_a_file_where_the_folder_should_be(photos, tmp_path):
    (tmp_path / "o").write_text("x")
    with pytest.raises(SinkError):
        run(photos, "--out-dir", tmp_path / "o" / "deeper")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupt_leaves_complete_images_only(tmp_path, number, code):
    photos, out = tmp_path / "photos", tmp_path / "o"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (700, 900, 3), np.uint8)
    for count in range(60):
        cv2.imwrite(str(photos / f"{count}.jpg"), noise)
    job = subprocess.Popen(
        [sys.executable, "-m", "streammatte", "image", str(photos), "--out-dir", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("[0-9]*.png")) and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.02)
    job.send_signal(number)
    _, message = job.communicate(timeout=120)
    assert job.returncode == code, message
    found = names(out)
    assert 0 < len(found) < 60
    for name in found:
        assert Image.open(out / name).convert("RGBA").size == (900, 700)
    assert f"interrupted; {len(found)} of 60 images are complete" in message
    assert "Traceback" not in message


# As a process


def test_the_process_says_one_line(still, tmp_path):
    done = process(still, tmp_path / "out.png")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("1 image, ")
    done = process(still, tmp_path / "out.png")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1


def test_help_lists_what_there_is():
    done = process("--help")
    assert done.returncode == 0
    for option in ("--out-dir", "--trimap", "--auto-trimap", "--foreground", "--json", "--config"):
        assert option in done.stdout
