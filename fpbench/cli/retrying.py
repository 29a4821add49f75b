"""`retry`: the command that a run was made with, once more."""

from __future__ import annotations

from pathlib import Path

import click

from fpbench.cli.options import run_options


@click.command()
@run_options
@click.option(
    "--weights",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="FPBENCH_WEIGHTS",
    help="Folder of backbone weights brought by hand; default: $FPBENCH_WEIGHTS.",
)
@click.option("--device", help="cpu, cuda, cuda:1, auto; default: as before.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default: as before.")
@click.option("-j", "--jobs", type=click.IntRange(1), help="Jobs at a time; default: as before.")
@click.option("--repair", is_flag=True, help="Drop damaged artefacts and make them again.")
@click.option("-q", "--quiet", is_flag=True, help="Print only failures and the result.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def retry(
    context: click.Context,
    run: str,
    runs: Path,
    store: Path | None,
    weights: Path | None,
    device: str | None,
    threads: int | None,
    jobs: int | None,
    repair: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run again what of RUN failed or is pending, with the suite and the options it was made with.

    RUN is a folder like runs/quickstart, or its name. What is done is not done again. Plugin
    modules (`fpbench -p MODULE retry …`) and weights are named again, since no file is trusted to
    name them.
    """
    from fpbench.execute.request import read_request
    from fpbench.execute.runs import run_folder

    folder = run_folder(run, runs)
    place = store or folder.parent / "store"
    request = read_request(folder, context.obj, place)
    assert context.parent is not None
    group = context.parent.command
    assert isinstance(group, click.Group)
    # Another device has another number of jobs; on the same one they stay, and with them the
    # threads of each stage.
    before = request.jobs if device in (None, request.device) else None
    context.invoke(
        group.commands["run"],
        suite=request.suite,
        assignments=request.assignments,
        methods=request.methods,
        attacks=request.attacks,
        seeds=request.seeds,
        weights=weights,
        runs=folder.parent,
        store=place,
        name=folder.name,
        device=device or request.device,
        devices=request.devices,
        threads=threads or request.threads,
        jobs=jobs or before,
        repair=repair,
        quiet=quiet,
        as_json=as_json,
    )
