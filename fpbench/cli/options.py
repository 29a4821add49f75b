"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from fpbench.cli.completing import component_names, run_names, suite_names

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(path_type=Path, file_okay=False)


class Number(click.FloatRange):
    """A range of finite numbers: NaN is not in it, though it is not outside either."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """See `click.ParamType`."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


SHARE = Number(0, 1, min_open=True, max_open=True)
"""Between 0 and 1."""
_HOURS = Number(0, min_open=True)
_COUNT = click.IntRange(1, 1024)

FALSE_RATE = 1e-3
"""Of a trace, unless another is asked for."""

false_rate_option = click.option(
    "--false-rate",
    type=SHARE,
    default=FALSE_RATE,
    show_default=True,
    help="Chance, per reading, that anybody innocent in the registry is named.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
weights_option = click.option(
    "--weights",
    type=_FOLDER,
    envvar="FPBENCH_WEIGHTS",
    help="Folder of backbone weights brought by hand; default: $FPBENCH_WEIGHTS.",
)
runs_option = click.option(
    "--runs",
    type=_FOLDER,
    default=Path("runs"),
    show_default=True,
    help="Folder in which a RUN that is no path is looked for.",
)
beside_option = click.option(
    "--store", type=_FOLDER, help="Folder of artefacts; default: the store beside RUN."
)
registry_option = click.option(
    "--registry",
    "place",
    required=True,
    metavar="REGISTRY",
    help="A file (SQLite), or postgresql://…, as `fpbench users init` makes it.",
)
places_option = click.option(
    "--place",
    "places",
    multiple=True,
    metavar="NAME=PATH",
    callback=lambda ctx, param, given: _places(given),
    help="Where files of a bundle's host, method or data set are, by parameter; repeats.",
)
cache_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path("runs/store"),
    show_default=True,
    help="Folder of artefacts.",
)


suite_argument = click.argument("suite", shell_complete=suite_names)
run_argument = click.argument("run", shell_complete=run_names)


def suite_options(function: F) -> F:
    """What every command takes that reads a suite."""
    return _with(
        function,
        suite_argument,
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
            shell_complete=component_names("methods"),
            help="Only this method, perhaps with parameters; repeats.",
        ),
        click.option(
            "-a",
            "--attack",
            "attacks",
            multiple=True,
            metavar="NAME[k=v]",
            shell_complete=component_names("attacks"),
            help="Only this attack, e.g. 'jpeg[quality=90,50]'; repeats.",
        ),
        click.option("-s", "--seeds", metavar="0..4", help="Training seeds, e.g. 0..4 or 0,2."),
        weights_option,
    )


def store_options(function: F) -> F:
    """Where runs and their artefacts lie."""
    return _with(
        function,
        click.option(
            "--runs",
            type=_FOLDER,
            default=Path("runs"),
            show_default=True,
            help="Folder of runs and their store.",
        ),
        click.option(
            "--store",
            type=_FOLDER,
            help="Folder of artefacts; default: RUNS/store.",
        ),
    )


name_option = click.option("--name", help="Folder of the run in RUNS; default: the suite's name.")


def run_options(function: F) -> F:
    """What every command takes that looks at a run which is there."""
    return _with(function, run_argument, runs_option, beside_option)


@dataclass(frozen=True)
class How:
    """How a suite is run; None where it is not said.

    Attributes:
        device: name of it.
        devices: that one training is spread over.
        threads: of the CPU.
        jobs: at the same time.
        executor: selector of a cluster, or "local".
        repair: drop damaged artefacts and make them again.
        accept_source: take over what the run made with other source.
        allow_commands: run the commands and functions that the suite brings.
        keep_going: after a failure.
        stage_hours: that a stage may take.
        max_hours: that the run may take.
        page: render it.
        quiet: print only failures and the result.
        as_json: print the summary as JSON.
    """

    device: str | None
    devices: int | None
    threads: int | None
    jobs: int | None
    executor: str
    repair: bool
    accept_source: bool
    allow_commands: bool
    keep_going: bool
    stage_hours: float | None
    max_hours: float | None
    page: bool
    quiet: bool
    as_json: bool


def execution_options(*, again: bool = False) -> Callable[[F], F]:
    """What every command takes that runs a suite; it comes as one argument `how`.

    Args:
        again: it was run before, and what is not said is as it was then.
    """

    def default(text: str) -> str:
        return f"default: {'as before' if again else text}."

    options = (
        click.option(
            "--device", help=f"cpu, cuda, cuda:1; auto takes a GPU if any; {default('auto')}"
        ),
        click.option(
            "--devices",
            type=_COUNT,
            help=f"GPUs (or, on a CPU, processes) that one training is spread over; {default('1')}",
        ),
        click.option("--threads", type=_COUNT, help=f"CPU threads; {default('all cores')}"),
        click.option(
            "-j",
            "--jobs",
            type=_COUNT,
            help="Jobs at the same time; "
            + default("one for each GPU, else for each core, at most 4"),
        ),
        click.option(
            "--executor",
            default="local",
            show_default=True,
            metavar="NAME[k=v]",
            help="Where stages run: local, or a cluster, e.g. 'slurm[partition=gpu,cap=8,gpus=1]'.",
        ),
        click.option(
            "--allow-commands",
            is_flag=True,
            help="Run the commands and functions that the suite brings; look at them first.",
        ),
        click.option("--repair", is_flag=True, help="Drop damaged artefacts and make them again."),
        click.option(
            "--accept-source",
            is_flag=True,
            help="Reuse what this run made before you changed a component's source; records say "
            "so.",
        ),
        click.option(
            "--keep-going/--fail-fast",
            default=True,
            show_default=True,
            help="After a failure do what does not hang on it, or start nothing more.",
        ),
        click.option(
            "--stage-hours",
            type=_HOURS,
            metavar="HOURS",
            help="End a stage that takes longer; default: [limits] stage_hours of the suite, else "
            "never.",
        ),
        click.option(
            "--max-hours",
            type=_HOURS,
            metavar="HOURS",
            help="Save and stop after this time, as for Ctrl-C; the same command goes on.",
        ),
        click.option("--page/--no-page", default=True, show_default=True, help="Render the page."),
        click.option("-q", "--quiet", is_flag=True, help="Print only failures and the result."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
    )

    def gathering(function: F) -> F:
        @wraps(function)
        def gathered(*given: Any, **values: Any) -> Any:
            how = How(**{field.name: values.pop(field.name) for field in fields(How)})
            return function(*given, how=how, **values)

        return _with(gathered, *options)  # type: ignore[return-value]

    return gathering


def _with(function: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        function = option(function)
    return function


def _places(given: tuple[str, ...]) -> dict[str, Path]:
    """Parameter -> path of NAME=PATH."""
    found: dict[str, Path] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not (name and equals and path) or name in found:
            text = f"expected NAME=PATH, each name once, got {each!r}"
            raise click.BadParameter(text, param_hint="--place")
        found[name] = Path(path)
    return found
