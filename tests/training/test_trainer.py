"""The loop: every network learns, checkpoints are whole and exact, what goes wrong is said."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.people import write_people
from support.waiting import wait_until

paddle = pytest.importorskip("paddle")
pytestmark = [pytest.mark.paddle, pytest.mark.filterwarnings("ignore:When training")]

from streammatte.errors import ConfigError, ModelError, StreammatteError  # noqa: E402
from streammatte.models.cards import read_card  # noqa: E402
from streammatte.models.resolve import resolve  # noqa: E402
from streammatte.networks import names  # noqa: E402
from streammatte.networks.checkpoints import read_state  # noqa: E402
from streammatte.training.datasets import find_entries  # noqa: E402
from streammatte.training.recipe import load_recipe  # noqa: E402
from streammatte.training.trainer import Trainer  # noqa: E402
from streammatte.training.validation import validate  # noqa: E402

SHARED = Path(__file__).parents[3] / "shared"
SMALL = (("ResizeByShort", {"short_size": 64}), ("RandomCrop", {"crop_size": [64, 64]}))
COMMAND = [sys.executable, "-m", "streammatte", "train"]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("data") / "people", count=4)


def recipe(people, name="ppmattingv2-lite", **more):
    given = {"data": str(people), "batch": 2, "workers": 0, "warmup": 0, "iters": 4, "transforms": SMALL, "size": 64}
    return load_recipe(name).replace(**{**given, **more})


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "step" in line]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if "lite" in name else pytest.mark.long) for name in names()],
)
def test_every_network_learns(name, tmp_path):
    """Thirty steps on sixteen images lower the loss, and gradients reach every parameter."""
    source = SHARED / "train"
    if source.is_dir():
        for kind in ("images", "alphas"):
            (tmp_path / "data" / kind).mkdir(parents=True)
        for image in sorted((source / "images").glob("pif_*"))[:16]:
            alpha = source / "alphas" / f"{image.stem}.png"
            (tmp_path / "data" / "images" / image.name).symlink_to(image)
            (tmp_path / "data" / "alphas" / alpha.name).symlink_to(alpha)
    else:
        write_people(tmp_path / "data", count=16)
    size = 128 if name.startswith(("human", "ppmattingv2")) else 64  # attention needs more than one place
    small = (("ResizeByShort", {"short_size": size}), ("RandomCrop", {"crop_size": [size, size]}))
    how = {"iters": 30, "batch": 4, "size": size, "transforms": small}
    if name.startswith("human"):
        how["learning_rate"] = 0.01  # its own is for 50,000 steps
    trainer = Trainer(recipe(tmp_path / "data", name, **how), tmp_path / "out")
    reached = {key: False for key, _ in trainer._trained}
    clear = trainer._optimizer.clear_grad

    def note(*args, **how):
        for key, value in trainer._trained:
            reached[key] = reached[key] or (value.grad is not None and bool(paddle.any(value.grad != 0)))
        clear(*args, **how)

    trainer._optimizer.clear_grad = note
    trainer.run()
    made = losses(tmp_path / "out")
    assert np.mean(made[-5:]) < 0.9 * np.mean(made[:5])
    # A bias before a batch norm has no gradient, but for rounding; nothing else may be missed.
    # Of HRNet's last fusion MODNet and PP-Matting, PaddleSeg's too, use the first maps and the coarsest alone.
    unused = re.compile(r"bias$|st4_3\.fuse_func\.residual_st4_3_layer_[23]_")
    assert not [key for key, seen in reached.items() if not seen and not unused.search(key)]


def test_what_comes_out(people, tmp_path):
    out = tmp_path / "out"
    made = recipe(people, validation=str(people), evaluate_every=2, sample_every=2, save_every=2, ema=0.5, clip=1.0)
    trained = Trainer(made, out).run()
    assert (trained.step, trained.stopped) == (4, False)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "step" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert all(line["images_per_second"] > 0 and line["lr"] > 0 for line in steps)
    parts = [key for key in steps[0] if key.startswith("alpha")]
    assert steps[0]["loss"] == pytest.approx(sum(steps[0][key] for key in parts), rel=1e-5)
    checked = [line for line in lines if "validated" in line]
    assert [line["validated"] for line in checked] == [2, 4]
    assert trained.metric == checked[-1]["mad"]
    best, last = (read_state(out / f"{name}.pdparams") for name in ("best", "last"))
    assert best.keys() == last.keys()
    assert {path.name for path in (out / "samples").iterdir()} == {"0000002.jpg", "0000004.jpg"}
    page = (out / "curves.html").read_text()
    assert page.count("<polyline") >= 4 and "nan" not in page
    assert not list(out.glob(".*"))


def test_best_weights_are_those_that_were_validated(people, tmp_path):
    from streammatte.networks import create

    made = recipe(people, validation=str(people), evaluate_every=1, learning_rate=0.01)
    Trainer(made, tmp_path / "out").run()
    checked = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    lowest = min(line["mad"] for line in checked if "validated" in line)
    network = create(made.network, tmp_path / "out" / "best.pdparams")
    assert validate(network, made.network, find_entries(people), ("mad",))["mad"] == pytest.approx(lowest, rel=1e-5)


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_resuming_is_exact(people, tmp_path, method):
    made = recipe(people, iters=6, optimizer=method, learning_rate=1e-3, ema=0.9, save_every=3, schedule="cosine")
    Trainer(made, tmp_path / "whole").run()
    trainer = Trainer(made, tmp_path / "parts")
    trainer._on_progress = lambda now: now.step == 3 and trainer.stop()
    assert trainer.run().stopped
    Trainer(made, tmp_path / "parts", resume=True).run()
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-6)
    whole, parts = (read_state(tmp_path / name / "last.pdparams") for name in ("whole", "parts"))
    assert max(np.abs(whole[key] - parts[key]).max() for key in whole) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_resuming_after_kill_is_exact(people, tmp_path):
    """Killed behind step 50, where a checkpoint is every ten: step 100 as if nothing had been."""
    command = [*COMMAND, "ppmattingv2-lite", "--data", str(people), "--size", "64", "--batch", "2", "--iters", "100"]
    command += ["--set", "save_every=10", "--set", "workers=1", "--set", "sample_every=1000", "--output"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    with subprocess.Popen([*command, str(tmp_path / "parts")]) as process:
        wait_until(lambda: losses_so_far(tmp_path / "parts") >= 50, alive=process)
        process.send_signal(signal.SIGKILL)
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "parts")], capture_output=True, text=True).stdout
    assert not left.split()
    subprocess.run([*command, str(tmp_path / "parts"), "--resume"], check=True)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=1e-5)
    whole, parts = (read_state(tmp_path / name / "last.pdparams") for name in ("whole", "parts"))
    assert max(np.abs(whole[key] - parts[key]).max() for key in whole) < 1e-5


def losses_so_far(folder):
    log = folder / "log.jsonl"
    return log.read_text().count('"loss"') if log.exists() else 0


def test_accumulated_steps_are_one_large_one(people, tmp_path):
    """With batch norms at rest, gradients of two halves are those of the whole."""
    frozen = {"freeze": r"\.bn\.|_batch_norm|\.norm", "iters": 2, "optimizer": "sgd", "learning_rate": 0.1}
    Trainer(recipe(people, batch=4, **frozen), tmp_path / "one").run()
    Trainer(recipe(people, batch=2, accumulate=2, **frozen), tmp_path / "two").run()
    assert losses(tmp_path / "one") == pytest.approx(losses(tmp_path / "two"), rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_are_one_with_twice_the_batch(people, tmp_path):
    frozen = ["--set", r"freeze=\.bn\.|_batch_norm|\.norm", "--set", "workers=0", "--set", "sample_every=1000"]
    common = ["ppmattingv2-lite", "--data", str(people), "--size", "64", "--iters", "3", *frozen]
    subprocess.run([*COMMAND, *common, "--batch", "4", "--output", str(tmp_path / "one")], check=True)
    launch = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path)]
    both = [*launch, "-m", "streammatte", "train", *common, "--batch", "2", "--output", str(tmp_path / "two")]
    done = subprocess.run(both, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_ctrl_c_saves(people, tmp_path):
    command = [*COMMAND, "ppmattingv2-lite", "--data", str(people), "--size", "64", "--batch", "2", "--iters", "500"]
    with subprocess.Popen([*command, "--output", str(tmp_path / "o")], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: losses_so_far(tmp_path / "o") >= 2, alive=process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume goes on" in said and "Traceback" not in said
    assert {"checkpoint.npz", "last.pdparams", "best.pdparams"} <= {path.name for path in (tmp_path / "o").iterdir()}


def test_a_loss_that_is_not_finite_stops_with_its_batch(people, tmp_path):
    made = recipe(people, learning_rate=10.0, optimizer="sgd", momentum=0.99, iters=60, weight_decay=1.0)
    made = made.replace(losses={"alpha_mrsd": 1e6})
    trainer = Trainer(made, tmp_path / "out")
    trainer._network.head.conv_out.weight.set_value(np.full(trainer._network.head.conv_out.weight.shape, np.nan, "f4"))
    with pytest.raises(StreammatteError, match="not finite at step 1"):
        trainer.run()
    with np.load(tmp_path / "out" / "not-finite-1.npz") as batch:
        assert batch["image"].shape == (2, 3, 64, 64)
    assert not (tmp_path / "out" / "last.pdparams").exists()


def test_what_is_wrong_is_reported_first(people, tmp_path):
    with pytest.raises(ConfigError, match="give --data"):
        Trainer(load_recipe("ppmattingv2-lite"), tmp_path / "a")
    with pytest.raises(ConfigError, match="multiples of 32"):
        Trainer(recipe(people, size=70), tmp_path / "a")
    with pytest.raises(ConfigError, match="leave out --resume"):
        Trainer(recipe(people), tmp_path / "a", resume=True)
    with pytest.raises(ConfigError, match="nothing to train"):
        Trainer(recipe(people, freeze="."), tmp_path / "a")
    with pytest.raises(ConfigError, match="no regular expression"):
        Trainer(recipe(people, freeze="("), tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "checkpoint.npz").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="go on with --resume"):
        Trainer(recipe(people), tmp_path / "b")
    with pytest.raises(ModelError, match="cannot be read"):
        Trainer(recipe(people), tmp_path / "b", resume=True)


def test_frozen_parts_stay(people, tmp_path):
    trainer = Trainer(recipe(people, freeze="^backbone"), tmp_path / "out")
    before = {key: value.numpy().copy() for key, value in trainer.network.state_dict().items()}
    trainer.run()
    after = {key: value.numpy() for key, value in trainer.network.state_dict().items()}
    changed = {key for key in before if not np.array_equal(before[key], after[key])}
    assert changed and not any(key.startswith("backbone") for key in changed)


def test_pairs_and_mixed_precision(people, tmp_path):
    Trainer(recipe(people, temporal=1.0, amp="bf16", iters=2), tmp_path / "out").run()
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["temporal"]) and line["temporal"] > 0 for line in lines)


def test_what_comes_out_is_blended_with_what_it_began_with(people, tmp_path):
    how = {"iters": 3, "learning_rate": 0.01, "optimizer": "adamw"}
    whole, part = Trainer(recipe(people, **how), tmp_path / "whole"), None
    begin = {name: value.numpy() for name, value in whole.network.state_dict().items()}
    whole.run()
    part = Trainer(recipe(people, blend=0.25, **how), tmp_path / "part")
    part.run()
    learned, blended = (read_state(tmp_path / name / "last.pdparams") for name in ("whole", "part"))
    name = "head.conv_out.weight"
    assert np.abs(learned[name] - begin[name]).max() > 1e-3
    assert blended[name] == pytest.approx(0.75 * begin[name] + 0.25 * learned[name], abs=1e-6)
    card = read_card((tmp_path / "part" / "best.yml").read_text(), "the card")
    assert card.name == "ppmattingv2-lite" and "3 steps" in card.training and str(people) in card.training
    assert resolve(str(tmp_path / "part" / "best.pdparams")).architecture == "ppmattingv2-lite"
