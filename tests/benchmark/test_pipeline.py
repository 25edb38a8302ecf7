"""The benchmark's figures hang together; no test looks at how fast anything is."""

import json
import subprocess
import sys

import pytest
from support.videos import make_video

from streammatte.benchmark.pipeline import compare, measure
from streammatte.errors import ConfigError
from streammatte.options.video import VideoOptions
from streammatte.sources import SyntheticSource

SMALL = VideoOptions(size=192, background="#102030", preset="ultrafast")


def test_figures_hang_together(tmp_path):
    video = make_video(tmp_path / "in.mp4", frames=20)
    values = measure(str(video), SMALL, frames=20, rounds=2).as_dict()
    json.dumps(values)
    assert set(values["stages"]) == {"decode", "inference", "composite", "encode"}
    total = sum(stage["cpu_ms"] for stage in values["stages"].values())
    assert total > 0
    assert values["best_possible_fps"] == pytest.approx(values["machine"]["cores"] / total * 1000, rel=0.01)
    assert values["frames"] == 20
    assert values["drops"] == 0
    assert len(values["end_to_end"]["all_fps"]) == 2
    latency = values["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert values["peak_rss_mb"] > 10
    assert values["network"] == {"width": 192, "height": 128}


def test_comparison_of_two_settings():
    source = SyntheticSource(96, 64, rate=25, frames=16)
    other = VideoOptions(size=192, background="#102030", preset="ultrafast", refine="off")
    a, b, ratio = compare(source, (SMALL, other), frames=16, rounds=1)
    fps = [result.as_dict()["end_to_end"]["fps"] for result in (a, b)]
    assert ratio == pytest.approx(fps[0] / fps[1], rel=0.01)


def run(*args):
    command = [sys.executable, "-m", "streammatte", "bench", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_command_prints_json_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    done = run(
        "--input-size",
        "96x64",
        "--frames",
        "10",
        "--rounds",
        "1",
        "--size",
        "192",
        "--json",
        "--plot",
        tmp_path / "a.png",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["input"]["width"] == 96
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_command_prints_a_table():
    done = run("--input-size", "96x64", "--frames", "10", "--rounds", "1", "--size", "192")
    assert done.returncode == 0, done.stderr
    for word in ("decode", "network", "encode", "end to end", "efficiency", "p95", "drops"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("--compare", "int8"),
        ("--compare", "precision=int8,precision=f32,size=384"),
        ("video.mp4", "--input-size", "96x64"),
    ],
)
def test_wrong_arguments_are_refused(args):
    done = run(*args)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_missing_matplotlib_says_which_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    from streammatte.benchmark.plot import draw

    with pytest.raises(ConfigError, match=r"streammatte\[plot\]"):
        draw([], tmp_path / "a.png")
