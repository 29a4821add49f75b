"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def suite_options(function: F) -> F:
    """The options of every command that takes a suite."""
    options = [
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
            "--runs",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("runs"),
            show_default=True,
            help="Folder of runs and their store.",
        ),
        click.option("--name", help="Folder of this run in RUNS; default: the suite's name."),
        click.option(
            "--store",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of artefacts; default: RUNS/store.",
        ),
        click.option(
            "--weights",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="FPBENCH_WEIGHTS",
            help="Folder of backbone weights brought by hand; default: $FPBENCH_WEIGHTS.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function
