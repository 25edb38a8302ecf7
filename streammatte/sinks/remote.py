"""Outputs for addresses of object stores: made on this machine and uploaded when complete."""

from __future__ import annotations

import shutil

from streammatte.media.remote import refuse_existing, upload, upload_folder
from streammatte.sinks.images import is_pattern

__all__ = ["RemoteOutput"]


class RemoteOutput:
    """One output, a file or numbered images, in a local folder until it is uploaded.

    Parameters
    ----------
    url : str
        A video's or an image's address, ``s3://bucket/name_%04d.png``, or ``s3://bucket/folder/``.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    OutputExistsError, SinkError
    EngineUnavailableError
        The package for such addresses is not installed.
    """

    def __init__(self, url: str, *, overwrite: bool) -> None:
        self.url = url
        self._is_folder = url.endswith("/")
        self._is_sequence = is_pattern(url)
        refuse_existing(url, overwrite)
        self._folder = upload_folder(url)
        self._path = self._folder / url.rstrip("/").rpartition("/")[2]
        self._remove()

    @property
    def local(self) -> str:
        """The name to write to."""
        return f"{self._path}/" if self._is_folder else str(self._path)

    def upload(self) -> None:
        """Upload the output, if it was written, and remove it here. Raises SinkError."""
        parent = self.url.rpartition("/")[0]
        if self._is_folder and self._path.is_dir():
            upload(self._path, self.url)
        elif self._is_sequence and not self._is_folder:
            upload(self._folder, parent)
        elif self._path.exists():
            upload(self._path, self.url)
        self._remove()

    def _remove(self) -> None:
        """Remove the output here, this one's or an earlier run's; segments of an earlier run stay."""
        if self._is_sequence:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True)
        else:
            self._path.unlink(missing_ok=True)
