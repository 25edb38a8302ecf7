"""Presets: YAML files of ``option: value`` lines."""

from importlib import resources
from pathlib import Path
from typing import Any

from streammatte.errors import ConfigError

__all__ = ["list_presets", "load_preset"]


def list_presets() -> list[str]:
    """Names of the presets that are installed."""
    folder = resources.files("streammatte.configs")
    return sorted(item.name[:-4] for item in folder.iterdir() if item.name.endswith(".yml"))


def load_preset(name_or_file: str) -> dict[str, Any]:
    """Options of an installed preset by name, or of a YAML file by path. Raises ConfigError."""
    import yaml

    path = Path(name_or_file)
    try:
        if path.suffix in (".yml", ".yaml"):
            if not path.is_file():
                raise ConfigError(f"no preset file {name_or_file}; installed presets: {', '.join(list_presets())}")
            text = path.read_text(encoding="utf-8")
        elif name_or_file in list_presets():
            text = (resources.files("streammatte.configs") / f"{name_or_file}.yml").read_text(encoding="utf-8")
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
