"""A suite run from Python: what `fpbench run` does, without a word."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from fpbench.api import Outcome, SpecError
from fpbench.execute.allowing import check_system, refuse_commands
from fpbench.execute.machine import default_jobs
from fpbench.execute.request import Request
from fpbench.execute.run import Run as Execution
from fpbench.execute.run import Settings, alone_in
from fpbench.python.runs import Run
from fpbench.registry.catalogue import LEFT_OUT
from fpbench.report.build import build_page

_NOTHING: Mapping[str, object] = MappingProxyType({})


def run(
    suite: str | Path,
    *,
    methods: Sequence[str] = (),
    attacks: Sequence[str] = (),
    seeds: str | Iterable[int] | None = None,
    set: Mapping[str, object] = _NOTHING,
    runs: str | Path = "runs",
    store: str | Path | None = None,
    name: str | None = None,
    device: str = "auto",
    jobs: int | None = None,
    weights: str | Path | None = None,
    plugins: Sequence[str] = (),
    allow_commands: bool = False,
) -> Run:
    """Run a suite as `fpbench run` does: what is done already is not done again.

    What fails is in the records, and nothing is raised for it.

    Args:
        suite: name of a suite, or path of a suite.toml.
        methods: only these, perhaps with parameters: "hidden[bits=16]".
        attacks: only these: "jpeg[quality=90,50]".
        seeds: training seeds, such as range(3) or "0..2"; None = the suite's.
        set: "table.key" -> value, which changes the suite.
        runs: folder of runs.
        store: folder of artefacts; None = `store` in `runs`.
        name: folder of this run in `runs`; None = the suite's name.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU if there is one.
        jobs: at the same time; None = one for each GPU, else for each core, at most four.
        weights: folder of network weights brought by hand.
        plugins: further plugin modules or files, as `fpbench -p MODULE`; processes must find them.
            "no:NAME" leaves out an installed plugin.
        allow_commands: run the commands and functions that the suite brings.

    Returns:
        The run, whose page is rendered too.

    Raises:
        SpecError: the suite, or what is asked of it, is wrong.
        MissingResource: the machine lacks something; the message says how to get it.
        NoSpace: the disk is full; what was done stays.
        KeyboardInterrupt: it was stopped; nothing is lost, and the same call goes on.
    """
    check_system()
    if name is not None and (Path(name).name != name or name.startswith(".")):
        raise SpecError([f"run: expected the name of a folder in {runs} as `name`, got {name!r}"])
    request = Request(
        suite=str(suite),
        assignments=tuple(f"{key}={_toml(value)}" for key, value in set.items()),
        methods=tuple(methods),
        attacks=tuple(attacks),
        seeds=seeds if seeds is None or isinstance(seeds, str) else ",".join(map(str, seeds)),
        plugins=tuple(plugins),
        store=str(store or Path(runs) / "store"),
        weights=str(weights or ""),
        device=device,
    )
    plan, catalogue = request.plan()
    if not allow_commands:
        refuse_commands(plan, "run again with allow_commands=True")
    for remark in plan.suite.dataset.remarks():
        warnings.warn(f"dataset {plan.suite.dataset.name}: {remark}", stacklevel=2)
    request = replace(request, jobs=jobs or default_jobs(device, len(plan.fits)))
    folder = Path(runs) / (name or plan.suite.header.name)
    settings = Settings(
        command=_command(request, Path(runs), name),
        stage_hours=plan.suite.limits.stage_hours or 0.0,
    )
    summary = Execution(plan, request, folder, catalogue, _Silent(), settings).execute()
    if summary.interrupted:
        raise KeyboardInterrupt("run: stopped; nothing is lost, and the same call goes on")
    with alone_in(folder, Path(request.store)):
        build_page(folder, folder / "page")
    return Run(folder, Path(request.store), tuple(plugins))


def _toml(value: object) -> str:
    """A value of a suite as TOML, which writes such values as JSON does."""
    plain = str(value) if isinstance(value, Path) else value
    return json.dumps(plain, ensure_ascii=False)


def _command(request: Request, runs: Path, name: str | None) -> str:
    """The command that does the same, for the records."""
    words = ["fpbench"]
    for name in request.plugins:
        words += ["-P", name.removeprefix(LEFT_OUT)] if name.startswith(LEFT_OUT) else ["-p", name]
    words += ["run", request.suite, "--runs", str(runs), *(["--name", name] if name else [])]
    for option, values in (
        ("--set", request.assignments),
        ("-m", request.methods),
        ("-a", request.attacks),
        ("-s", (request.seeds,) if request.seeds is not None else ()),
    ):
        words += [word for value in values for word in (option, value)]
    return shlex.join(words)


class _Silent:
    """A `fpbench.execute.run.Reporter` that says nothing."""

    def planned(self, stages: int, about: str) -> None:
        pass

    def ended(self) -> None:
        pass

    def started(self, label: str) -> None:
        pass

    def progress(self, label: str, done: int, total: int, text: str) -> None:
        pass

    def finished(self, label: str, outcome: Outcome, seconds: float, note: str) -> None:
        pass

    def waiting(self, label: str, whom: str) -> None:
        pass
