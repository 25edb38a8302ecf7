"""Segments on a Ray cluster of this machine's processes (``pip install streammatte[cluster]``)."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.segments import PERSON, options, packets, pixels
from support.waiting import wait_until

from streammatte.build import build_pipeline
from streammatte.cluster import ray_pool as module
from streammatte.cluster.batch import Batch
from streammatte.cluster.journal import DONE, FAILED, Journal
from streammatte.cluster.plan import Item
from streammatte.cluster.ray_pool import ray_pool
from streammatte.cluster.segments import SegmentedVideo
from streammatte.cluster.video import VideoRun
from streammatte.errors import ConfigError
from streammatte.options.video import VideoOptions

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def same(one, other):
    assert packets(f"{one}.mkv") == packets(f"{other}.mkv")
    for name in ("", ".alpha"):
        both = pixels(f"{one}{name}.mkv"), pixels(f"{other}{name}.mkv")
        assert all(np.array_equal(first, second) for first, second in zip(*both, strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    build_pipeline(PERSON, folder / "whole.mkv", options(folder, "whole", codec="ffv1", duration=3.0)).run()
    return folder / "whole"


def on_cluster(folder, name, where, while_running=lambda: None, **more):
    how = options(folder, name, codec="ffv1", duration=3.0, **more)
    with (
        SegmentedVideo(str(Path(PERSON).resolve()), str(folder / f"{name}.mkv"), how, 0.5) as video,
        ray_pool(where, 0, how, folder) as pool,
    ):
        thread = threading.Thread(target=while_running, daemon=True)
        thread.start()
        summary = VideoRun(video, pool).run()
        thread.join()
    return summary


def actors():
    found = subprocess.run(["pgrep", "-f", "^ray::_Actor"], capture_output=True, text=True).stdout.split()
    return [int(number) for number in found]


def kill_one_actor():
    wait_until(actors)
    time.sleep(3)
    subprocess.run(["kill", "-9", str(actors()[0])], check=True)


def test_the_cluster_gives_what_one_machine_gives(tmp_path, whole):
    summary = on_cluster(tmp_path, "a", "local:2")
    assert summary.frames == 90
    same(tmp_path / "a", whole)
    assert not list(tmp_path.glob(".*"))


def test_a_worker_that_is_killed_costs_a_segment(tmp_path, whole):
    on_cluster(tmp_path, "a", "local:2", kill_one_actor)
    same(tmp_path / "a", whole)


def test_nodes_without_the_folder_send_what_they_made(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(module._Actor, "facts", lambda self, marker: (module.__version__, False))
    on_cluster(tmp_path, "a", "local:1")
    same(tmp_path / "a", whole)


def test_a_node_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(module._Actor, "facts", lambda self, marker: ("0.0.1", True))
    with pytest.raises(ConfigError, match=rf"streammatte 0\.0\.1, and this is {module.__version__}"):
        on_cluster(tmp_path, "a", "local:1")


def test_a_network_goes_to_the_nodes(tmp_path):
    network = tmp_path / "mine"
    network.mkdir()
    for file in Path("streammatte/assets").glob("*.f16.*"):
        (network / f"net{file.suffix}").write_bytes(file.read_bytes())
    model = str(network / "net.xml")
    build_pipeline(PERSON, tmp_path / "b.mkv", options(tmp_path, "b", codec="ffv1", duration=3.0, model=model)).run()
    on_cluster(tmp_path, "a", "local:1", model=model)
    same(tmp_path / "a", tmp_path / "b")
    name, files = module._model_files(model)
    assert name == "{}/net.xml" and set(files) == {"net.xml", "net.bin"}


def test_a_card_goes_with_its_network(tmp_path):
    onnx_networks = pytest.importorskip("support.onnx_networks")
    graph = onnx_networks.convolved_network(tmp_path / "mine.onnx")
    name, files = module._model_files(f"u2net={graph}")
    assert name == "u2net={}/mine.onnx" and set(files) == {"mine.onnx"}
    card = Path("configs/models/third_party/u2net.yml").resolve()
    name, files = module._model_files(f"{card}={graph}")
    assert name == "{}/mine.onnx" and files["mine.yml"] == card.read_bytes()


def test_wrong_places(tmp_path):
    for where in ("local:0", "local:x", "local:²", "somewhere"):
        with pytest.raises(ConfigError, match="cluster must be"), ray_pool(where, 0, VideoOptions(), tmp_path):
            pass


def test_a_batch_on_the_cluster_keeps_the_good_ones(tmp_path, whole):
    target = tmp_path / "out"
    (tmp_path / "bad.mkv").write_text("no video")
    how = VideoOptions.build(
        {"size": 192, "background": "navy", "preset": "ultrafast", "codec": "ffv1", "duration": 3.0}
    )
    items = [
        Item(str(Path(PERSON).resolve()), "a.mkv", {"alpha": "a.alpha.mkv"}),
        Item(str(tmp_path / "bad.mkv"), "bad.mkv"),
        Item(str(Path(PERSON).resolve()), "shots/", {"codec": "auto", "duration": 0.2}),
    ]
    with Journal(target) as journal, ray_pool("local:2", 0, how, target) as pool:
        journal.add(items)
        Batch(journal, how, pool, 0.5).run()
        states = {record.output: record.state for record in journal.records()}
    assert states == {"a.mkv": DONE, "bad.mkv": FAILED, "shots/": DONE}
    assert len(list((target / "shots").glob("*.png"))) == 6
    same(target / "a", whole)


def test_a_node_that_is_lost(tmp_path, whole, monkeypatch):
    """A cluster of two nodes; one of them ends while it works, its segments are done by the other."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_worker_niceness", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)

        def lose_node():
            wait_until(lambda: len(actors()) == 2)
            time.sleep(3)
            cluster.remove_node(node, allow_graceful=False)

        summary = on_cluster(tmp_path, "a", cluster.address, lose_node)
    finally:
        cluster.shutdown()
    assert summary.frames == 90
    same(tmp_path / "a", whole)


