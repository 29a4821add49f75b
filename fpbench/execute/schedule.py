"""Walks a graph of stages: what may start, what is somebody else's, what is blocked."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from fpbench.api import Executor
from fpbench.plan import Graph, Kind, Plan, Stage
from fpbench.plan.pending import is_done
from fpbench.stages.interrupt import Stopped
from fpbench.store import Leases, Store
from fpbench.store.leases import Holder

_POLL_S = 0.5
"""Between two looks at the user's wishes, and at what another run computes."""
_WATCH_S = 1.0
"""Between two looks at what pilots do."""


def pending_stages(
    graph: Graph, plan: Plan, store: Store, *, whole: bool = False
) -> dict[str, Stage]:
    """The stages without which a cell has no numbers, and which are not done, in their order.

    Args:
        graph: of the plan.
        plan: what is run.
        store: what is there.
        whole: those too that no missing number needs.
    """
    found: set[str] = set()
    ahead = [stage.key for stage in graph.of(*(Kind if whole else (Kind.MEASURING,)))]
    seen = set(ahead)
    while ahead:
        stage = graph.stages[ahead.pop()]
        if is_done(stage, plan, store):
            continue
        found.add(stage.key)
        new = [key for key in stage.inputs if key not in seen]
        seen.update(new)
        ahead += new
    return {key: stage for key, stage in graph.stages.items() if key in found}


class Schedule:
    """Runs stages as they become ready; what stands behind a failure is not started.

    Measuring waits for its inputs however they end, since cells need only some of them.

    Args:
        stages: what to run.
        run: runs one stage; returns whether what stands behind it may run.
        verdict: how a stage has ended, in the meantime and at somebody else's; None = it has not.
        leases: keep two runs from computing the same.
        halted: whether nothing more may be started.
        memory_gib: what stages that run at the same time may ask for together; one that asks for
            more runs alone.
        waits: told of a stage that somebody else is at, when there is nothing else to do.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        run: Callable[[str], bool],
        verdict: Callable[[Stage], bool | None],
        leases: Leases,
        halted: Callable[[], bool],
        memory_gib: float = math.inf,
        waits: Callable[[Stage, Holder], None] = lambda stage, holder: None,
    ) -> None:
        self._stages = stages
        self._run = run
        self._verdict = verdict
        self._leases = leases
        self._halted = halted
        self._memory_gib = memory_gib
        self._waits = waits
        self._waiting = False
        self._left: dict[str, int] = {}
        self._behind: dict[str, list[str]] = {key: [] for key in stages}
        self._bad: set[str] = set()
        self._order = {key: number for number, key in enumerate(stages)}
        self._ready: list[tuple[int, str]] = []
        self._elsewhere: list[str] = []
        self._looked = 0.0
        for key, stage in stages.items():
            before = [name for name in set(stage.inputs) if name in stages]
            self._left[key] = len(before)
            for name in before:
                self._behind[name].append(key)
            if not before:
                heapq.heappush(self._ready, (self._order[key], key))

    def walk(
        self, executor: Executor[Any], tick: Callable[[], None], idle_s: float | None = None
    ) -> None:
        """Run everything that can be run.

        Args:
            executor: runs it.
            tick: called again and again while something runs.
            idle_s: seconds to wait for what others are at before the rest is left to them;
                None = to the end.
        """
        running: dict[Future[bool], str] = {}
        busy = time.monotonic()
        while True:
            self._look_again()
            while len(running) < executor.capacity() and not self._halted():
                ready = self._next(running.values())
                if ready is None:
                    break
                if self._starts(ready):
                    running[executor.submit(self._run, ready)] = ready
            if not running and (self._halted() or not (self._ready or self._elsewhere)):
                return
            if not running:
                if idle_s is not None and time.monotonic() - busy > idle_s:
                    return
                self._say_waiting()
                time.sleep(_POLL_S / 5)
                continue
            busy = time.monotonic()
            self._waiting = False
            tick()
            for future in wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)[0]:
                key = running.pop(future)
                self._leases.release(key)
                # One that has saved and stopped leaves the others the time to save, too.
                if not isinstance(future.exception(), Stopped):
                    self._ended(key, good=future.result())

    def _say_waiting(self) -> None:
        """Once for each time that there is nothing else to do, tell who is waited for."""
        for key in self._elsewhere if not self._waiting else ():
            holder = self._leases.holder(key)
            if holder is not None:
                self._waiting = True
                self._waits(self._stages[key], holder)
                return

    def _look_again(self) -> None:
        """Once in a while, take what others are at for ready: they may be through with it."""
        if self._elsewhere and time.monotonic() - self._looked > _POLL_S:
            self._looked = time.monotonic()
            for key in self._elsewhere:
                heapq.heappush(self._ready, (self._order[key], key))
            self._elsewhere.clear()

    def _next(self, running: Iterable[str]) -> str | None:
        """The first ready stage for which there is memory beside those that run."""
        used = [self._stages[key].needs.memory_gib for key in running]
        found, aside = None, []
        while self._ready and found is None:
            item = heapq.heappop(self._ready)
            if not used or sum(used) + self._stages[item[1]].needs.memory_gib <= self._memory_gib:
                found = item[1]
            else:
                aside.append(item)
        for item in aside:
            heapq.heappush(self._ready, item)
        return found

    def _starts(self, key: str) -> bool:
        """Whether a ready stage is ours to run; else it is done, or on somebody else's hands."""
        stage = self._stages[key]
        if not self._leases.take(key, stage.label):
            self._elsewhere.append(key)
            return False
        good = self._verdict(stage)
        if good is not None:
            self._leases.release(key)
            self._ended(key, good=good)
            return False
        return True

    def watch(self, tick: Callable[[int, list[Stage]], None]) -> None:
        """Follow what pilots do, without running anything here.

        Args:
            tick: called again and again with the number of stages that are at work, and those that
                are ready and nobody is at.
        """
        open_ = [key for _, key in sorted(self._ready)]
        self._ready.clear()
        while open_ and not self._halted():
            at_work, free = 0, []
            for key in list(open_):
                stage = self._stages[key]
                good = self._verdict(stage)
                if good is not None:
                    open_.remove(key)
                    self._ended(key, good=good)
                    open_ += [new for _, new in sorted(self._ready)]
                    self._ready.clear()
                    continue
                holder = self._leases.holder(key)
                if holder is not None and not holder.gone:
                    at_work += 1
                else:
                    free.append(stage)
            if open_:
                tick(at_work, [stage for stage in free if stage.key in open_])
                time.sleep(_WATCH_S)

    def _ended(self, key: str, *, good: bool) -> None:
        """Note how a stage has ended, and what that makes ready or lets fall."""
        ended = [(key, good)]
        while ended:
            name, well = ended.pop()
            # What an attack could not learn, readings try again, so that its own cells alone fail.
            if not well and self._stages[name].kind is not Kind.ATTACK_FIT:
                self._bad.add(name)
            for behind in self._behind[name]:
                self._left[behind] -= 1
                if self._left[behind]:
                    continue
                stage = self._stages[behind]
                blocked = self._bad.intersection(stage.inputs)
                if blocked and (stage.kind is not Kind.MEASURING or blocked >= self._own(stage)):
                    ended.append((behind, False))
                else:
                    heapq.heappush(self._ready, (self._order[behind], behind))

    def _own(self, stage: Stage) -> set[str]:
        return set(stage.inputs) & self._stages.keys()
