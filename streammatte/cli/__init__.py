"""The command line. One file a command, wiring only; a command's module is imported when it is called."""

from __future__ import annotations

import logging
import sys
from importlib import import_module

import click

from streammatte._version import __version__
from streammatte.cli.options import set_up_logging
from streammatte.errors import StreammatteError
from streammatte.runtime import address_space_hint, check_address_space

__all__ = ["main"]

_COMMANDS = {  # name -> (module, one line of help)
    "video": ("streammatte.cli.video", "Take the person out of a video."),
    "batch": ("streammatte.cli.batch", "Take the people out of many videos, with a journal."),
    "image": ("streammatte.cli.image", "Take the person out of still images."),
    "webcam": ("streammatte.cli.webcam", "Put a new background behind a live camera."),
    "studio": ("streammatte.cli.studio", "A window in the browser for cameras, videos and images."),
    "service": ("streammatte.cli.service", "Run the live camera as a service of your session."),
    "cameras": ("streammatte.cli.cameras", "List the cameras and their formats."),
    "models": ("streammatte.cli.models", "List, fetch, export, convert and verify networks."),
    "cache": ("streammatte.cli.cache", "Show or delete compiled and converted networks."),
    "train": ("streammatte.cli.train", "Train or fine-tune a network."),
    "tune": ("streammatte.cli.tune", "Fine-tune the embedded network to a room."),
    "eval": ("streammatte.cli.eval", "Measure mattes against the truth."),
    "bench": ("streammatte.cli.bench", "Measure speed end to end and stage by stage."),
    "doctor": ("streammatte.cli.doctor", "Check what this machine can do and how to repair what it cannot."),
}

_HEAVY = frozenset({"video", "batch", "image", "webcam", "studio", "eval", "bench"})
"""Commands that run a network."""


class _LazyGroup(click.Group):
    """Lists every command without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        if cmd_name in _HEAVY:
            check_address_space()
        command = import_module(_COMMANDS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{_COMMANDS[cmd_name][0]}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "auto_envvar_prefix": "STREAMMATTE",
    },
)
@click.version_option(__version__, prog_name="streammatte")
def cli() -> None:
    """Take people out of images, videos and live cameras.

    \b
    streammatte video in.mp4 out.mp4 --bg beach.jpg
    streammatte webcam --bg beach.jpg
    streammatte image portrait.jpg cutout.png
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line and end the process with the exit code README lists."""
    set_up_logging("warning")  # messages before a command has read its options look like the rest
    try:
        code = cli.main(args=args, prog_name="streammatte", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        _explain(_usage(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except StreammatteError as error:
        _explain(str(error))
        code = error.exit_code
    except MemoryError:
        _explain("there is not enough memory; close other programs, or take a smaller --size or --batch")
        code = 1
    except Exception as error:
        _explain(f"unexpected {type(error).__name__}: {error}; --log-level debug shows where")
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException) -> str:
    """What is wrong with the command line, and whose help to read."""
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "streammatte"
    return f"{message[:1].lower()}{message[1:]}; {path} --help shows what is allowed"


def _explain(text: str) -> None:
    log = logging.getLogger("streammatte")
    if log.isEnabledFor(logging.DEBUG):
        log.exception("the command failed")
    click.echo(f"streammatte: {' '.join(text.split())}{address_space_hint()}", err=True)
