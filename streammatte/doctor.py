"""The checks of ``streammatte doctor``. Each tests one thing and shows how to repair it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from streammatte.engines.device_choice import known_figures
from streammatte.errors import StreammatteError
from streammatte.optional_imports import import_openvino
from streammatte.runtime import available_cores

__all__ = ["Finding", "run_checks"]

Level = Literal["ok", "warn", "fail"]

TRIES = 5
"""Inferences that are timed after the first; the fastest counts."""
OLDEST = datetime(2025, 1, 1, tzinfo=UTC)
"""A clock before this is wrong: certificates of servers then appear invalid."""
_ENCODERS = ("libx264", "libx265", "libvpx-vp9", "prores_ks", "aac")
_HARDWARE = ("h264_nvenc", "h264_qsv", "h264_vaapi", "h264_videotoolbox", "h264_amf")
_PROTOCOLS = ("rtmp", "rtsp", "srt", "https")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``fail`` means that the main job cannot run; ``fix`` is empty where nothing needs mending."""

    name: str
    level: Level
    text: str
    fix: str = ""


def run_checks() -> Iterator[Finding]:
    """All findings, one after the other; a check that breaks is a finding itself."""
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("machine", _machine),
        ("engine", _engine),
        ("gpu", _gpu),
        ("numba cache", _numba),
        ("cameras", _cameras),
        ("virtual camera", _virtual_camera),
        ("ffmpeg", _ffmpeg),
        ("clock", _clock),
    ]
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # one failed check must not end the others
            yield Finding(name, "warn", f"the check itself failed: {error}", "report this with --json's output")


def _machine() -> Iterator[Finding]:
    cores = available_cores()
    text = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, {cores} cores"
    few = cores < 2
    yield Finding(
        "machine", "warn" if few else "ok", text, "live sessions want two cores; try --size 256" if few else ""
    )


def _engine() -> Iterator[Finding]:
    from streammatte.engines import open_engine

    installed = [f"{name} {_version(package)}" for name, package in _engines() if find_spec(name)]
    yield Finding(
        "engines", "ok" if installed else "fail", ", ".join(installed) or "none", "" if installed else _REINSTALL
    )
    for entry in known_figures().values():
        height, width = entry["size"]
        figures = ", ".join(f"{name} {ms:.1f} ms" for name, ms in entry["ms"].items())
        yield Finding("devices", "ok", f"{entry['network']} at {width}x{height}, measured before: {figures}")
    size = (288, 512)
    try:
        engine = open_engine(size=size, throughput=False)
    except StreammatteError as error:
        yield Finding("inference", "fail", str(error), _REINSTALL)
        return
    try:
        image = np.full((1, *size, 3), 128, np.uint8)
        times = []
        for _ in range(TRIES + 1):
            began = time.perf_counter()
            engine.submit(image).result()
            times.append(time.perf_counter() - began)
        text = (
            f"{engine.name} on {engine.device}: {min(times[1:]) * 1000:.1f} ms for 512x288 in {engine.precision}, "
            f"{engine.precision_reason}"
        )
        slow = min(times[1:]) > 1 / 30
        fix = "30 frames a second need 33 ms: live sessions step down by themselves, videos take --size 384"
        yield Finding("inference", "warn" if slow else "ok", text, fix if slow else "")
    finally:
        engine.close()


_REINSTALL = "pip install --force-reinstall streammatte openvino"


def _engines() -> tuple[tuple[str, str], ...]:
    gpu = "paddlepaddle-gpu"
    paddle = gpu if _version(gpu) != "?" else "paddlepaddle"
    return ("openvino", "openvino"), ("onnxruntime", "onnxruntime"), ("paddle", paddle)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _gpu() -> Iterator[Finding]:
    seen = [str(path) for path in (Path("/dev/nvidia0"), Path("/dev/dri/renderD128")) if path.exists()]
    openvino = import_openvino()
    gpus = [device for device in openvino.Core().available_devices if device.startswith("GPU")]
    if gpus:
        yield Finding(
            "gpu", "warn", f"OpenVINO sees {', '.join(gpus)}, which `auto` leaves unused", "try --device gpu:0"
        )
    elif "/dev/nvidia0" in seen:
        if find_spec("paddle") is None:
            yield Finding(
                "gpu", "warn", "an NVIDIA GPU is here but unused", "pip install 'streammatte[gpu]', --engine paddle"
            )
        else:
            yield _paddle_gpu()
    else:
        yield Finding("gpu", "ok", "none found; the processor does the work")


