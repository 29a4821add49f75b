"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def suite_options(function: F) -> F:
    """What every command takes that reads a suite."""
    return _with(
        function,
        click.argument("suite"),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="TABLE.KEY=VALUE",
            help="Change a value of the suite, e.g. dataset.use=image-folder; repeats.",
        ),
        click.option(
            "-m",
            "--method",
            "methods",
            multiple=True,
            metavar="NAME[k=v]",
            help="Only this method, perhaps with parameters; repeats.",
        ),
        click.option(
            "-a",
            "--attack",
            "attacks",
            multiple=True,
            metavar="NAME[k=v]",
            help="Only this attack, e.g. 'jpeg[quality=90,50]'; repeats.",
        ),
        click.option("-s", "--seeds", metavar="0..4", help="Training seeds, e.g. 0..4 or 0,2."),
        click.option(
            "--weights",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="FPBENCH_WEIGHTS",
            help="Folder of backbone weights brought by hand; default: $FPBENCH_WEIGHTS.",
        ),
    )


def store_options(function: F) -> F:
    """Where runs and their artefacts lie."""
    return _with(
        function,
        click.option(
            "--runs",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("runs"),
            show_default=True,
            help="Folder of runs and their store.",
        ),
        click.option(
            "--store",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of artefacts; default: RUNS/store.",
        ),
    )


def run_options(function: F) -> F:
    """What every command takes that looks at a run which is there."""
    return _with(
        function,
        click.argument("run"),
        click.option(
            "--runs",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("runs"),
            show_default=True,
            help="Folder in which a RUN that is no path is looked for.",
        ),
        click.option(
            "--store",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of artefacts; default: the store beside RUN.",
        ),
    )


def _with(function: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        function = option(function)
    return function
