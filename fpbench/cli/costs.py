"""`fpbench plan --measure`: what the trainings of a suite would take on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fpbench.execute.request import Request
    from fpbench.plan import Plan
    from fpbench.stages.trial import Trial

_STEPS = 4
"""Of each phase of a training; the first one does not count."""


def say_costs(request: Request, *, as_json: bool) -> None:
    """Try every training of a suite for a few steps, and print what all of them would take."""
    import tempfile

    import torch

    from fpbench.execute.machine import processors, resolve_device
    from fpbench.stages.trial import try_trainings
    from fpbench.store import Store

    made = _planned(request)
    device = torch.device(resolve_device(request.device))
    torch.set_num_threads(processors())
    unit = "GPU-hours" if device.type == "cuda" else "hours of this machine"
    found: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        for trial in try_trainings(made, Store(Path(folder)), device, _STEPS):
            found.append(trial)
            if not as_json:
                click.echo(_line(trial))
    total = sum(trial.seconds for trial in found)
    if as_json:
        told = [{**asdict(trial), "seconds": trial.seconds} for trial in found]
        click.echo(json.dumps({"device": str(device), "trials": told, "seconds": total}, indent=2))
        return
    peak = max(trial.peak_bytes for trial in found) / 2**30
    click.echo(
        f"all trainings: about {total / 3600:.3g} {unit}, at most {peak:.1f} GiB; measured over "
        f"{_STEPS} steps of each on {device}, without attacks and readings"
    )


def _planned(request: Request) -> Plan:
    """The plan; of a published data set that is not here what it says of itself is enough."""
    from fpbench.api import MissingResource
    from fpbench.builtin.published_sets.datasets import Published
    from fpbench.plan import DataFacts
    from fpbench.registry import load
    from fpbench.spec import read_suite

    try:
        return request.plan()[0]
    except MissingResource:
        asked = read_suite(request.suite, load(request.plugins), assignments=request.assignments)
        if not isinstance(asked.dataset, Published):
            raise
        facts = DataFacts(asked.dataset.size, asked.dataset.counts, "not here")
        return replace(request, data=facts).plan()[0]


def _line(trial: Trial) -> str:
    from fpbench.execute.estimate import duration

    if trial.problem:
        return f"{trial.label}: not tried: {trial.problem}"
    phases = ", ".join(
        f"{name} {count:,} steps × {each:.3g} s" for name, (count, each) in trial.phases.items()
    )
    often = f", {trial.times} times" if trial.times > 1 else ""
    return (
        f"{trial.label}: {duration(trial.seconds)}{often} ({phases or 'no steps'}), "
        f"{trial.peak_bytes / 2**30:.1f} GiB"
    )
