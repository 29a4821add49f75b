"""`merge`: one run of several that were made on different machines."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from fpbench.cli import exits
from fpbench.cli.options import json_option


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The run to make; its artefacts go into the store beside it.",
)
@click.option(
    "--suite",
    default="",
    help="A suite that asks for all that the RUNs have made; needed where theirs differ.",
)
@json_option
@click.pass_obj
def merge(
    plugins: tuple[str, ...], runs: tuple[str, ...], output: Path, suite: str, as_json: bool
) -> None:
    """Unite RUNs of one suite, and the stores beside them, into FOLDER; nothing is computed.

    RUNs are folders like a/runs/quickstart: of other methods, attacks or training seeds of a suite.
    Where two have other content under one key, the first named one's stays, and nothing of the
    other is taken that was made of its own. No RUN is changed. The exit code is 4 if anything was
    left out.
    """
    from fpbench.execute.runs import open_run, run_folder
    from fpbench.execute.uniting import unite

    opened = [open_run(run_folder(run, Path()), plugins) for run in runs]
    found = unite(opened, output, suite)
    if as_json:
        click.echo(json.dumps(found.as_json() | {"run": str(output)}, indent=2))
    else:
        for line in found.lines():
            click.echo(line)
        click.echo(f"Next: `fpbench retry {output}` does what is lacking, and renders the page")
    if not found.whole:
        sys.exit(exits.CELLS_FAILED)
