"""What the owner prepares of all registered users, once they have their copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from fpbench.api import Generator, State, User
from fpbench.plan import Fit, Stage
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, chunks
from fpbench.stages.checks import check_state
from fpbench.stages.context import to_arrays
from fpbench.stages.issue import copy_for, copy_of, issued_for, issued_to
from fpbench.stages.process import call


@dataclass(frozen=True)
class EnrolledUser:
    """A registered user; an `fpbench.api.Enrolled`."""

    user: User
    _issued: Callable[[], State]
    _samples: Callable[[int], Tensor]

    @property
    def issued(self) -> State:
        """See `Enrolled.issued`."""
        return self._issued()

    def samples(self, count: int) -> Tensor:
        """See `Enrolled.samples`."""
        return self._samples(count)


def enrol(stage: Stage, bench: Bench) -> None:
    """Enrol the registered users and keep what comes of it, unless the store has it."""
    if bench.store.has(stage.key):
        return
    started = time.monotonic()
    state = enrolled(bench, stage.of_fit, bench.plan.users(stage.of_fit), stage.key)
    meta = {"cost": {"wall_s": time.monotonic() - started}}
    bench.store.put(stage.key, to_arrays(state), meta)
    bench.store.drop_checkpoints(stage.key)


def enrolled(bench: Bench, fit: Fit, users: Iterable[int], key: str = "") -> State:
    """What a method prepares of some users; with the key of a stage it may keep checkpoints."""
    return _prepared(bench, fit, [_enrolled(bench, fit, user) for user in users], key)


def enrolled_for(bench: Bench, fit: Fit, users: Iterable[User]) -> State:
    """What a method prepares of users outside the run, each of whom it tells apart on his own."""
    return _prepared(bench, fit, [_enrolled_for(bench, fit, user) for user in users])


def _prepared(bench: Bench, fit: Fit, people: list[EnrolledUser], key: str = "") -> State:
    ctx = bench.context("enrol", fit.drawn_from, key=key, bits=fit.method.component.bits)
    method, who = fit.method.component, f"{fit.method.label}: enrol"
    loan = bench.fit_loan(fit)
    with boundary.unharmed(who, bench.host_loan, loan):
        host, samples = bench.lent_host(), bench.train_images
        made = call(method.enrol, loan.lent(), host, people, samples, ctx)
    return boundary.cloned(check_state(who, made))


def _enrolled(bench: Bench, fit: Fit, user: int) -> EnrolledUser:
    return EnrolledUser(
        bench.user(fit, user),
        lambda: issued_to(bench, fit, user),
        lambda count: _samples(bench, copy_of(bench, fit, user), f"enrol {user}", count),
    )


def _enrolled_for(bench: Bench, fit: Fit, user: User) -> EnrolledUser:
    purpose = f"enrol outside {user.index}"
    return EnrolledUser(
        user,
        lambda: issued_for(bench, fit, user),
        lambda count: _samples(bench, copy_for(bench, fit, user), purpose, count),
    )


def _samples(bench: Bench, copy: Generator, purpose: str, count: int) -> Tensor:
    """(count, 3, H, W) images of a copy that nothing is measured on."""
    import torch

    latents = (bench.latents(copy, [(purpose, int(i)) for i in chunk]) for chunk in chunks(count))
    return torch.cat([boundary.drawn(copy, own) for own in latents])
