"""``streammatte doctor``: what this machine can do, and how to repair what it cannot."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

__all__ = ["command"]

_MARKS = {"ok": "ok  ", "warn": "note", "fail": "FAIL"}


@click.command(short_help="Check what this machine can do and how to repair what it cannot.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(as_json: bool) -> int:
    """Check engines, devices, cameras, virtual cameras, encoders, caches and clock; each finding comes with its fix.

    Exit code 1 where the main job (a video in, a video out) cannot run here.
    """
    from streammatte.doctor import run_checks

    findings = []
    for finding in run_checks():
        findings.append(finding)
        if not as_json:
            click.echo(f"{_MARKS[finding.level]}  {finding.name}: {finding.text}")
            if finding.fix:
                click.echo(f"      fix: {finding.fix}")
    works = all(finding.level != "fail" for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": works, "checks": [asdict(finding) for finding in findings]}))
    return 0 if works else 1
