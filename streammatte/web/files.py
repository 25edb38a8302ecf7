"""Files that pages send: bounded, looked at in a child process, in a private folder that is deleted with the
session.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
from aiohttp import web

from streammatte.child_process import in_child
from streammatte.errors import ConfigError, StreammatteError

__all__ = ["Thumbnailed", "look", "receive", "safe_name"]

THUMBNAIL = 320
"""Width of a thumbnail, pixels."""
_CHUNK = 1 << 20
_LONGEST_NAME = 100


class Thumbnailed:
    """A file with what is known of it.

    Parameters
    ----------
    name : str
        What the page calls it.
    path : Path
    facts : dict
        As :func:`look` gives them.
    thumbnail : Path
        A JPEG.
    """

    def __init__(self, name: str, path: Path, facts: dict[str, Any], thumbnail: Path) -> None:
        self.name, self.path, self.facts, self.thumbnail = name, path, facts, thumbnail

    def remove(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self.thumbnail.unlink(missing_ok=True)


def safe_name(text: str) -> str:
    """A file's own name for lists and downloads, without folders. Raises ConfigError where nothing is left."""
    name = text.replace("\\", "/").rpartition("/")[2].strip().lstrip(".")
    name = "".join(letter for letter in name if letter.isprintable() and letter not in '<>:"|?*')[-_LONGEST_NAME:]
    if not name:
        raise ConfigError("the file needs a name")
    return name


async def receive(request: web.Request, folder: Path, most: int) -> Thumbnailed:
    """Write a request's body to a file of the folder and look at it.

    Parameters
    ----------
    request : web.Request
        ``name`` of its query is the file's.
    folder : Path
    most : int
        Bytes; a longer body is refused, whatever its header says.

    Raises
    ------
    ConfigError
        It is too long, or empty.
    StreammatteError
        It is no image and no video.
    """
    import asyncio

    name = safe_name(request.query.get("name", ""))
    path = folder / f"{secrets.token_hex(8)}{Path(name).suffix.lower()[:10]}"
    size = 0
    try:
        with path.open("xb") as file:
            async for part in request.content.iter_chunked(_CHUNK):
                size += len(part)
                if size > most:
                    raise ConfigError(f"{name} is larger than {most >> 20} MB")
                file.write(part)
        if not size:
            raise ConfigError(f"{name} is empty")
        thumbnail = path.with_suffix(".thumbnail.jpg")
        loop = asyncio.get_running_loop()
        facts = await loop.run_in_executor(None, in_child, look, str(path), str(thumbnail), name)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, StreammatteError):
            raise ConfigError(str(error).replace(str(path), name)) from error
        raise
    return Thumbnailed(name, path, facts, thumbnail)


def look(path: str, thumbnail: str, name: str) -> dict[str, Any]:
    """What a file is, in a process of its own: so that a hostile file is decoded there first.

    Parameters
    ----------
    path : str
        The file.
    thumbnail : str
        Where a JPEG of it is written.
    name : str
        What messages call it.

    Returns
    -------
    dict
        ``kind`` (image or video), ``width``, ``height``, ``seconds`` (None where unknown).

    Raises
    ------
    StreammatteError
        It is neither, or broken.
    """
    from streammatte.media.image_reader import STILL_SUFFIXES, animation_format, is_image, read_still
    from streammatte.network_size import MAX_MEGAPIXELS

    file = Path(path)
    seconds: float | None = None
    if not animation_format(file) and (file.suffix.lower() in STILL_SUFFIXES or is_image(file)):
        kind, image = "image", read_still(file, MAX_MEGAPIXELS)[0]
    else:
        from streammatte.sources import open_source

        with closing(open_source(path, tracks=False)) as source:
            frame = next(iter(source.frames()), None)
            seconds = source.info.duration
        if frame is None:
            raise ConfigError(f"{name} has no readable frame")
        kind, image = "video", frame.to_rgb()
    height, width = image.shape[:2]
    wide = min(THUMBNAIL, width)
    small = cv2.resize(image, (wide, max(1, round(height * wide / width))), interpolation=cv2.INTER_AREA)
    cv2.imwrite(thumbnail, small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return {"kind": kind, "width": width, "height": height, "seconds": seconds}
