"""`fpbench`: the commands. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.comparing import compare, say_detectable
from fpbench.cli.diagnosing import doctor
from fpbench.cli.explaining import why
from fpbench.cli.keeping import gc, ls
from fpbench.cli.options import store_options, suite_options
from fpbench.cli.preparing import prepare
from fpbench.cli.publishing import board, export, verify
from fpbench.cli.reporting import report
from fpbench.cli.retrying import retry
from fpbench.cli.scoring import score
from fpbench.cli.watching import logs, status

if TYPE_CHECKING:
    from fpbench.plan import Plan
    from fpbench.registry import Catalogue


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fpbench")
@click.option(
    "-p",
    "--plugin",
    "plugins",
    multiple=True,
    metavar="MODULE",
    help="Load a further plugin module; repeats.",
)
@click.pass_context
def cli(context: click.Context, plugins: tuple[str, ...]) -> None:
    """Measure fingerprints of generative image models.

    Start with `fpbench run quickstart`.
    """
    context.obj = plugins


@cli.command()
@suite_options
@store_options
@click.option("--name", help="Folder of this run in RUNS; default: the suite's name.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="cpu, cuda, cuda:1; auto takes a GPU if any.",
)
@click.option(
    "--devices",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="GPUs (or, on a CPU, processes) that one training is spread over.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default: all cores.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    help="Jobs at the same time; default: one for each GPU, else for each core, at most 4.",
)
@click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="NAME[k=v]",
    help="Where stages run: local, or a cluster, e.g. 'slurm[partition=gpu,cap=8,gpus=1]'.",
)
@click.option("--repair", is_flag=True, help="Drop damaged artefacts and make them again.")
@click.option(
    "--keep-going/--fail-fast",
    default=True,
    show_default=True,
    help="After a failure do what does not hang on it, or start nothing more.",
)
@click.option(
    "--stage-hours",
    type=click.FloatRange(0, min_open=True),
    metavar="HOURS",
    help="End a stage that takes longer; default: [limits] stage_hours of the suite, else never.",
)
@click.option(
    "--max-hours",
    type=click.FloatRange(0, min_open=True),
    metavar="HOURS",
    help="Save and stop after this time, as for Ctrl-C; the same command goes on.",
)
@click.option("--page/--no-page", default=True, show_default=True, help="Render the page.")
@click.option("-q", "--quiet", is_flag=True, help="Print only failures and the result.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_obj
def run(
    plugins: tuple[str, ...],
    suite: str,
    assignments: tuple[str, ...],
    methods: tuple[str, ...],
    attacks: tuple[str, ...],
    seeds: str | None,
    weights: Path | None,
    runs: Path,
    store: Path | None,
    name: str | None,
    device: str,
    devices: int,
    threads: int | None,
    jobs: int | None,
    executor: str,
    repair: bool,
    keep_going: bool,
    stage_hours: float | None,
    max_hours: float | None,
    page: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run SUITE: train, issue, attack, read, measure, render the page.

    SUITE is the name of a suite that comes with fpbench, or the path of a suite.toml. What is done
    already is not done again: the same command resumes a run that was stopped or killed.
    """
    from dataclasses import replace

    from fpbench.cli.progress import Progress
    from fpbench.execute.clusters import cluster_named
    from fpbench.execute.machine import default_jobs
    from fpbench.execute.request import Request
    from fpbench.execute.run import Run, Settings, alone_in
    from fpbench.report.build import build_page

    if os.name == "nt":
        raise click.UsageError(
            "run: expected Linux or macOS, got Windows, where fpbench reads, verifies and reports "
            "boards; run suites in WSL, a container or on another machine"
        )
    started = time.monotonic()
    request = Request(
        suite=suite,
        assignments=assignments,
        methods=methods,
        attacks=attacks,
        seeds=seeds,
        plugins=plugins,
        store=str(store or runs / "store"),
        weights=str(weights or ""),
        device=device,
        devices=devices,
        threads=threads,
    )
    if name is not None and (Path(name).name != name or name.startswith(".")):
        raise click.UsageError(
            f"--name: expected the name of a folder in {runs}, got {name!r}; say where with --runs"
        )
    plan, catalogue = request.plan()
    _say_remarks(plan)
    request = replace(request, jobs=jobs or default_jobs(device, len(plan.fits), devices))
    folder = runs / (name or plan.suite.header.name)
    settings = Settings(
        cluster=cluster_named(executor, catalogue),
        command=_command(),
        repair=repair,
        fail_fast=not keep_going,
        stage_hours=stage_hours or plan.suite.limits.stage_hours or 0.0,
        most_hours=max_hours or 0.0,
    )
    summary = Run(plan, request, folder, catalogue, Progress(quiet=quiet), settings).execute()
    if summary.interrupted:
        click.echo(f"Stopped; nothing is lost. To go on: {_command()}", err=True)
        sys.exit(exits.INTERRUPTED)
    with alone_in(folder, Path(request.store)):
        index = build_page(folder, folder / "page") if page else None
    if as_json:
        click.echo(json.dumps(summary.as_json() | {"page": str(index) if index else None}))
    else:
        _say_summary(plan, summary, folder, index, time.monotonic() - started)
    if summary.problems:
        sys.exit(exits.CELLS_FAILED if summary.measured else exits.NOTHING_MEASURED)
    if not summary.measured:
        sys.exit(exits.NOTHING_MEASURED)


