"""`fpbench`: the commands. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fpbench.cli import exits
from fpbench.cli.attacking import attack
from fpbench.cli.checking import check
from fpbench.cli.comparing import compare, say_detectable
from fpbench.cli.diagnosing import doctor
from fpbench.cli.explaining import why
from fpbench.cli.keeping import gc, ls
from fpbench.cli.merging import merge
from fpbench.cli.options import (
    SHARE,
    How,
    cache_option,
    execution_options,
    json_option,
    name_option,
    store_options,
    suite_options,
)
from fpbench.cli.preparing import prepare
from fpbench.cli.publishing import board, export, verify
from fpbench.cli.reporting import report
from fpbench.cli.running import retry, run, say_remarks
from fpbench.cli.scaffolding import new
from fpbench.cli.scoring import score
from fpbench.cli.serving import serve
from fpbench.cli.showing import info, show
from fpbench.cli.tracing import issue, trace
from fpbench.cli.users import users
from fpbench.cli.watching import logs, status

if TYPE_CHECKING:
    from fpbench.registry import Catalogue

_BEFORE = {"-p", "--plugin", "-P", "--without"}
"""Options of all commands, which stand before the command."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fpbench")
@click.option(
    "-p",
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE|FILE.py",
    help="Load a further plugin, a module or a single file; repeats.",
)
@click.option(
    "-P",
    "--without",
    "left_out",
    multiple=True,
    metavar="NAME",
    help="Leave out an installed plugin, by its name or that of its distribution; repeats.",
)
@click.pass_context
def cli(context: click.Context, plugins: tuple[str, ...], left_out: tuple[str, ...]) -> None:
    """Measure fingerprints of generative models.

    Start with `fpbench run quickstart`.
    """
    context.obj = (*plugins, *(f"no:{name}" for name in left_out))


@cli.command()
@suite_options
@store_options
@click.option(
    "--detect",
    type=SHARE,
    metavar="DIFFERENCE",
    help="Say instead what it takes to find this difference of two methods' rates, e.g. 0.02.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Run a few steps of every training on noise, and say what all of them would take here.",
)
@name_option
@execution_options()
@click.pass_obj
def plan(
    plugins: tuple[str, ...],
    suite: str,
    assignments: tuple[str, ...],
    methods: tuple[str, ...],
    attacks: tuple[str, ...],
    seeds: str | None,
    weights: Path | None,
    runs: Path,
    store: Path | None,
    detect: float | None,
    measure: bool,
    name: str | None,
    how: How,
) -> None:
    """Show what `run` would do: what is stored, what is pending, what is refused and why.

    It takes what `run` takes, so that the word is all that changes; what says how a run is
    computed is of no matter here but for the estimate.
    """
    del name
    if detect is not None:
        # Only the suite is asked, so neither its data nor a store need be there.
        from fpbench.spec import read_suite

        read = read_suite(
            suite,
            _catalogue(plugins),
            assignments=assignments,
            methods=methods,
            attacks=attacks,
            seeds=seeds,
        )
        say_detectable(read, detect, as_json=how.as_json)
        return
    from dataclasses import asdict
    from functools import partial

    from fpbench.cli.progress import looking
    from fpbench.execute.estimate import estimate, past_of
    from fpbench.execute.machine import default_jobs
    from fpbench.execute.request import Request
    from fpbench.execute.schedule import pending_stages
    from fpbench.plan import graph_of
    from fpbench.plan.pending import share_pending
    from fpbench.plan.status import status_of
    from fpbench.store import Store

    request = Request(
        suite=suite,
        assignments=assignments,
        methods=methods,
        attacks=attacks,
        seeds=seeds,
        plugins=plugins,
        store=str(store or runs / "store"),
        weights=str(weights or ""),
        device=how.device or "auto",
        devices=how.devices or 1,
        threads=how.threads,
    )
    if measure:
        from fpbench.cli.costs import say_costs

        say_costs(request, as_json=how.as_json)
        return
    made, _ = request.plan(looking())
    say_remarks(made)
    there = Store(Path(request.store))
    status = status_of(made, there)
    left = pending_stages(graph_of(made), made, there)
    jobs = how.jobs or default_jobs(request.device, len(made.fits), request.devices)
    past = past_of(made.suite.header.name, runs)
    about = estimate(left, past, jobs, partial(share_pending, plan=made, store=there))
    if how.as_json:
        click.echo(json.dumps(status.as_json() | {"estimate": asdict(about)}, indent=2))
        return
    *lines, following = status.lines()
    if left:
        lines.append(f"to be done: {about.line()}")
    if about.unknown:
        lines.append(
            f"  unknown: `fpbench plan {suite} --measure` tries a few steps of each training"
        )
    for line in [*lines, following]:
        click.echo(line)


