"""``--device auto`` on a machine with more than a CPU; engines that only take time stand for its devices."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from streammatte import doctor, engines
from streammatte.engines import device_choice
from streammatte.errors import ModelError
from streammatte.models.resolve import resolve

OPTIONS = {"precision": "auto", "size": (64, 96), "batch": 1, "threads": 0, "throughput": False}


class Core:
    def __init__(self, devices):
        self.available_devices = devices

    def get_property(self, device, name):
        return f"a {device}"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with devices; ``made`` lists what was opened."""
    monkeypatch.setenv("STREAMMATTE_HOME", str(tmp_path))
    monkeypatch.setattr(device_choice, "SECONDS", 0.05)
    made = []

    def make(files, *, device, size, **_options):
        made.append(device)
        if device == "npu":
            raise ModelError("the compiler of this device refuses the network")
        wait = {"cpu": 0.01, "gpu": 0.002}[device]
        done = SimpleNamespace(result=lambda: time.sleep(wait))
        return SimpleNamespace(
            input_size=size, submit=lambda images: done, close=lambda: made.append(f"{device} closed"), device=device
        )

    def devices(*names):
        monkeypatch.setattr(device_choice, "import_openvino", lambda: SimpleNamespace(Core=lambda: Core(list(names))))
        return make, made

    return devices


def test_a_cpu_alone_is_not_measured(machine):
    make, made = machine("CPU")
    assert device_choice.fastest_device(resolve("ppmattingv2-lite"), OPTIONS, make) == "cpu"
    assert made == []


def test_the_fastest_is_measured_once_and_kept(machine):
    make, made = machine("CPU", "GPU", "NPU")
    files = resolve("ppmattingv2-lite")
    assert device_choice.fastest_device(files, OPTIONS, make) == "gpu"
    assert made == ["cpu", "cpu closed", "gpu", "gpu closed", "npu"]
    assert device_choice.fastest_device(files, OPTIONS, make) == "gpu"
    assert len(made) == 5  # the second time by what is kept
    assert device_choice.fastest_device(files, OPTIONS | {"size": (96, 96)}, make) == "gpu"
    assert len(made) == 10  # another size is another question
    (entry, _) = device_choice.known_figures().values()
    assert set(entry["ms"]) == {"cpu", "gpu"} and entry["ms"]["gpu"] < entry["ms"]["cpu"]
    lines = [finding.text for finding in doctor._engine() if finding.name == "devices"]
    assert "gpu" in lines[0] and "ms" in lines[0]


def test_damaged_figures_are_measured_again(machine, tmp_path):
    make, made = machine("CPU", "GPU")
    (tmp_path / "devices.json").write_text("{")
    assert device_choice.known_figures() == {}
    assert device_choice.fastest_device(resolve("ppmattingv2-lite"), OPTIONS, make) == "gpu"
    assert len(made) == 4


def test_a_device_that_fails_later_leaves_it_to_the_cpu(monkeypatch, caplog):
    from streammatte.engines import openvino

    real = openvino.OpenVINOEngine

    def refusing(files, *, device, **options):
        if device == "gpu":
            raise ModelError("the driver is gone")
        return real(files, device=device, **options)

    monkeypatch.setattr(openvino, "OpenVINOEngine", refusing)
    monkeypatch.setattr(device_choice, "fastest_device", lambda *_: "gpu")
    engine = engines.open_engine(size=(64, 96))
    assert engine.device == "CPU" and "cannot run on gpu (the driver is gone)" in caplog.text
    assert np.isfinite(engine.submit(np.zeros((1, 64, 96, 3), np.uint8)).result()).all()
    engine.close()
