"""``streammatte cache``: list and clear the caches of compiled and converted networks."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.group(short_help="Show or delete compiled and converted networks.")
def command() -> None:
    """Show or delete what is compiled or converted once; it is made again when it is needed.

    Each cache has a limit, beyond which its oldest entries are deleted. Fetched networks are no part of it.
    """


@command.command("list")
def list_() -> None:
    """List the caches: their size, limit, number of entries and folder."""
    from streammatte.cache import LIMITS, entries, user_cache_dir
    from streammatte.stats import format_bytes

    for name, limit in LIMITS.items():
        found = entries(name)
        size = format_bytes(sum(entry.size for entry in found))
        click.echo(f"{name:<10} {size:>10} of {limit / 1e9:.1f} GB  {len(found):>4} entries  {user_cache_dir(name)}")


@command.command()
@click.argument("names", nargs=-1)
def clear(names: tuple[str, ...]) -> None:
    """Delete the content of the caches NAMES, or of all."""
    from streammatte.cache import LIMITS, entries
    from streammatte.errors import ConfigError
    from streammatte.stats import format_bytes

    unknown = [name for name in names if name not in LIMITS]
    if unknown:
        raise ConfigError(f"there is no cache {', '.join(unknown)}; there are {', '.join(LIMITS)}")
    freed = 0
    for name in names or LIMITS:
        for entry in entries(name):
            entry.remove()
            freed += entry.size
    click.echo(f"{format_bytes(freed)} freed", err=True)
