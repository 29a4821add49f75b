"""`cache ls` and `cache gc`: what is in a store, and what may go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fpbench.cli.options import cache_option, json_option

if TYPE_CHECKING:
    from fpbench.execute.sweeping import Unreadable, Waste


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@cache_option
@json_option
@click.pass_obj
def ls(plugins: tuple[str, ...], runs: tuple[str, ...], store: Path, as_json: bool) -> None:
    """Count what RUNs keep in the store, by kind, and what none of them reaches.

    A RUN is a folder, or a name beside the store; without any, all that lie beside it.
    """
    from fpbench.execute.runs import run_folder, runs_in
    from fpbench.execute.sweeping import census_of, open_runs
    from fpbench.store import Store

    named = [run_folder(run, store.parent) for run in runs] or list(runs_in(store.parent))
    found, unreadable = open_runs(named, plugins, store)
    census = census_of(Store(store), found, unreadable)
    if as_json:
        click.echo(json.dumps(census.as_json(), indent=2))
        return
    click.echo(f"{store}, by {', '.join(str(run.folder) for run in found) or 'no run'}")
    for line in census.lines():
        click.echo(line)
    click.echo("Next: `fpbench cache gc --keep RUN` lists what may go")


@click.command()
@click.option(
    "--keep",
    "keep",
    multiple=True,
    metavar="RUN",
    help="A run whose artefacts stay, a folder or a name beside the store; repeats.",
)
@click.option("--yes", is_flag=True, help="Delete; without it only list.")
@cache_option
@json_option
@click.pass_obj
def gc(
    plugins: tuple[str, ...], keep: tuple[str, ...], yes: bool, store: Path, as_json: bool
) -> None:
    """List what no kept run reaches; with --yes delete it.

    Checkpoints of unfinished stages of kept runs stay, and all that anybody works on. What a
    killed process was writing an hour ago goes too.
    """
    from fpbench.api import SpecError
    from fpbench.execute.runs import run_folder, runs_in
    from fpbench.execute.sweeping import open_runs, sweep, waste_of
    from fpbench.store import Store

    beside = list(runs_in(store.parent))
    if not keep:
        names = ", ".join(path.name for path in beside) or "none"
        text = f"expected --keep RUN for each run that is to stay, got none; there are {names}"
        raise SpecError([f"cache gc: {text}"])
    folders = [run_folder(run, store.parent) for run in keep]
    kept, unreadable = open_runs(folders, plugins, store)
    if unreadable:
        raise SpecError([_refusal(each) for each in unreadable])
    waste = waste_of(Store(store), kept)
    gone = sweep(Store(store), waste) if yes else 0
    same = {folder.resolve() for folder in folders}
    others = [path for path in beside if path.resolve() not in same]
    if as_json:
        told = {"deleted": yes, "bytes_deleted": gone, "not_kept": [str(path) for path in others]}
        click.echo(json.dumps(waste.as_json() | told, indent=2))
    else:
        _say(waste, others, gone if yes else None)


def _refusal(each: Unreadable) -> str:
    return f"cache gc: {each.folder} cannot be kept, so nothing is deleted: {each.reason}"


def _say(waste: Waste, others: Sequence[Path], gone: int | None) -> None:
    for what, sizes in (("artefact", waste.artefacts), ("checkpoints of", waste.checkpoints)):
        for key, size in sizes.items():
            click.echo(f"{what} {key[:12]}  {size:,} bytes")
    for path, size in waste.litter.items():
        click.echo(f"litter {path}  {size:,} bytes")
    for path in others:
        click.echo(f"not kept: {path}; it loses what it shares with no kept run")
    count = len(waste.artefacts) + len(waste.checkpoints) + len(waste.litter)
    if gone is not None:
        click.echo(f"{gone:,} bytes deleted")
    elif count:
        click.echo(f"{count} to be deleted, {waste.bytes:,} bytes. Next: the same with --yes")
    else:
        click.echo("Next: nothing is to be deleted")
