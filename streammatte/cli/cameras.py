"""``streammatte cameras``: what --camera can name."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

__all__ = ["command"]


@click.command(short_help="List the cameras and their formats.")
@click.option("--microphones", is_flag=True, help="List the microphones that --mic takes instead.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(microphones: bool, as_json: bool) -> int:
    """List the cameras of this machine with the formats they offer. Exit code 7 where there is none."""
    from streammatte.sources.devices import list_cameras, list_microphones

    if microphones:
        names = list_microphones()
        click.echo(json.dumps(names) if as_json else "\n".join(names) or "no microphone was found")
        return 0 if names else 7
    cameras = list_cameras()
    if as_json:
        click.echo(json.dumps([asdict(camera) for camera in cameras]))
    else:
        for camera in cameras:
            click.echo(f"{camera.index}: {camera.name} ({camera.address})")
            for line in camera.modes or ((camera.problem,) if camera.problem else ()):
                click.echo(f"    {line}")
        if not cameras:
            click.echo("no camera was found; plug one in, or use a video as one: --camera clip.mp4", err=True)
    return 0 if cameras else 7
