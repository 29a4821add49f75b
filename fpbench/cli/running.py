"""`run` and `retry`: a suite executed into a store, and the command of a run once more."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fpbench.cli import exits
from fpbench.cli.options import (
    How,
    execution_options,
    name_option,
    run_options,
    store_options,
    suite_options,
    weights_option,
)

if TYPE_CHECKING:
    from fpbench.execute.request import Request
    from fpbench.plan import Plan


@click.command()
@suite_options
@store_options
@name_option
@execution_options()
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
    how: How,
) -> None:
    """Run SUITE: train, issue, attack, read, measure, render the page.

    SUITE is the name of a suite that comes with fpbench, the path of a suite.toml, or a board's
    folder like leaderboards/faces-32: with the settings that its numbers were made with, so that a
    method given by -m can join it. What is done already is not done again: the same command resumes
    a run that was stopped or killed.
    """
    from fpbench.execute.request import Request

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
    if name is not None and (Path(name).name != name or name.startswith(".")):
        raise click.UsageError(
            f"--name: expected the name of a folder in {runs}, got {name!r}; say where with --runs"
        )
    _execute(request, runs, name, how)


@click.command()
@run_options
@weights_option
@execution_options(again=True)
@click.pass_obj
def retry(
    plugins: tuple[str, ...],
    run: str,
    runs: Path,
    store: Path | None,
    weights: Path | None,
    how: How,
) -> None:
    """Run again what of RUN failed or is pending, with the suite and the options it was made with.

    RUN is a folder like runs/quickstart, or its name. What is done is not done again. Plugin
    modules (`fpbench -p MODULE retry …`) and weights are named again, since no file is trusted to
    name them; so are executor and limits, which belong to one attempt.
    """
    from fpbench.execute.request import read_request
    from fpbench.execute.runs import run_folder

    folder = run_folder(run, runs)
    before = read_request(folder, plugins, store or folder.parent / "store")
    request = replace(
        before,
        weights=str(weights or ""),
        device=how.device or before.device,
        devices=how.devices or before.devices,
        threads=how.threads or before.threads,
        backbones={},  # weights and images are looked at again
        data=None,
    )
    # Another device has another number of jobs; on the same one they stay, and with them the
    # threads of each stage.
    same = request.device == before.device
    jobs = how.jobs or (before.jobs if same else None)
    _execute(request, folder.parent, folder.name, replace(how, jobs=jobs))


def _execute(request: Request, runs: Path, name: str | None, how: How) -> None:
    """Run what is asked, print how it ended, end with its exit code."""
    from fpbench.cli.progress import looking, progress
    from fpbench.execute.allowing import check_system, refuse_commands
    from fpbench.execute.clusters import cluster_named
    from fpbench.execute.machine import default_jobs
    from fpbench.execute.run import Run, Settings, alone_in
    from fpbench.report.build import build_page

    check_system()
    started = time.monotonic()
    plan, catalogue = request.plan(looking())
    if not how.allow_commands:
        refuse_commands(plan, "run again with --allow-commands")
    say_remarks(plan)
    jobs = how.jobs or default_jobs(request.device, len(plan.fits), request.devices)
    request = replace(request, jobs=jobs)
    folder = runs / (name or plan.suite.header.name)
    _say_replaced(plan, folder)
    settings = Settings(
        cluster=cluster_named(how.executor, catalogue),
        command=_command(),
        repair=how.repair,
        accept_source=how.accept_source,
        fail_fast=not how.keep_going,
        stage_hours=how.stage_hours or plan.suite.limits.stage_hours or 0.0,
        most_hours=how.max_hours or 0.0,
    )
    with progress(quiet=how.quiet) as reporter:
        summary = Run(plan, request, folder, catalogue, reporter, settings).execute()
    if summary.interrupted:
        click.echo(f"Stopped; nothing is lost. To go on: {_command()}", err=True)
        sys.exit(exits.INTERRUPTED)
    with alone_in(folder, Path(request.store)):
        index = build_page(folder, folder / "page") if how.page else None
    if how.as_json:
        click.echo(json.dumps(summary.as_json() | {"page": str(index) if index else None}))
    else:
        _say_summary(plan, summary, folder, index, time.monotonic() - started)
    if summary.problems:
        sys.exit(exits.CELLS_FAILED if summary.measured else exits.NOTHING_MEASURED)
    if not summary.measured:
        sys.exit(exits.NOTHING_MEASURED)


def _say_replaced(plan: Plan, folder: Path) -> None:
    """Which methods and attacks of an earlier run of that name its page will not have any more.

    Its artefacts stay in the store, but whoever tries a method of his own beside one or two should
    not lose the page of a whole suite without a word.
    """
    try:
        before = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
        gone = [
            label
            for kind in ("methods", "attacks")
            for label in (each["label"] for each in before[kind])
            if label not in {each.label for each in getattr(plan.suite, kind)}
        ]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return  # a first run, or a folder that is no run's
    if gone:
        more = f" and {len(gone) - 6} more" if len(gone) > 6 else ""
        click.echo(
            f"note: {folder} is written anew without {', '.join(map(str, gone[:6]))}{more}; what "
            "was computed of them stays in the store. --name NAME makes a run beside it",
            err=True,
        )


def say_remarks(plan: Plan) -> None:
    """What a user should know of the images before anything is computed with them."""
    dataset = plan.suite.dataset
    for remark in dataset.remarks():
        click.echo(f"warning: dataset {dataset.name}: {remark}", err=True)


def _say_summary(plan: Plan, summary: Any, folder: Path, page: Path | None, seconds: float) -> None:
    counts = ", ".join(f"{n} {outcome}" for outcome, n in sorted(summary.cells.items()))
    click.echo(
        f"{plan.suite.header.name}: {counts}; {summary.executed} stages run in {seconds:.0f} s"
    )
    for line in summary.headline:
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
        click.echo(
            f"Records: {folder / 'records.jsonl'}, in Python: fpbench.open_run({str(folder)!r})"
        )
        click.echo(
            f"Next: `fpbench export {folder} -o FILE.zip` makes a file that others can check; "
            "`fpbench new method NAME` starts a method of your own"
        )
    else:
        click.echo(f"Render the page with: fpbench report {folder}")


def _command() -> str:
    return shlex.join(["fpbench", *sys.argv[1:]])
