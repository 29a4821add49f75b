"""What the trainings of a plan would cost here: a few steps of each, on images of noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    Conditions,
    Host,
    Method,
    PassiveMethod,
    SampleInfo,
    State,
    TrainedHost,
    User,
)
from fpbench.api.params import commands
from fpbench.plan import Fit, Plan
from fpbench.stages import resources
from fpbench.stages.boundary import no_host
from fpbench.stages.checks import check_state
from fpbench.stages.context import StageContext
from fpbench.store import Store

_CODE = 7  # seed of the code that a copy is issued with


@dataclass(frozen=True)
class Trial:
    """What one training would take.

    Attributes:
        label: what is trained.
        phases: name -> steps of the whole, seconds of one.
        beside_s: seconds that were spent beside steps.
        times: how often it is done.
        peak_bytes: of memory, of the GPU where it trains on one.
        problem: why it could not be tried: a host of a few steps may be too poor for a method.
    """

    label: str
    phases: dict[str, tuple[int, float]] = field(default_factory=dict)
    beside_s: float = 0.0
    times: int = 1
    peak_bytes: int = 0
    problem: str = ""

    @property
    def seconds(self) -> float:
        """Of the whole, as often as it is done."""
        steps = sum(count * each for count, each in self.phases.values())
        return self.times * (steps + self.beside_s)


class Noise:
    """As many samples of noise as a data set has, in its shape; an `fpbench.api.SampleStream`.

    Args:
        info: of the data set.
        count: samples.
        device: where they go.
    """

    def __init__(self, info: SampleInfo, count: int, device: torch.device) -> None:
        self.info = info
        self._count = count
        self._device = device

    def __len__(self) -> int:
        return self._count

    def read(self, indices: object) -> Tensor:
        """The samples at `indices`, each always the same."""
        numbers = np.asarray(indices, dtype=np.int64)
        rows = [np.random.default_rng(int(i)).bytes(self.info.nbytes) for i in numbers]
        values = np.frombuffer(b"".join(rows), dtype=self.info.dtype)
        samples = torch.from_numpy(values.reshape(len(numbers), *self.info.shape).copy())
        if len(self.info.shape) == 3:
            samples = samples.contiguous(memory_format=torch.channels_last)
        return samples.to(self._device)

    def conditions(self, indices: object) -> Conditions:
        """A word each, or class 0; none where the data set has none."""
        count = len(np.asarray(indices))
        if not self.info.conditions:
            return ()
        return ["a photograph"] * count if self.info.conditions == "captions" else [0] * count


def try_trainings(plan: Plan, store: Store, device: torch.device, steps: int) -> Iterator[Trial]:
    """Run a few steps of each training of a plan; nothing is kept.

    Args:
        plan: whose hosts and methods.
        store: that contexts are made with; not written to.
        device: where they are trained.
        steps: of each phase of a training, at least 2.

    Yields:
        One trial for the host and each stranger, for each method, and for what issues by training.
    """
    noise = Noise(plan.facts.info, plan.facts.counts["train"], device)
    seeds = len(plan.suite.training.seeds)

    def context(*root: object, bits: int = 0) -> StageContext:
        return StageContext(
            device,
            ("trial", *root),
            store,
            bits=bits,
            precision=plan.suite.training.precision,
            modality=plan.modality,
            info=plan.facts.info,
            trial_steps=steps,
            weights=plan.weights,
        )

    def generator(who: str, host: Host[Any]) -> tuple[State, Trial]:
        return _tried(who, context(who), lambda ctx: host.fit(noise, ctx))

    host = plan.suite.host
    made, trial = generator(f"host {host.name}", host)
    yield trial
    for other in plan.suite.strangers:
        yield generator(f"stranger {other.label}", other.component)[1]
    trained = TrainedHost(host, made, host.assemble(made, context("assemble")))
    firsts: dict[str, Fit] = {}
    for fit in plan.fits:
        if fit.seed == plan.suite.training.seeds[0]:
            firsts.setdefault(fit.key, fit)  # of those that share a training
    for fit in firsts.values():
        if commands(fit.method.component.params):
            yield Trial(fit.method.label, problem="a plan does not run what the suite brings")
            continue
        try:
            yield from _of_method(plan, fit, trained, noise, context, seeds)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
            yield Trial(fit.method.label, problem=str(error) or type(error).__name__)


def _of_method(
    plan: Plan,
    fit: Fit,
    trained: TrainedHost,
    noise: Noise,
    context: Callable[..., StageContext],
    seeds: int,
) -> Iterator[Trial]:
    method, label = fit.trainer, fit.method.label
    lent = trained if method.uses_host else no_host(plan.suite.host, label)
    times = seeds if method.trains else 1
    state, trial = _tried(
        label, context(label, bits=method.bits), lambda ctx: method.fit(lent, noise, ctx), times
    )
    yield trial
    if type(method).issue in (Method.issue, PassiveMethod.issue):
        return  # nothing is trained, or what was tried as the host
    code = torch.rand(method.bits, generator=torch.Generator().manual_seed(_CODE)) < 0.5
    user = User(0, code.to(noise.read([0]).device))
    users = len(plan.users(fit)) * times
    yield _tried(
        f"{label}: copies",
        context(label, "issue"),
        lambda ctx: method.issue(state, trained, user, noise, ctx),
        users,
    )[1]


def _tried(
    label: str, ctx: StageContext, body: Callable[[StageContext], State], times: int = 1
) -> tuple[State, Trial]:
    cuda = ctx.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(ctx.device)
    started = time.monotonic()
    with resources.Peak() as peak:
        state = check_state(f"{label}: fit", body(ctx))
    spent = time.monotonic() - started
    size = torch.cuda.max_memory_allocated(ctx.device) if cuda else peak.bytes
    return state, Trial(label, dict(ctx.trials), max(0.0, spent - ctx.tried_s), times, size)
