"""Command-line options made from their declarations, and what every command sets up."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from streammatte.options.declare import Option, check, from_text, option, option_class, options_of
from streammatte.options.presets import load_preset
from streammatte.options.video import VideoOptions

__all__ = [
    "common",
    "declared_options",
    "fill",
    "from_assignments",
    "log_level",
    "reporting",
    "set_up_logging",
    "size_option",
    "take_threads",
]

F = TypeVar("F", bound=Callable[..., Any])


class _Value(click.ParamType[Any]):
    """A value of a declared option; its messages are the declaration's."""

    def __init__(self, entry: Option) -> None:
        self.entry = entry
        self.name = entry.form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return from_text(self.entry, value) if isinstance(value, str) else check(self.entry, value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(choice) for choice in self.entry.choices if choice.startswith(incomplete)]


def declared_options(cls: type, *groups: str) -> Callable[[F], F]:
    """A decorator that adds the options of a class, those of some groups where any is named."""

    def wrap(function: F) -> F:
        for entry in reversed(options_of(cls, *groups)):
            function = _as_click(entry)(function)
        return function

    return wrap


def _as_click(entry: Option) -> Callable[[F], F]:
    flag = entry.flag or f"--{entry.name.replace('_', '-')}"
    if entry.type is bool and not entry.switch:
        return click.option(flag, entry.name, flag_value=not entry.default, is_flag=True, default=None, help=entry.help)
    text = f"{entry.help} [{_shown(entry)}]" if _shown(entry) else entry.help
    settings: dict[str, Any] = {"type": _Value(entry), "metavar": entry.form, "help": text}
    if entry.optional_value is not None:
        settings |= {"is_flag": False, "flag_value": entry.optional_value}
    if entry.type is tuple and not entry.length:
        settings |= {"multiple": True, "type": str}
    return click.option(flag, entry.name, **settings)


def _shown(entry: Option) -> str:
    if entry.shown is not None:
        return entry.shown
    if entry.default is None:
        return ""
    if entry.switch:
        return "on" if entry.default else "off"
    return f"{entry.default:g}" if entry.type is float else str(entry.default)


@option_class
class _Sizes:
    input_size: tuple[int, int] | None = option(default=None, help="", low=16, high=16384)


def size_option(flag: str, help: str) -> Callable[[F], F]:  # noqa: A002
    """An option that takes WIDTHxHEIGHT, for a command of its own."""
    return click.option(flag, type=_Value(options_of(_Sizes)[0]), metavar="WxH", help=help)


def _set_level(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        set_up_logging(value)


log_level = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    is_eager=True,
    expose_value=False,
    callback=_set_level,
    help="debug also shows tracebacks.  [default: warning]",
)


def reporting() -> Callable[[F], F]:
    """How a long-running command reports its progress."""

    def wrap(function: F) -> F:
        add = click.option("--json", "as_json", is_flag=True, help="One JSON line a second instead of a progress bar.")
        return log_level(add(function))

    return wrap


def common() -> Callable[[F], F]:
    """Options of every long-running command."""

    def wrap(function: F) -> F:
        add = click.option("--config", "config", metavar="NAME|FILE", help="Preset: an installed name or a .yml file.")
        return add(reporting()(function))

    return wrap


def fill(config: str | None, given: dict[str, Any]) -> VideoOptions:
    """Options from a preset and from what the command line gave."""
    return VideoOptions.build(load_preset(config) if config else None, **given)


def from_assignments(text: str) -> dict[str, Any]:
    """``"precision=int8+smooth=off"`` as values of a video's options. Raises ConfigError."""
    entries = {entry.name: entry for entry in options_of(VideoOptions)}
    values: dict[str, Any] = {}
    for part in text.split("+"):
        name, _, value = (piece.strip() for piece in part.partition("="))
        name = name.removeprefix("--").replace("-", "_")
        values[name] = from_text(entries[name], value) if name in entries else value
    return values


class _Formatter(logging.Formatter):
    """Prefixes warnings and errors with their level; a notice has the level of a warning but no prefix."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        plain = record.levelno < logging.WARNING or getattr(record, "notice", False)
        return text if plain else f"{record.levelname.lower()}: {text}"


def take_threads() -> None:
    """One OpenCV thread: the stages have threads of their own, and a pool costs more than it gives on small mattes.

    For the command line's own process only; an embedder's is left as it is.
    """
    import cv2

    cv2.setNumThreads(1)


def set_up_logging(level: str) -> None:
    """Log to standard error; the libraries below only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
    root = logging.getLogger("streammatte")
    root.handlers[:] = [handler]
    root.propagate = False  # other packages add handlers of their own to the root
    root.setLevel(level.upper())
