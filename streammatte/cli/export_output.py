"""Where ``models export`` and ``models convert`` write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streammatte.errors import ConfigError, OutputExistsError, SinkError
from streammatte.sinks.atomic import AtomicFolder, writing

__all__ = ["Output", "form_of", "named"]

_FORMS = {".xml": "openvino", ".onnx": "onnx", ".npz": "weights", ".pdparams": "weights"}


class Output:
    """Files that appear under their names together, when they are complete.

    Parameters
    ----------
    target : Path
        A file, or a folder for the paddle form.
    written : sequence of Path
        The files that may be written: the target, or in it or beside it.
    overwrite : bool
        Replace those that are there.

    Raises
    ------
    OutputExistsError
        One is there and ``overwrite`` is not set.
    SinkError
        The folder cannot be made or written to, or a folder has the name of a file.
    """

    def __init__(self, target: Path, written: Sequence[Path], overwrite: bool) -> None:
        self._target = target
        self._inside = target not in written
        folder = target if self._inside else target.parent
        with writing(target):
            for path in written:
                if path.is_dir():
                    raise SinkError(f"cannot write {path}: it is a folder; give the name of a file")
                if path.exists() and not overwrite:
                    raise OutputExistsError(f"{path} exists already: choose another name or pass --overwrite")
            home = folder.parent if self._inside else folder
            if not home.exists():
                home.mkdir(parents=True, exist_ok=True)
        self._work = AtomicFolder(folder, overwrite)
        self._work.check()

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Where to write instead of the target; what is there at the end is moved to its place.

        Raises
        ------
        DiskFullError, SinkError
            All files of this output are removed.
        """
        try:
            self._work.create()
            with writing(self._target):
                yield self._work.path if self._inside else self._work.path / self._target.name
            self._work.publish()
        finally:
            self._work.discard()


def named(source: str, weights: bool) -> str:
    """The output that ``convert`` writes beside its source where none is given.

    Raises
    ------
    ConfigError
        The source has no name.
    """
    path = Path(source)
    if path.name in ("", ".."):
        raise ConfigError(f"{source} gives the output no name; give OUTPUT, such as net.xml")
    if weights:
        return str(path.with_suffix(".npz" if path.suffix == ".pdparams" else ".pdparams"))
    return str(path.with_name(path.name + ".xml") if path.is_dir() else path.with_suffix(".xml"))


def form_of(output: str) -> tuple[str, Path]:
    """What to write by the suffix of ``output``, in any case, and where.

    Returns
    -------
    ({"openvino", "onnx", "weights", "paddle"}, Path)
        The path has its suffix in small letters, as it is looked for.

    Raises
    ------
    ConfigError
        No form has this suffix.
    """
    path = Path(output)
    suffix = path.suffix.lower()
    if suffix in _FORMS:
        return _FORMS[suffix], path.with_suffix(suffix)
    # "out-v1.2" is a folder's name, "net.tflite" a form that is not written
    if path.is_dir() or output.endswith("/") or not suffix[1:2].isalpha():
        return "paddle", path
    raise ConfigError(
        f"OUTPUT must end in .xml, .onnx, .npz, .pdparams or be a folder (end its name in / to mark it); got {output}"
    )
