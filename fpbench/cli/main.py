"""`fpbench`: the commands. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.attacking import attack
from fpbench.cli.checking import check
from fpbench.cli.comparing import compare, say_detectable
from fpbench.cli.diagnosing import doctor
from fpbench.cli.explaining import why
from fpbench.cli.keeping import gc, ls
from fpbench.cli.merging import merge
from fpbench.cli.options import SHARE, cache_option, json_option, store_options, suite_options
from fpbench.cli.preparing import prepare
from fpbench.cli.publishing import board, export, verify
from fpbench.cli.reporting import report
from fpbench.cli.running import retry, run, say_remarks
from fpbench.cli.scaffolding import new
from fpbench.cli.scoring import score
from fpbench.cli.serving import serve
from fpbench.cli.tracing import issue, trace
from fpbench.cli.users import users
from fpbench.cli.watching import logs, status

if TYPE_CHECKING:
    from fpbench.registry import Catalogue


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
    """Measure fingerprints of generative image models.

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
@click.option("--device", help="Where, with --measure: cpu, cuda, ...; as it comes, a GPU if any.")
@json_option
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
    device: str | None,
    as_json: bool,
) -> None:
    """Show what `run` would do: what is stored, what is pending, what is refused and why."""
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
        say_detectable(read, detect, as_json=as_json)
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
        device=device or "auto",
    )
    if measure:
        from fpbench.cli.costs import say_costs

        say_costs(request, as_json=as_json)
        return
    made, _ = request.plan(looking())
    say_remarks(made)
    there = Store(Path(request.store))
    status = status_of(made, there)
    left = pending_stages(graph_of(made), made, there)
    jobs, past = default_jobs(request.device, len(made.fits)), past_of(made.suite.header.name, runs)
    about = estimate(left, past, jobs, partial(share_pending, plan=made, store=there))
    if as_json:
        click.echo(json.dumps(status.as_json() | {"estimate": asdict(about)}, indent=2))
        return
    *lines, following = status.lines()
    for line in [*lines, *([f"to be done: {about.line()}"] if left else []), following]:
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


@cli.command()
@click.argument("name")
@json_option
@click.pass_obj
def info(plugins: tuple[str, ...], name: str, as_json: bool) -> None:
    """Show a component's card and parameters."""
    from dataclasses import asdict

    from fpbench.api import SpecError
    from fpbench.registry.catalogue import KINDS

    catalogue = _catalogue(plugins)
    found = [(kind, name) for kind in KINDS if name in catalogue.names(kind)]
    disputes = [said for kind in KINDS if (said := catalogue.dispute(kind, name))]
    if not found:
        unknown = f"unknown component '{name}'; `fpbench list` shows all"
        raise SpecError(disputes or [unknown])
    for kind, each in found:
        cls = catalogue.component(kind, each)
        data = {
            "kind": kind,
            "name": each,
            "version": cls.version,
            "from": catalogue.origin(kind, each),
            **asdict(cls.card),
            **_attack_facts(cls),
            "params": cls.Params.model_json_schema().get("properties", {}),
        }
        if as_json:
            click.echo(json.dumps(data, indent=2))
            continue
        for key, value in data.items():
            if key != "params" and value:
                click.echo(f"{key:<10}{value}")
        for key, field in cls.Params.model_fields.items():
            click.echo(f"  {key} = {'…' if field.is_required() else repr(field.get_default())}")


def _attack_facts(cls: type[Any]) -> dict[str, str]:
    """What a suite's author asks of an attack: family, access, strength and its legal range."""
    from fpbench.api import Attack

    if not issubclass(cls, Attack):
        return {}
    facts = {"family": cls.family, "access": ", ".join(sorted(cls.access))}
    knob = cls.strength
    if knob is not None:
        grid = ", ".join(f"{v:g}" for v in knob.grid)
        unit = f" ({knob.unit})" if knob.unit else ""
        facts["strength"] = f"{knob.name}{unit}: {grid}; {knob.legal}"
        if knob.identity is not None:
            facts["strength"] += f", {knob.identity:g} changes nothing"
    return facts


@cli.command("plugins")
@click.pass_obj
def show_plugins(plugins: tuple[str, ...]) -> None:
    """Show which plugins are loaded, from where, and which could not be."""
    catalogue = _catalogue(plugins)
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
cli.add_command(logs)
cli.add_command(merge)
cli.add_command(new)
cli.add_command(prepare)
cli.add_command(report)
cli.add_command(retry)
cli.add_command(run)
cli.add_command(score)
cli.add_command(serve)
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
def verify_cache(store: Path) -> None:
    """Read every artefact and report the damaged ones by key and path."""
    from fpbench.store import Store

    opened = Store(store)
    damaged = opened.verify()
    for error in damaged:
        click.echo(str(error), err=True)
    click.echo(f"{len(list(opened.keys()))} artefacts, {len(damaged)} damaged")
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
