"""The benchmark's figures hang together; no test looks at how fast anything is."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from support.videos import make_video

import streammatte
from streammatte.benchmark.pipeline import compare, measure
from streammatte.benchmark.summary import STAGES, median_ratio, summarize
from streammatte.errors import ConfigError
from streammatte.options.video import VideoOptions
from streammatte.sources import SyntheticSource

SMALL = VideoOptions(size=192, background="#102030", preset="ultrafast")


def one_round(fps, cpu_ms, p50=10.0):
    """A round whose four stages take so many milliseconds of one core a frame each."""
    return {
        "end_to_end": {
            **{"fps": fps, "frames": 300, "cpu_ms": 4.2 * cpu_ms, "cpu_percent": 150.0, "drops": 1},
            **{"latency_ms": {"p50": p50, "p95": 2 * p50, "p99": 3 * p50}, "output_bytes": 1000},
        },
        "stages": {name: {"fps": 1000 / cpu_ms, "cpu_ms": cpu_ms} for name in STAGES},
    }


def test_medians_and_the_best_possible_rate():
    # four stages of 5 ms: 20 ms of one core a frame, so two cores could do 100 frames a second
    found = summarize([one_round(80, 5.0), one_round(90, 5.0), one_round(20, 50.0, p50=70.0)], cores=2)
    assert found["best_possible_fps"] == 100
    assert found["end_to_end"]["fps"] == 80
    assert found["end_to_end"]["all_fps"] == [80, 90, 20]
    assert found["efficiency"] == 0.9  # of 0.8, 0.9 and 2.0: each round by its own stages
    assert found["latency_ms"] == {"p50": 10, "p95": 20, "p99": 30}
    assert found["stages"]["encode"] == {"fps": 200, "cpu_ms": 5}
    assert (found["frames"], found["rounds"], found["drops"]) == (300, 3, 3)


def test_a_video_is_measured(tmp_path):
    video = make_video(tmp_path / "in.mp4", frames=20)
    values = measure(str(video), SMALL, frames=20, rounds=2)
    json.dumps(values)
    assert set(values["stages"]) == {"decode", "inference", "composite", "encode"}
    assert all(stage["cpu_ms"] > 0 for stage in values["stages"].values())
    assert values["version"] == streammatte.__version__
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
    assert [result["frames"] for result in (a, b)] == [16, 16]
    assert ratio > 0


def test_the_ratio_is_the_median_over_rounds():
    first = [one_round(fps, 5.0) for fps in (80, 90, 20)]
    second = [one_round(fps, 5.0) for fps in (40, 90, 40)]
    assert median_ratio(first, second) == 1


def run(*args):
    command = [sys.executable, "-m", "streammatte", "bench", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_command_prints_json_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    done = run(
        *("--input-size", "96x64", "--frames", "10", "--rounds", "1", "--size", "192", "--json"),
        *("--plot", tmp_path / "a.png"),
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


def test_kept_benchmarks_are_drawn_over_time(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "plot_benchmarks.py"))
    kept = {
        **{"machine": {"processor": "P", "cores": 2}, "model": "net", "precision": "int8"},
        **{"input": {"name": "samples/a.mp4", "width": 96, "height": 64}},
    }
    days = [("2026-11-02T00:00:00+00:00", 50.0), ("2026-11-01T00:00:00+00:00", 40.0)]
    results = [{**kept, "measured": day, "end_to_end": {"fps": fps}} for day, fps in days]
    other = {**results[0], "machine": {"processor": "Q", "cores": 2}}
    lines = tool["series"]([*results, other])
    assert [[fps for _, fps in points] for points in lines.values()] == [[40, 50], [50]]
    for number, result in enumerate([*results, other]):
        (tmp_path / f"{number}.json").write_text(json.dumps(result))
    monkeypatch.setitem(tool["main"].__globals__, "FOLDER", tmp_path)
    assert tool["main"]([str(tmp_path / "chart.png")]) == 0
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_missing_matplotlib_says_which_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    from streammatte.benchmark.plot import draw

    with pytest.raises(ConfigError, match=r"streammatte\[plot\]"):
        draw([], tmp_path / "a.png")
