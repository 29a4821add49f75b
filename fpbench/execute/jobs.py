"""Jobs: the units an executor runs. A job is a short text, so that any process can run it.

    host             train the host
    choose-host      choose among the host's snapshots
    reference        features of real images
    backbone:NAME    load a published network; its features of real images
    host-features    the published networks' features of host images
    fit:F            train method fit F
    choose:F         choose among the snapshots of fit F
    tune:F           choose the parameters of the attacks that are tuned against fit F
    copies:F:P/Q     attack and read copies P, P + Q, P + 2Q, … of fit F
    negatives:F      attack and read the negatives of fit F
    secrecy:F        train a detector of fit F's fingerprints, and try it

Running a job twice is free: every body first looks for its artefacts.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpbench.api import MissingResource, NoSpace, Outcome, OutOfMemory
from fpbench.api.context import Peers
from fpbench.execute import process
from fpbench.execute.interrupt import Interrupt
from fpbench.execute.request import Request
from fpbench.plan import Fit, Plan
from fpbench.store import Store

if TYPE_CHECKING:
    import torch

    from fpbench.execute.session import Session


@dataclass(frozen=True)
class Problem:
    """Something that failed.

    Attributes:
        key: of the stage or cell that has no result.
        label: for people.
        outcome: failed or unavailable.
        reason: one line.
        trace: the traceback.
    """

    key: str
    label: str
    outcome: Outcome
    reason: str
    trace: str


class JobRunner:
    """Runs jobs in this process; loads torch at the first one.

    Args:
        plan: what the jobs belong to.
        request: device, threads, store.
        store: opened store.
        on_progress: told (done, total, text).
        interrupt: set when the user wants to stop.
        slot: number of this process among those that share the machine.
    """

    def __init__(
        self,
        plan: Plan,
        request: Request,
        store: Store,
        on_progress: Callable[[int, int, str], None] | None = None,
        interrupt: Interrupt | None = None,
        slot: int = 0,
    ) -> None:
        self._plan = plan
        self._request = request
        self._store = store
        self.on_progress = on_progress or (lambda done, total, text: None)
        self._interrupt = interrupt or Interrupt()
        self._slot = slot
        self._loaded: Session | None = None

    def run(self, job: str) -> list[Problem]:
        """Run a job; what a plugin breaks comes back as problems.

        Raises:
            NoSpace: the disk is full.
            KeyboardInterrupt: the user stopped it, after everything was saved.
        """
        try:
            session = self._session(job)
            with process.job():
                return self._run(session, job)
        except NoSpace:
            raise
        except Exception as error:  # noqa: BLE001 - the worker turns any failure into an outcome
            return [problem_of(job, job, error)]

    def _run(self, session: Session, job: str) -> list[Problem]:
        kind, _, rest = job.partition(":")
        if kind == "copies":
            return self._copies(session, rest)
        if kind == "negatives":
            fit = self._plan.fits[int(rest)]
            return self._cell_problems(fit, session.read_negatives(fit))
        of_fit = {"choose": session.choose, "tune": session.tune, "secrecy": session.secrecy}
        if kind in ("host", "fit"):
            self._train(session, job)
        elif kind in of_fit:
            of_fit[kind](self._plan.fits[int(rest)])
        elif kind == "backbone":
            session.backbone(rest)
        else:
            alone = {
                "choose-host": session.choose_host,
                "reference": session.reference,
                "host-features": session.host_features,
            }
            alone[kind]()
        return []

    def device(self, rank: int = 0) -> torch.device:
        """Where this process computes: each slot has as many devices as a training takes."""
        import torch

        place = self._slot * self._request.devices + rank
        return torch.device(resolve_device(self._request.device, place, self._request.devices))

    def train(self, job: str, device: torch.device, peers: Peers) -> None:
        """Help with a training that another process leads."""
        import torch

        from fpbench.execute.session import Session

        torch.set_num_threads(job_threads(self._request, job))
        session = Session(self._plan, self._store, device, peers=peers)
        self._fit(session, job)

    def _train(self, session: Session, job: str) -> None:
        from fpbench.execute.together import group_of

        if self._stored(job):
            return
        with group_of(self._request, job, self._slot, session.device) as peers:
            session.peers = peers
            try:
                self._fit(session, job)
            finally:
                session.peers = Peers()

    def _stored(self, job: str) -> bool:
        kind, _, index = job.partition(":")
        plan = self._plan
        return self._store.has(
            plan.host_training if kind == "host" else plan.fits[int(index)].training
        )

    def _fit(self, session: Session, job: str) -> None:
        kind, _, index = job.partition(":")
        if kind == "host":
            session.fit_host()
        else:
            session.fit_method(self._plan.fits[int(index)])

    def _copies(self, session: Session, rest: str) -> list[Problem]:
        index, _, share = rest.partition(":")
        part, _, parts = share.partition("/")
        fit = self._plan.fits[int(index)]
        problems: dict[str, Problem] = {}
        users = range(int(part), self._plan.suite.population.copies, int(parts))
        for done, user in enumerate(users, start=1):
            for problem in self._cell_problems(fit, session.read_copy(fit, user)):
                problems.setdefault(problem.key, problem)
            self.on_progress(done, len(users), f"copy {user + 1}")
            if self._interrupt.requested:
                raise KeyboardInterrupt
        return list(problems.values())

    def _cell_problems(self, fit: Fit, failures: dict[Any, BaseException]) -> list[Problem]:
        problems = []
        for cell in self._plan.cells if failures else ():
            point = cell.point
            # What fails untouched, or under a model attack, takes all that is read behind it along.
            keys = ((point.model, point.image), (point.model, None), (None, None))
            error = next((failures[key] for key in keys if key in failures), None)
            if cell.fit is fit and error is not None:
                problems.append(
                    problem_of(cell.key, f"{fit_label(fit)} under {point.label}", error)
                )
        return problems

    def _session(self, job: str) -> Session:
        import torch

        torch.set_num_threads(job_threads(self._request, job))
        if self._loaded is None:
            from fpbench.execute.session import Session

            self._loaded = Session(
                self._plan,
                self._store,
                self.device(),
                lambda done, total, text: self.on_progress(done, total, text),
                self._interrupt,
            )
        return self._loaded


def resolve_device(wanted: str, slot: int = 0, devices: int = 1) -> str:
    """The torch device that "auto" stands for; several slots share the GPUs in turn.

    Args:
        wanted: as the user says it.
        slot: number of this process.
        devices: how many GPUs one training takes.

    Raises:
        MissingResource: a GPU is asked for and there is none, or not enough of them.
    """
    import torch

    count = torch.cuda.device_count()
    on_gpus = wanted.startswith("cuda") or (wanted == "auto" and count)
    if devices > 1 and on_gpus and (count < devices or ":" in wanted):
        raise MissingResource(
            f"device: expected {devices} GPUs for one training and no number of one, got {count} "
            f"and --device {wanted}; use fewer --devices, and --device cuda"
        )
    if devices > 1 and wanted == "cuda":
        return f"cuda:{slot % count}"
    if wanted == "auto":
        return f"cuda:{slot % count}" if count else "cpu"
    if wanted.startswith("cuda") and not count:
        raise MissingResource(
            f"device: expected {wanted}, got a machine without a usable GPU; use --device cpu"
        )
    return wanted


def thread_count(request: Request) -> int:
    """CPU threads that a run computes with."""
    return request.threads or len(os.sched_getaffinity(0))


def job_threads(request: Request, job: str) -> int:
    """CPU threads of one job: its share, so that what need not wait for the host runs beside it.

    A rule of the job alone, never of what else happens to run: threads may move a last digit.
    """
    total = thread_count(request)
    kind = job.partition(":")[0]
    return max(1, total // request.jobs // (request.devices if kind in ("host", "fit") else 1))


def default_jobs(device: str, fits: int, devices: int = 1) -> int:
    """How many jobs to run at a time: one for each GPU; on CPUs one for each core, at most four.

    Where a training takes several devices, as many as there are for.

    Small networks gain more from a second process than from a second thread.
    """
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) if device != "cpu" else 0
    if device.startswith("cuda") or gpus:
        return max(1, gpus // devices)
    return max(1, min(len(os.sched_getaffinity(0)) // devices, fits, 4))


def fit_label(fit: Fit) -> str:
    """A training as people write it."""
    return fit.method.label if fit.seed == 0 else f"{fit.method.label} (training seed {fit.seed})"


def problem_of(key: str, label: str, error: BaseException) -> Problem:
    """A problem from an exception."""
    missing = isinstance(error, MissingResource | ImportError)
    text = str(error) or type(error).__name__
    if isinstance(error, ImportError):
        text += "; install what it needs and run again"
    outcome = Outcome.UNAVAILABLE if missing else Outcome.FAILED
    if isinstance(error, MemoryError | OutOfMemory):
        outcome = Outcome.OUT_OF_MEMORY
    if isinstance(error, MemoryError):
        text = "out of memory; use a larger machine or smaller networks"
    return Problem(
        key=key,
        label=label,
        outcome=outcome,
        reason=f"{type(error).__name__}: {text}",
        trace="".join(traceback.format_exception(error)),
    )


def write_log(folder: Path, problem: Problem) -> None:
    """Keep the traceback of a problem where the summary says."""
    from fpbench.store.objects import write_text

    name = "".join(c if c.isalnum() else "-" for c in problem.label)[:80]
    head = f"{problem.label}\n"
    file, number = folder / "logs" / f"{name}.txt", 1
    while file.is_file() and not file.read_text(encoding="utf-8").startswith(head):
        number += 1  # another label that reads alike
        file = file.with_name(f"{name}-{number}.txt")
    write_text(file, f"{head}{problem.reason}\n\n{problem.trace}")
