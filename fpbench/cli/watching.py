"""`status` and `logs`: how a run stands, from any terminal or machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fpbench.cli.options import json_option, run_argument, run_options, runs_option


@click.command()
@run_options
@json_option
@click.pass_obj
def status(
    plugins: tuple[str, ...], run: str, runs: Path, store: Path | None, as_json: bool
) -> None:
    """Show how RUN stands: outcomes, what is running where, what is left, what failed and why.

    RUN is a folder like runs/quickstart, or its name. It may be asked while the run goes on, from
    another terminal or from a machine that shares its folder.
    """
    from fpbench.execute.looking import standing_of
    from fpbench.execute.runs import open_run, run_folder

    standing = standing_of(open_run(run_folder(run, runs), plugins, store))
    if as_json:
        click.echo(json.dumps(standing.as_json(), indent=2))
        return
    for line in standing.lines(run, plugins):
        click.echo(line)


@click.command()
@run_argument
@click.argument("label", required=False)
@runs_option
@json_option
def logs(run: str, label: str | None, runs: Path, as_json: bool) -> None:
    """List the logs of RUN, or print those of stages and cells whose name contains LABEL.

    A log is kept of everything that failed, also after it was made by another attempt.
    """
    from fpbench.api import SpecError
    from fpbench.execute.journal import read_logs
    from fpbench.execute.runs import run_folder

    folder = run_folder(run, runs)
    found = read_logs(folder)
    if as_json:
        chosen = [log for log in found if (label or "").lower() in log.label.lower()]
        told = [
            {"label": log.label, "reason": log.reason, "path": str(log.path), "text": log.rest}
            for log in chosen
        ]
        click.echo(json.dumps(told, indent=2))
        return
    if not found:
        click.echo(f"{folder} has no logs: nothing has failed")
        return
    if label is None:
        for log in found:
            click.echo(f"{log.label}: {log.reason}\n  {log.path}")
        return
    shown = [log for log in found if label.lower() in log.label.lower()]
    if not shown:
        names = ", ".join(log.label for log in found)
        raise SpecError(
            [f"logs {label}: expected part of a label, got no match; there are {names}"]
        )
    click.echo("\n\n".join(f"{log.path}\n{log.label}\n{log.rest}" for log in shown))
