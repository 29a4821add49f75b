"""Issues a user's copy: what belongs to him alone, and the generator made of it."""

from __future__ import annotations

import time

from torch import Tensor

from fpbench.api import Generator, PassiveMethod, User
from fpbench.plan import Fit, Stage
from fpbench.stages import boundary
from fpbench.stages.bench import Bench
from fpbench.stages.checks import check_state
from fpbench.stages.context import StageContext, to_arrays
from fpbench.stages.process import call


def issue(stage: Stage, bench: Bench) -> None:
    """Issue a user's copy and keep its state, unless the store has it."""
    fit, user = stage.of_fit, stage.of_user
    if bench.store.has(stage.key):
        return
    if isinstance(fit.method.component, PassiveMethod):
        issued_to(bench, fit, user)  # which waits for no training
    else:
        copy_of(bench, fit, user)


def copy_of(bench: Bench, fit: Fit, user: int) -> Generator:
    """A user's copy; what was issued to him is kept where it was not yet."""
    method, who = fit.trainer, f"{fit.method.label}: issue"
    issued = issued_to(bench, fit, user)
    loan, ctx = bench.fit_loan(fit), bench.context("issue", user)
    with boundary.unharmed(who, bench.host_loan, loan):
        copy = call(method.assemble, loan.lent(), bench.lent_host(), issued, ctx)
    return boundary.returned(copy)


def copy_for(bench: Bench, fit: Fit, user: User) -> Generator:
    """The copy of somebody outside the run, with a code of his own; nothing of it is kept."""
    method, who = fit.trainer, f"{fit.method.label}: issue"
    issued, loan = issued_for(bench, fit, user), bench.fit_loan(fit)
    ctx = _outside(bench, user)
    with boundary.unharmed(who, bench.host_loan, loan):
        copy = call(method.assemble, loan.lent(), bench.lent_host(), issued, ctx)
    return boundary.returned(copy)


def issued_for(bench: Bench, fit: Fit, user: User) -> dict[str, Tensor]:
    """What is issued to somebody outside the run; once more, it is the same."""
    method, who = fit.trainer, f"{fit.method.label}: issue"
    loan, ctx = bench.fit_loan(fit), _outside(bench, user)
    with boundary.unharmed(who, bench.host_loan, loan):
        made = call(method.issue, loan.lent(), bench.lent_host(), user, bench.train_images, ctx)
    return boundary.cloned(check_state(who, made))


def _outside(bench: Bench, user: User) -> StageContext:
    return bench.context("issue", "outside", user.index)


def issued_to(bench: Bench, fit: Fit, user: int) -> dict[str, Tensor]:
    """What was issued to a user, in memory of its own; it is kept where it was not yet."""
    key = bench.plan.issue_key(fit, user)
    if bench.store.has(key):
        # Not kept at hand: of a large population there are many.
        return bench.on_device(bench.store.get(key).arrays)
    method, who = fit.trainer, f"{fit.method.label}: issue"
    person, samples, started = bench.user(fit, user), bench.train_images, time.monotonic()
    if isinstance(method, PassiveMethod):
        # Of the host's kind: it knows nothing of a training of any method.
        ctx = bench.context("passive", user, key=key)
        host = boundary.no_host(bench.suite.host, who)
        with bench.visit(who):
            made = method.issue({}, host, person, samples, ctx)
    else:
        ctx, loan = bench.context("issue", user, key=key), bench.fit_loan(fit)
        with boundary.unharmed(who, bench.host_loan, loan):
            made = call(method.issue, loan.lent(), bench.lent_host(), person, samples, ctx)
    issued = boundary.cloned(check_state(who, made))
    # The code is told so that others can check that it is the one that was drawn for the user.
    code = {"code": person.code.int().tolist()} if len(person.code) else {}
    meta = {"cost": {"wall_s": time.monotonic() - started}, **code}
    bench.store.put(key, to_arrays(issued), meta)
    bench.store.drop_checkpoints(key)
    return issued
