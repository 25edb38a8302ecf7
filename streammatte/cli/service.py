"""``streammatte service``: the live camera as a service of the user's session (systemd)."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from streammatte.errors import ConfigError

__all__ = ["command"]

_UNIT = """[Unit]
Description=streammatte: a camera with another background
After=graphical-session.target

[Service]
WorkingDirectory={folder}
ExecStart={command}
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target
"""
NAME = "streammatte.service"


@click.group(short_help="Run the live camera as a service of your session.")
def command() -> None:
    """Run `streammatte webcam` whenever you are logged in (Linux with systemd; docs/live.md has macOS and Windows)."""


@command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def install(options: tuple[str, ...]) -> None:
    """Write the unit. OPTIONS are those of `streammatte webcam`; the camera is open only while a program reads it.
    Files that OPTIONS name are found from the folder that this command runs in.

    \b
    streammatte service install --bg beach.jpg --virtual-camera /dev/video10
    """
    from streammatte.cli.webcam import command as webcam
    from streammatte.sinks.atomic import whole_file, writing

    webcam.make_context("webcam", list(options), resilient_parsing=False)  # refuses wrong options now
    path = _path()
    arguments = [sys.executable, "-m", "streammatte", "webcam", *options, "--camera-at-start", "off"]
    folder = str(Path.cwd()).replace("%", "%%")
    unit = _UNIT.format(folder=folder, command=" ".join(_quoted(argument) for argument in arguments))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(unit, encoding="utf-8")
    click.echo(f"wrote {path}\nstart it now and at every login: systemctl --user enable --now {NAME}")


@command.command()
def remove() -> None:
    """Delete the unit."""
    path = _path()
    if not path.is_file():
        raise ConfigError(f"there is no {path}")
    path.unlink()
    click.echo(f"deleted {path}\nstop what runs: systemctl --user disable --now {NAME}; systemctl --user daemon-reload")


def _path() -> Path:
    if sys.platform != "linux":
        raise ConfigError("units are for systemd on Linux; docs/live.md says how macOS and Windows start a program")
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "systemd" / "user" / NAME


def _quoted(argument: str) -> str:
    """An argument of a unit's command: ``%`` and ``$`` are escaped, and quotes are those of C."""
    plain = argument.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return plain if plain == shlex.quote(plain) else '"' + plain.replace('"', '\\"') + '"'