def test_the_command_line(tmp_path, whole):
    command = [sys.executable, "-m", "streammatte", "video", PERSON, str(tmp_path / "a.mkv"), "--size", "192"]
    command += ["--bg", "navy", "--codec", "ffv1", "--duration", "3", "--alpha", str(tmp_path / "a.alpha.mkv")]
    done = subprocess.run([*command, "--cluster", "local:2", "--segment", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "90 frames" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    same(tmp_path / "a", whole)
    with subprocess.Popen(
        [*command, "--overwrite", "--cluster", "local:1", "--segment", "0.5"], stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: (tmp_path / ".a.mkv.segments" / "00000.json").exists(), alive=process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command goes on" in said
    same(tmp_path / "a", whole)
    assert not actors()


def test_a_head_that_is_started_again(tmp_path, whole):
    ray_command = [str(Path(sys.executable).with_name("ray"))]
    start = [*ray_command, "start", "--head", "--num-cpus", "2", "--port", "26379", "--ray-client-server-port", "20001"]
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    how = {"env": {**os.environ, **quiet}, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-m", "streammatte", "video", PERSON, str(tmp_path / "a.mkv"), "--size", "192"]
    command += ["--bg", "navy", "--codec", "ffv1", "--duration", "3", "--alpha", str(tmp_path / "a.alpha.mkv")]
    try:
        subprocess.run([*start, "--include-dashboard=false"], check=True, **how)
        with subprocess.Popen(
            [*command, "--segment", "0.25", "--cluster", "ray://127.0.0.1:20001"],
            env=how["env"],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_until(lambda: (tmp_path / ".a.mkv.segments" / "00000.json").exists(), alive=process)
            subprocess.run([*ray_command, "stop", "-f"], check=True, **how)
            time.sleep(3)
            subprocess.run([*start, "--include-dashboard=false"], check=True, **how)
            _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
        assert "does not answer" in said
    finally:
        subprocess.run([*ray_command, "stop", "-f"], **how)
    same(tmp_path / "a", whole)
