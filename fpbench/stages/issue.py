"""Issues a user's copy: what belongs to him alone, and the generator made of it."""

from __future__ import annotations

import time

from fpbench.api import Generator, User
from fpbench.plan import Fit, Stage
from fpbench.stages import boundary
from fpbench.stages.bench import Bench
from fpbench.stages.checks import check_state
from fpbench.stages.context import to_arrays
from fpbench.stages.process import call


def issue(stage: Stage, bench: Bench) -> None:
    """Issue a user's copy and keep its state, unless the store has it."""
    if not bench.store.has(stage.key):
        copy_of(bench, stage.of_fit, stage.of_user)


def copy_of(bench: Bench, fit: Fit, user: int) -> Generator:
    """A user's copy; what was issued to him is kept where it was not yet."""
    method, who = fit.method.component, f"{fit.method.label}: issue"
    loan, code = bench.fit_loan(fit), bench.code(fit, user)
    key = bench.plan.issue_key(fit, user)
    ctx = bench.context("issue", user, key=key)
    started, new = time.monotonic(), not bench.store.has(key)
    with boundary.unharmed(who, bench.host_loan, loan):
        if new:
            person = User(user, code)
            made = call(
                method.issue, loan.lent(), bench.lent_host(), person, bench.train_images, ctx
            )
            issued = boundary.cloned(check_state(who, made))
        else:
            # Not kept at hand: of a large population there are many.
            issued = bench.on_device(bench.store.get(key).arrays)
        given = boundary.cloned(issued)
        copy = call(method.assemble, loan.lent(), bench.lent_host(), given, ctx)
    if new:
        # The code is told so that others can check that it is the one that was drawn for the user.
        meta = {"cost": {"wall_s": time.monotonic() - started}, "code": code.int().tolist()}
        bench.store.put(key, to_arrays(issued), meta)
        bench.store.drop_checkpoints(key)
    return boundary.returned(copy)