def _paddle_gpu() -> Finding:
    from streammatte.optional_imports import import_paddle

    paddle = import_paddle("the GPU")
    if paddle.is_compiled_with_cuda():
        return Finding("gpu", "ok", f"Paddle {paddle.__version__} uses it with --engine paddle --device gpu:0")
    fix = "pip uninstall paddlepaddle; pip install 'streammatte[gpu]'"
    return Finding("gpu", "warn", "an NVIDIA GPU is here, but this Paddle is built without CUDA", fix)


def _numba() -> Iterator[Finding]:
    from streammatte.cache import user_cache_dir

    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or user_cache_dir("numba"))
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        fix = "set STREAMMATTE_HOME to a folder that you may write to; until then every start compiles again"
        yield Finding("numba cache", "warn", f"{folder} cannot be written: {error.strerror}", fix)
        return
    yield Finding("numba cache", "ok", f"{folder} is writable")


def _cameras() -> Iterator[Finding]:
    from streammatte.sources.devices import list_cameras

    cameras = list_cameras(with_modes=False)
    if not cameras:
        fix = "plug one in and run `streammatte cameras`; a video can be one: streammatte webcam --camera clip.mp4"
        yield Finding("cameras", "warn", "none found", fix)
    for camera in cameras:
        level: Level = "warn" if camera.problem else "ok"
        reason, _, fix = camera.problem.partition("; ")
        yield Finding("camera", level, f"{camera.name} ({camera.address}) {reason}".strip(), fix)


def _virtual_camera() -> Iterator[Finding]:
    if find_spec("pyvirtualcam") is None:
        yield Finding(
            "virtual camera", "warn", "pyvirtualcam is not installed", "pip install 'streammatte[virtualcam]'"
        )
        return
    if sys.platform != "linux":
        fix = "install OBS and press 'Start Virtual Camera' once; see docs/live.md"
        yield Finding("virtual camera", "ok", f"pyvirtualcam {_version('pyvirtualcam')}", fix)
        return
    yield _loopback(Path("/sys"))


def _loopback(system: Path) -> Finding:
    """The state of v4l2loopback; ``system`` is where the kernel's sysfs is mounted."""
    load = "sudo modprobe v4l2loopback devices=1 video_nr=10 card_label=streammatte exclusive_caps=1"
    module = system / "module" / "v4l2loopback"
    if not module.is_dir():
        install = "sudo apt install v4l2loopback-dkms (or your system's package), then: "
        return Finding("virtual camera", "warn", "the kernel module v4l2loopback is not loaded", install + load)
    nodes = sorted((system / "devices" / "virtual" / "video4linux").glob("video*"))
    names = ", ".join(f"/dev/{node.name}" for node in nodes) or "no device"
    try:
        exclusive = (module / "parameters" / "exclusive_caps").read_text(encoding="ascii")
    except OSError:
        exclusive = ""
    if "Y" not in exclusive:
        reload = f"sudo modprobe -r v4l2loopback; {load}"
        text = f"v4l2loopback is loaded ({names}) without exclusive_caps: Chrome and Zoom will not list it"
        return Finding("virtual camera", "warn", text, reload)
    return Finding("virtual camera", "ok", f"v4l2loopback with exclusive_caps: {names}")


def _ffmpeg() -> Iterator[Finding]:
    from streammatte.media.capabilities import ffmpeg_features

    features = ffmpeg_features((*_ENCODERS, *_HARDWARE), _PROTOCOLS)
    missing = [name for name in _ENCODERS if name not in features.encoders]
    needed = [name for name in ("libx264",) if name in missing]
    text = f"PyAV {features.version}, encoders {', '.join(name for name in _ENCODERS if name not in missing)}"
    fix = "pip install --force-reinstall --only-binary av av" if missing else ""
    yield Finding("ffmpeg", "fail" if needed else "warn" if missing else "ok", text, fix)
    hardware = ", ".join(name for name in _HARDWARE if name in features.encoders) or "none"
    yield Finding(
        "hardware", "ok", f"encoders in this build: {hardware}; decoding: {', '.join(features.hwaccel) or 'none'}"
    )
    absent = [name for name in _PROTOCOLS if name not in features.protocols]
    text = f"streams: {', '.join(features.protocols)}" + (f"; not in this build: {', '.join(absent)}" if absent else "")
    yield Finding("protocols", "ok", text)


def _clock() -> Iterator[Finding]:
    now = datetime.now(UTC)
    step = time.get_clock_info("monotonic").resolution
    if now < OLDEST:
        yield Finding("clock", "warn", f"the clock says {now:%Y-%m-%d}", "set it: certificates look invalid otherwise")
        return
    yield Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M} UTC; the monotonic clock steps by {step * 1e9:.0f} ns")
