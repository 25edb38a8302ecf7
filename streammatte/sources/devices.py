"""Which cameras and microphones there are, by the system's own framework."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.error
import av.logging

from streammatte.errors import DeviceError
from streammatte.sources import v4l2

__all__ = ["FRAMEWORKS", "Camera", "find_camera", "list_cameras"]

FRAMEWORKS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's name of each system's camera interface."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of this machine.

    ``address`` is what FFmpeg opens; ``problem`` is why it cannot be used, or empty.
    """

    index: int
    name: str
    address: str
    modes: tuple[str, ...] = field(default=())
    problem: str = ""


def list_cameras(*, with_modes: bool = True) -> list[Camera]:
    """The cameras, in the system's order. Loopback devices that only take images are left out."""
    if sys.platform == "linux":
        return _linux(with_modes)
    framework = FRAMEWORKS.get(sys.platform)
    if framework is None:
        return []
    try:
        devices = av.enumerate_input_devices(framework)
    except (av.error.FFmpegError, ValueError):
        return []
    videos = [device for device in devices if "video" in (getattr(device, "media_types", None) or ["video"])]
    cameras = []
    for index, device in enumerate(videos):
        name = device.description or device.name
        address = f"video={name}" if framework == "dshow" else f"{index}:none"
        modes = _logged_modes(framework, address) if with_modes else ()
        cameras.append(Camera(index, name, address, modes))
    return cameras


def find_camera(spec: str, cameras: list[Camera] | None = None) -> Camera:
    """A camera by index, path or (part of its) name.

    Raises
    ------
    DeviceError
        There is none, or a name fits several.
    """
    if Path(spec).is_absolute():
        if not Path(spec).exists():
            raise DeviceError(f"there is no camera {spec}; `streammatte cameras` lists what there is")
        return Camera(0, spec, spec)
    cameras = list_cameras(with_modes=False) if cameras is None else cameras
    known = ", ".join(f"{camera.index} ({camera.name})" for camera in cameras) or "none"
    if spec.isdigit():
        fitting = [camera for camera in cameras if camera.index == int(spec)]
    else:
        exact = [camera for camera in cameras if camera.name.lower() == spec.lower()]
        fitting = exact or [camera for camera in cameras if spec.lower() in camera.name.lower()]
    if not fitting:
        raise DeviceError(
            f"there is no camera {spec!r}; cameras here: {known}; a video can be one too: --camera clip.mp4"
        )
    if len(fitting) > 1:
        raise DeviceError(f"{spec!r} fits several cameras; name one of {known}")
    return fitting[0]


def _linux(with_modes: bool) -> list[Camera]:
    cameras = []
    nodes = sorted(Path("/dev").glob("video*"), key=lambda node: int(re.sub(r"\D", "", node.name) or 0))
    for node in nodes:
        digits = re.sub(r"\D", "", node.name)
        if not digits:
            continue
        try:
            _driver, name, caps = v4l2.capabilities(node)
        except PermissionError:
            problem = (
                "permission denied; add yourself to the group 'video' (sudo usermod -aG video $USER), log in again"
            )
            cameras.append(Camera(int(digits), _sysfs_name(node), str(node), (), problem))
            continue
        except OSError as error:
            cameras.append(Camera(int(digits), _sysfs_name(node), str(node), (), f"cannot be opened: {error.strerror}"))
            continue
        if not caps & v4l2.CAP_CAPTURE:
            continue
        found = tuple(str(mode) for mode in v4l2.modes(node)) if with_modes else ()
        cameras.append(Camera(int(digits), name, str(node), found))
    return cameras


def _sysfs_name(node: Path) -> str:
    try:
        return (Path("/sys/class/video4linux") / node.name / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return node.name


def _logged_modes(framework: str, address: str) -> tuple[str, ...]:
    """FFmpeg only logs the modes of avfoundation and dshow; opening with a question for them always fails."""
    question = {"dshow": {"list_options": "true"}, "avfoundation": {"video_size": "1x1"}}[framework]
    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture() as lines:
            try:
                av.open(address, format=framework, options=question).close()
            except (av.error.FFmpegError, OSError) as error:
                del error
    finally:
        av.logging.set_level(before)
    found = (line.strip() for _, _, text in lines for line in text.splitlines() if re.search(r"\d+x\d+", line))
    return tuple(dict.fromkeys(found))
