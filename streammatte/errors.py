"""Every exception the package raises on purpose.

    StreammatteError                      exit code 1
    |-- ConfigError (ValueError)          2   an option, a preset or an argument is wrong
    |-- SourceError (OSError)             3   the input cannot be read
    |   |-- SourceNotFoundError (FileNotFoundError)
    |   |-- BeyondEndError
    |   |-- UnsupportedSourceError (ValueError)
    |   |   `-- NoFrameError
    |   `-- TruncatedSourceError (EOFError)   8   the input broke off; what came before is good
    |-- SinkError (OSError)               4   the output cannot be written
    |   |-- OutputExistsError (FileExistsError)
    |   |-- UnsupportedOutputError (ValueError)
    |   `-- DiskFullError
    |-- BackgroundError (ValueError)      5   the background cannot be read
    |-- ModelError (RuntimeError)         6   a network cannot be found, read or run
    |   |-- ModelNotFoundError (FileNotFoundError)
    |   `-- EngineUnavailableError (ImportError)
    |-- DeviceError (OSError)             7   a camera or another device failed
    `-- QueueAborted                       internal: a queue was aborted; never reaches a caller

Each also subclasses the builtin that a caller would expect. A message states what was given, what is allowed and the
next step, on one line.
"""

from __future__ import annotations

import errno
from typing import Any

__all__ = [
    "BackgroundError",
    "BeyondEndError",
    "ConfigError",
    "DeviceError",
    "DiskFullError",
    "EngineUnavailableError",
    "ModelError",
    "ModelNotFoundError",
    "NoFrameError",
    "OutputExistsError",
    "QueueAborted",
    "SinkError",
    "SourceError",
    "SourceNotFoundError",
    "StreammatteError",
    "TruncatedSourceError",
    "UnsupportedOutputError",
    "UnsupportedSourceError",
]


class StreammatteError(Exception):
    """Base of the tree; ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __str__(self) -> str:
        """The message alone, also where the builtin base would decorate it."""
        return str(self.args[0]) if self.args else type(self).__name__


class ConfigError(StreammatteError, ValueError):
    """An option, a preset or an argument is wrong."""

    exit_code = 2


class SourceError(StreammatteError, OSError):
    """The input cannot be read."""

    exit_code = 3


class SourceNotFoundError(SourceError, FileNotFoundError):
    """There is no such input."""


class UnsupportedSourceError(SourceError, ValueError):
    """The input is there but is nothing that can be matted (no video stream, no frame, an unknown format)."""


class NoFrameError(UnsupportedSourceError):
    """The input holds no frame, or none of the wanted part."""


class BeyondEndError(SourceError):
    """The wanted part begins behind the input's end."""


class TruncatedSourceError(SourceError, EOFError):
    """The input broke off; every frame before was good and was delivered.

    ``summary`` is the run's Summary where a pipeline kept the good part, else None.
    """

    exit_code = 8
    summary: Any = None


class SinkError(StreammatteError, OSError):
    """The output cannot be written."""

    exit_code = 4


class OutputExistsError(SinkError, FileExistsError):
    """The output is there already and may not be overwritten."""


class UnsupportedOutputError(SinkError, ValueError):
    """The container or the encoder cannot hold what was requested."""


class DiskFullError(SinkError):
    """No space is left where the output goes: the disk is full, a quota or the largest size of a file is reached."""

    ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
    """Errors of the operating system that mean this."""


class BackgroundError(StreammatteError, ValueError):
    """The background cannot be read."""

    exit_code = 5


class ModelError(StreammatteError, RuntimeError):
    """A network cannot be found, read or run."""

    exit_code = 6


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no such network, or its weights are not here."""


class EngineUnavailableError(ModelError, ImportError):
    """The engine's package is not installed or cannot run here."""


class DeviceError(StreammatteError, OSError):
    """A camera or another device failed."""

    exit_code = 7


class QueueAborted(StreammatteError):
    """A queue was aborted while a stage waited on it; the pipeline handles it."""