@cli.command("list")
@click.argument(
    "kind",
    required=False,
    type=click.Choice([
        "suites", "modalities", "hosts", "methods", "codes", "attacks", "datasets", "metrics",
        "executors", "clusters",
    ]),
)  # fmt: skip
@json_option
@click.pass_obj
def list_components(plugins: tuple[str, ...], kind: str | None, as_json: bool) -> None:
    """List what is installed: suites and components of every kind."""
    from fpbench.registry.catalogue import KINDS
    from fpbench.spec import suite_names

    catalogue = _catalogue(plugins)
    kinds = [kind] if kind else ["suites", *KINDS]
    table: dict[str, list[dict[str, str]]] = {}
    for each in kinds:
        if each == "suites":
            table[each] = [{"name": name} for name in suite_names()]
            continue
        table[each] = [
            {
                "name": name,
                "from": catalogue.origin(each, name),
                "summary": catalogue.component(each, name).card.summary,
            }
            for name in catalogue.names(each)
        ]
    for dispute in catalogue.disputes(*kinds):
        click.echo(dispute, err=True)
    if as_json:
        click.echo(json.dumps(table, indent=2))
        return
    for each, rows in table.items():
        click.echo(each)
        for row in rows:
            click.echo(f"  {row['name']:<24}{row.get('summary', '')}".rstrip())


@cli.command("plugins")
@json_option
@click.pass_obj
def show_plugins(plugins: tuple[str, ...], as_json: bool) -> None:
    """Show which plugins are loaded, from where, and which could not be."""
    catalogue = _catalogue(plugins)
    if as_json:
        from dataclasses import asdict

        failed = [asdict(each) for each in catalogue.unavailable]
        table = {"loaded": catalogue.distributions, "unavailable": failed}
        click.echo(json.dumps(table | {"disputes": catalogue.disputes()}, indent=2))
        sys.exit(exits.PLUGIN if failed or catalogue.disputes() else 0)
    for name, origin in sorted(catalogue.distributions.items()):
        click.echo(f"{name:<24}{origin}")
    for broken in catalogue.unavailable:
        click.echo(f"{broken.plugin:<24}{broken.distribution}  could not be loaded: {broken.error}")
    for dispute in catalogue.disputes():
        click.echo(dispute)
    if catalogue.unavailable or catalogue.disputes():
        sys.exit(exits.PLUGIN)


cli.add_command(attack)
cli.add_command(board)
cli.add_command(check)
cli.add_command(compare)
cli.add_command(doctor)
cli.add_command(export)
cli.add_command(info)
cli.add_command(logs)
cli.add_command(merge)
cli.add_command(new)
cli.add_command(prepare)
cli.add_command(report)
cli.add_command(retry)
cli.add_command(run)
cli.add_command(score)
cli.add_command(serve)
cli.add_command(show)
cli.add_command(status)
cli.add_command(issue)
cli.add_command(trace)
cli.add_command(users)
cli.add_command(verify)
cli.add_command(why)


@cli.group()
def cache() -> None:
    """Look after the store of artefacts."""


@cache.command("verify")
@cache_option
@json_option
def verify_cache(store: Path, as_json: bool) -> None:
    """Read every artefact and report the damaged ones by key and path."""
    from fpbench.store import Store

    opened = Store(store)
    damaged = opened.verify()
    count = len(list(opened.keys()))
    if as_json:
        told = [{"key": error.key, "path": error.path, "reason": str(error)} for error in damaged]
        click.echo(json.dumps({"artefacts": count, "damaged": told}))
    else:
        for error in damaged:
            click.echo(str(error), err=True)
        click.echo(f"{count} artefacts, {len(damaged)} damaged")
    if damaged:
        sys.exit(exits.VERIFICATION_FAILED)


cache.add_command(ls)
cache.add_command(gc)


def main() -> None:
    """Entry point: turns errors into messages and exit codes."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.option_name in _BEFORE:
            click.echo(
                f"{error.option_name} stands before the command: fpbench {error.option_name} … "
                f"{error.ctx.info_name if error.ctx else 'run'} …",
                err=True,
            )
        sys.exit(exits.USAGE)
    except click.exceptions.Abort:
        sys.exit(exits.INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(exits.INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; what is left to say goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:  # noqa: BLE001 - what nobody foresaw still gets an exit code
        # Imported here, so that --help starts in a moment.
        from fpbench.api import FpbenchError

        if isinstance(error, FpbenchError):
            click.echo(f"fpbench: {error}", err=True)
            sys.exit(exits.exit_code(error))
        if isinstance(error, OSError):
            click.echo(
                f"fpbench: expected to read and write where it was told to, got {error}; mend that "
                "place or name another, and run the same command again",
                err=True,
            )
            sys.exit(exits.ENVIRONMENT)
        click.echo(
            f"fpbench: internal error: {type(error).__name__}: {error}\n"
            "This is a fault of fpbench; please report it with the lines below.",
            err=True,
        )
        import traceback

        traceback.print_exc()
        sys.exit(exits.INTERNAL)


def _catalogue(plugins: tuple[str, ...]) -> Catalogue:
    from fpbench.registry import load

    return load(plugins)
