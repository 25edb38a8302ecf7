"""Presets: YAML files of ``option: value`` lines."""

import os
import re
from importlib import resources
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from streammatte.errors import ConfigError

__all__ = ["delete_preset", "list_presets", "load_preset", "own_presets", "save_preset"]

_FILE_SUFFIXES = (".yml", ".yaml")
"""What ``--config`` takes as a path of a file and not as a name."""
_NAME = re.compile(r"[\w][\w .-]{0,39}")


def list_presets() -> list[str]:
    """Names of the presets that are installed, then of the user's own."""
    installed = _installed()
    return [*installed, *(name for name in sorted(own_presets()) if name not in installed)]


def _installed() -> list[str]:
    folder = resources.files("streammatte.configs")
    return sorted(item.name[:-4] for item in folder.iterdir() if item.name.endswith(".yml"))


def _own_folder() -> Path:
    home = os.environ.get("STREAMMATTE_HOME")
    return (Path(home).expanduser() if home else user_config_path("streammatte", appauthor=False)) / "presets"


def own_presets() -> dict[str, Path]:
    """The user's presets by name."""
    folder = _own_folder()
    return {path.stem: path for path in folder.glob("*.yml")} if folder.is_dir() else {}


def save_preset(name: str, options: dict[str, Any]) -> Path:
    """Keep options under a name, which ``--config`` takes from then on. Raises ConfigError."""
    import yaml

    if not _NAME.fullmatch(name) or Path(name).suffix in _FILE_SUFFIXES:
        raise ConfigError(
            "a preset's name has up to 40 letters, digits, spaces, points and hyphens, and no .yml or .yaml at its end"
        )
    if name in _installed():
        raise ConfigError(f"{name} is an installed preset; take another name")
    path = _own_folder() / f"{name}.yml"
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"the preset cannot be written to {path} ({error.strerror or error})") from error
    return path


def delete_preset(name: str) -> None:
    """Delete one of the user's presets. Raises ConfigError where there is none of the name."""
    path = own_presets().get(name)
    if path is None:
        raise ConfigError(f"there is no preset {name!r} of yours")
    path.unlink(missing_ok=True)


def load_preset(name_or_file: str) -> dict[str, Any]:
    """Options of an installed preset by name, or of a YAML file by path. Raises ConfigError."""
    import yaml

    path = Path(name_or_file)
    try:
        if path.suffix in _FILE_SUFFIXES:
            if not path.is_file():
                raise ConfigError(f"no preset file {name_or_file}; installed presets: {', '.join(list_presets())}")
            text = path.read_text(encoding="utf-8")
        elif name_or_file in _installed():
            text = (resources.files("streammatte.configs") / f"{name_or_file}.yml").read_text(encoding="utf-8")
        elif name_or_file in own_presets():
            text = own_presets()[name_or_file].read_text(encoding="utf-8")
        else:
            raise ConfigError(
                f"no preset {name_or_file!r}; installed are {', '.join(list_presets())}, or give a .yml file"
            )
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"preset {name_or_file} is not YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ConfigError(f"preset {name_or_file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"preset {name_or_file} holds a value that cannot be read: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ConfigError(f"preset {name_or_file} must hold 'option: value' lines")
    return {key.replace("-", "_"): value for key, value in loaded.items()}
