"""Runs stages so that whoever ends their process loses his own cells alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from fpbench.execute.problems import Problem
from fpbench.execute.runner import Runner
from fpbench.execute.worker import Died, Worker
from fpbench.plan import Stage
from fpbench.plan.stages import cell_label
from fpbench.stages.place import Place, within

Deadly = defaultdict[int, list[Place]]
"""Number of a training -> where its process was when it died; not tried again."""


class Careful:
    """A worker whose stage is run again without the point at which its process died.

    Args:
        worker: runs the stages.
        deadly: shared by all workers of a run; None = this one's own.
    """

    def __init__(self, worker: Worker | Runner, deadly: Deadly | None = None) -> None:
        self.worker = worker
        self._deadly: Deadly = deadly if deadly is not None else defaultdict(list)

    def run(self, stage: Stage) -> list[Problem]:
        """Run a stage; problems of its cells, or one of its own."""
        lost: list[Problem] = []
        deadly = self._deadly[stage.fit.index] if stage.fit is not None else []
        while True:
            try:
                return lost + self.worker.run(stage.key, deadly)
            except Died as died:
                if died.at is None or stage.fit is None or died.at in deadly:
                    return [*lost, replace(died.problem, label=stage.label)]
                deadly.append(died.at)
                lost += [
                    replace(died.problem, key=cell.key, label=cell_label(cell))
                    for cell in stage.cells
                    if within(cell.point, died.at)
                ]

    def stop(self) -> None:
        """See `Worker.stop`."""
        self.worker.stop()

    def close(self) -> None:
        """See `Worker.close`."""
        self.worker.close()
