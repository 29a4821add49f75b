"""`why`: what a number stands on."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fpbench.cli.options import beside_option, runs_option


@click.command()
@click.argument("key")
@click.option("--run", required=True, metavar="RUN", help="Folder of the run, or its name in RUNS.")
@runs_option
@beside_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON, with whole keys.")
@click.pass_obj
def why(
    plugins: tuple[str, ...], key: str, run: str, runs: Path, store: Path | None, as_json: bool
) -> None:
    """Show what is behind KEY, of a record, cell, stage or artefact: all inputs, up to the data.

    Eight digits of KEY are enough where they are unique. Each line has kind, key and label, whether
    it is stored, and below it which plugin of which version made it, with which parameters.
    """
    from fpbench.execute.explaining import chain_of, lines_of
    from fpbench.execute.runs import open_run, run_folder

    chain = chain_of(open_run(run_folder(run, runs), plugins, store), key)
    if as_json:
        click.echo(json.dumps([link.as_json() for link in chain], indent=2))
        return
    for line in lines_of(chain):
        click.echo(line)
