"""Which cameras and microphones there are, by the system's own framework."""

from __future__ import annotations

import errno
import logging
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import av
import av.error
import av.logging

from streammatte.errors import DeviceError
from streammatte.runtime import native_lines
from streammatte.sources import v4l2

__all__ = ["AUTO", "FRAMEWORKS", "Camera", "find_camera", "in_use", "list_cameras", "list_microphones"]

_log = logging.getLogger(__name__)

AUTO = "auto"
"""The first camera that can be used."""

FRAMEWORKS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's name of each system's camera interface."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of this machine.

    ``address`` is what FFmpeg opens; ``problem`` is why it cannot be used, or empty; ``virtual`` is True for the output
    of a program, such as this one's.
    """

    index: int
    name: str
    address: str
    modes: tuple[str, ...] = field(default=())
    problem: str = ""
    virtual: bool = False


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
    """A camera by index, path or (part of its) name; ``auto`` is the first that can be used and is no program's output.

    Raises
    ------
    DeviceError
        There is none, or a name fits several.
    """
    if Path(spec).is_absolute():
        if not Path(spec).exists():
            raise DeviceError(f"there is no camera {spec}; `streammatte cameras` lists what there is")
        return (_node(Path(spec), 0, False) if sys.platform == "linux" else None) or Camera(0, spec, spec)
    cameras = list_cameras(with_modes=False) if cameras is None else cameras
    known = ", ".join(f"{camera.index} ({camera.name})" for camera in cameras) or "none"
    if spec == AUTO:
        fitting = [camera for camera in cameras if not camera.virtual]
        fitting = ([camera for camera in fitting if not camera.problem] or fitting)[:1]
    elif spec.isdigit():
        fitting = [camera for camera in cameras if camera.index == int(spec)]
    else:
        exact = [camera for camera in cameras if camera.name.lower() == spec.lower()]
        fitting = exact or [camera for camera in cameras if spec.lower() in camera.name.lower()]
    if not fitting and spec == AUTO:
        raise DeviceError("no camera was found; plug one in, or use a video as one: --camera clip.mp4")
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
        camera = _node(node, int(digits), with_modes)
        if camera is not None:
            cameras.append(camera)
    return cameras


def _node(node: Path, index: int, with_modes: bool) -> Camera | None:
    """A device of Linux's; None for one that gives no images."""
    try:
        driver, name, caps = v4l2.capabilities(node)
    except PermissionError:
        problem = "permission denied; add yourself to the group 'video' (sudo usermod -aG video $USER), log in again"
        return Camera(index, _sysfs_name(node), str(node), (), problem)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return Camera(index, _sysfs_name(node), str(node), (), in_use(str(node)))
        return Camera(index, _sysfs_name(node), str(node), (), f"cannot be opened: {error.strerror}")
    if not caps & v4l2.CAP_CAPTURE:
        return None
    found: tuple[str, ...] = ()
    with suppress(OSError):  # a driver that breaks off gives no modes, and is a camera all the same
        found = tuple(str(mode) for mode in v4l2.modes(node)) if with_modes else ()
    return Camera(index, name, str(node), found, virtual="loopback" in driver)


def in_use(address: str) -> str:
    """The problem of a camera that another program has open."""
    how = f"; `fuser -v {address}` shows which" if sys.platform == "linux" else ""
    return f"another program is using it{how}; end that one"


_AUDIO = {"linux": ("pulse", "alsa"), "darwin": ("avfoundation",), "win32": ("dshow",)}


def list_microphones() -> list[str]:
    """Names of the microphones that ``--mic`` takes, by the first of the system's interfaces that has any."""
    for framework in _AUDIO.get(sys.platform, ()):
        try:
            with native_lines(_log):
                devices = av.enumerate_input_devices(framework)
        except (av.error.FFmpegError, ValueError, OSError):
            continue
        found = [
            device.name if sys.platform == "linux" else device.description or device.name
            for device in devices
            if "audio" in (getattr(device, "media_types", None) or ["audio"])
        ]
        if found:
            return found
    return []


def _sysfs_name(node: Path) -> str:
    try:
        return (Path("/sys/class/video4linux") / node.name / "name").read_text(encoding="utf-8").strip()
    except OSError:
        return node.name


def _logged_modes(framework: str, address: str) -> tuple[str, ...]:
    """FFmpeg only logs the modes of avfoundation and dshow; the opening that lists them always fails."""
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
