"""A pilot: takes stages of a run by lease, wherever it was started, until none is left for it.

Any number of them work on one store, together with whoever else does. SIGTERM saves and ends it;
started again, by whatever takes care of that, it goes on.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path

from fpbench.api import NoSpace
from fpbench.builtin.local.executor import LocalExecutor, LocalParams
from fpbench.execute.attempt import Attempt
from fpbench.execute.careful import Careful
from fpbench.execute.schedule import Schedule, pending_stages
from fpbench.execute.worker import Worker
from fpbench.plan import Stage, graph_of
from fpbench.plan.pending import is_done
from fpbench.stages.interrupt import Interrupt, Stopped, graceful
from fpbench.store import Leases, Store

IDLE_S = 30.0
"""Without a stage for so long, a pilot makes room for others."""


def main() -> None:
    """Serve the attempt whose folder is the first argument."""
    attempt = Attempt(Path(sys.argv[1]))
    request, settings = attempt.asked()
    plan, _ = request.plan()
    store, interrupt = Store(Path(request.store)), Interrupt()
    leases, stages = Leases(store.root), pending_stages(graph_of(plan), plan, store)
    worker = Careful(Worker(request, 0, settings["stage_s"]))

    def run(key: str) -> bool:
        started = time.monotonic()
        problems = worker.run(stages[key])
        attempt.end(key, time.monotonic() - started, problems)
        return all(problem.key != key for problem in problems)

    def verdict(stage: Stage) -> bool | None:
        told = attempt.ended(stage.key)
        if told is not None:
            return all(problem.key != stage.key for problem in told[1])
        return True if is_done(stage, plan, store) else None

    schedule = Schedule(stages, run, verdict, leases, lambda: interrupt.requested)
    # Whoever is asked to stop has saved, and has done nothing wrong.
    with graceful(interrupt), suppress(Stopped):
        try:
            schedule.walk(
                LocalExecutor(LocalParams()),
                lambda: worker.stop() if interrupt.requested else None,
                IDLE_S,
            )
        except NoSpace as error:
            attempt.give_up(str(error))
            raise
        finally:
            worker.close()
            leases.close()


if __name__ == "__main__":
    main()
