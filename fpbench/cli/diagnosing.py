"""`doctor`: whether this machine is as fpbench needs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from fpbench.cli import exits
from fpbench.cli.options import json_option, store_options, weights_option


@click.command()
@store_options
@weights_option
@json_option
@click.pass_obj
def doctor(
    plugins: tuple[str, ...], runs: Path, store: Path | None, weights: Path | None, as_json: bool
) -> None:
    """Look at this machine: Python, torch, devices, store, plugins, weights, known trouble.

    The exit code is 7 if something is missing without which no suite runs here.
    """
    from fpbench.execute.diagnosing import Grade, findings

    found = list(findings(plugins, store or runs / "store", weights))
    missing = [each for each in found if each.grade is Grade.MISSING]
    if as_json:
        click.echo(json.dumps([each.as_json() for each in found], indent=2))
    else:
        for each in found:
            click.echo(f"{each.grade:<8} {each.about:<22}{each.text}")
        click.echo(
            f"Next: mend what is missing ({len(missing)})"
            if missing
            else "Next: fpbench run quickstart"
        )
    if missing:
        sys.exit(exits.ENVIRONMENT)