def _say_summary(plan: Plan, summary: Any, folder: Path, page: Path | None, seconds: float) -> None:
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(summary.cells.items()))
    click.echo(
        f"{plan.suite.header.name}: {counts}; {summary.executed} stages run in {seconds:.0f} s"
    )
    for line in _headline(plan, folder):
        click.echo(line)
    for name, reason in summary.unavailable.items():
        click.echo(f"  unavailable: {name}: {reason}")
    for label, outcome, reason in summary.problems[:12]:
        click.echo(f"  {outcome}: {label}: {reason}")
    if len(summary.problems) > 12:
        click.echo(f"  … and {len(summary.problems) - 12} more; all are on the page")
    if summary.problems:
        click.echo(f"Logs: {folder / 'logs'}")
    if page is not None:
        click.echo(f"Open the leaderboard: {page.resolve().as_uri()}")
        click.echo(f"Records: {folder / 'records.jsonl'}   Your own method next: see README.md")
    else:
        click.echo(f"Render the page with: fpbench report {folder}")


def _headline(plan: Plan, folder: Path) -> list[str]:
    """One line for each training: the two numbers of untouched images that come first."""
    from fpbench.store import RecordLog

    score = plan.suite.score
    lines = [
        f"untouched images; attribution among N = {score.registered:,} users at a false rate of "
        f"{score.false_rate:g}:"
    ]
    rows = {
        (r["method"].get("label"), r["training_seed"], r["metric"]): r
        for r in RecordLog(folder / "records.jsonl").read().values()
        if r["point"]["label"] == "none" and r["variant"] == ""
    }
    for fit in plan.fits:
        shown = []
        for metric in ("bit-accuracy", "attribution"):
            row = rows.get((fit.method.label, fit.seed, metric), {})
            value = row.get("value")
            shown.append(
                f"{metric} {row.get('outcome', 'none') if value is None else f'{value:.4f}'}"
            )
        lines.append(f"  {fit.method.label:<28} {'   '.join(shown)}")
    return lines if rows else []


@cli.command()
@suite_options
@store_options
@click.option(
    "--detect",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="DIFFERENCE",
    help="Say instead what it takes to find this difference of two methods' rates, e.g. 0.02.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
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
    from fpbench.execute.request import Request
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
    )
    made, _ = request.plan()
    _say_remarks(made)
    status = status_of(made, Store(Path(request.store)))
    if as_json:
        click.echo(json.dumps(status.as_json(), indent=2))
        return
    for line in status.lines():
        click.echo(line)


@cli.command("list")
@click.argument(
    "kind",
    required=False,
    type=click.Choice(
        ["suites", "hosts", "methods", "attacks", "datasets", "metrics", "executors", "clusters"]
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
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
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
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


cli.add_command(board)
cli.add_command(compare)
cli.add_command(doctor)
cli.add_command(export)
cli.add_command(logs)
cli.add_command(prepare)
cli.add_command(report)
cli.add_command(retry)
cli.add_command(score)
cli.add_command(status)
cli.add_command(verify)
cli.add_command(why)


@cli.group()
def cache() -> None:
    """Look after the store of artefacts."""


@cache.command("verify")
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("runs/store"),
    show_default=True,
    help="Folder of artefacts.",
)
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


def _say_remarks(plan: Plan) -> None:
    """What a user should know of the images before anything is computed with them."""
    dataset = plan.suite.dataset
    for remark in dataset.remarks():
        click.echo(f"warning: dataset {dataset.name}: {remark}", err=True)


def _command() -> str:
    return shlex.join(["fpbench", *sys.argv[1:]])
