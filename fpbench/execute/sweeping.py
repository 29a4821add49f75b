"""What of a store its runs reach, and how to be rid of the rest."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpbench.api import FpbenchError, SpecError, digest
from fpbench.execute.journal import read_events
from fpbench.execute.reach import artefacts_of
from fpbench.execute.runs import OpenRun, open_run
from fpbench.plan.pending import is_done
from fpbench.store import Holder, Leases, RecordLog, Store
from fpbench.store.objects import size_of


@dataclass(frozen=True)
class Unreadable:
    """A run whose artefacts cannot be named.

    Attributes:
        folder: of the run.
        reason: why.
    """

    folder: Path
    reason: str


def open_runs(
    folders: Iterable[Path], plugins: tuple[str, ...], store: Path
) -> tuple[list[OpenRun], list[Unreadable]]:
    """Runs with their plans, and those of which no plan names what they have stored."""
    found: list[OpenRun] = []
    lost: list[Unreadable] = []
    for folder in folders:
        try:
            run = open_run(folder, plugins, store)
            reason = _changed(run)
        except FpbenchError as error:
            lost.append(Unreadable(folder, str(error)))
            continue
        if reason:
            lost.append(Unreadable(folder, reason))
        else:
            found.append(run)
    return found, lost


def _changed(run: OpenRun) -> str:
    """Why the plan is not that of what the run has stored; empty if it is."""
    cells = {cell.key for cell in run.plan.cells}
    records = RecordLog(run.folder / "records.jsonl").read().values()
    kept = {record["cell"] for record in records if record["cell"]}
    last = [event.stage for event in read_events(run.folder)[-1:]]
    gone = kept - cells if kept else set(last) - run.graph.stages.keys()
    if not gone:
        return ""
    return (
        "its plugins, its suite or fpbench have changed since, so its artefacts have keys that "
        f"nobody knows any more; `fpbench retry {run.folder}` makes them anew"
    )


@dataclass(frozen=True)
class Census:
    """What is in a store.

    Attributes:
        kinds: kind -> (number, bytes) of the artefacts that some run reaches.
        rest: (number, bytes) of those that none reaches.
        checkpoints: (number, bytes) of trainings that something was saved of.
        litter: (number, bytes) of what was being written when its process died.
        unreadable: runs whose artefacts are among the rest.
    """

    kinds: Mapping[str, tuple[int, int]]
    rest: tuple[int, int]
    checkpoints: tuple[int, int]
    litter: tuple[int, int]
    unreadable: tuple[Unreadable, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        named = {
            "nothing reaches": self.rest,
            "checkpoints": self.checkpoints,
            "litter": self.litter,
        }
        return {
            "kinds": {kind: _counted(each) for kind, each in self.kinds.items()},
            **{name.replace(" ", "_"): _counted(each) for name, each in named.items()},
            "unreadable": [{"run": str(u.folder), "reason": u.reason} for u in self.unreadable],
        }

    def lines(self) -> Iterator[str]:
        """As text."""
        rows = {**self.kinds, "not reached": self.rest}
        rows |= {"checkpoints": self.checkpoints, "litter": self.litter}
        for kind, (number, size) in rows.items():
            yield f"{kind:<18}{number:>8,} {size:>18,} bytes"
        for each in self.unreadable:
            yield f"unreadable: {each.folder}: {each.reason}"


def census_of(store: Store, runs: Sequence[OpenRun], unreadable: Sequence[Unreadable]) -> Census:
    """Count the artefacts of a store by what runs take them for."""
    reached = _reached(runs)
    kinds: dict[str, list[int]] = {}
    rest: list[int] = []
    for key in sorted(store.keys()):
        kept = kinds.setdefault(reached[key], []) if key in reached else rest
        kept.append(store.size(key))
    checkpoints, litter = store.checkpoints().values(), _litter(store).values()
    return Census(
        {kind: _sum(sizes) for kind, sizes in sorted(kinds.items())},
        _sum(rest),
        _sum(checkpoints),
        _sum(litter),
        tuple(unreadable),
    )


@dataclass(frozen=True)
class Waste:
    """What of a store no kept run needs.

    Attributes:
        artefacts: key -> bytes.
        checkpoints: stage key -> bytes.
        litter: path -> bytes.
        strangers: who works in the store for a run that is not kept, so that nothing may go.
    """

    artefacts: Mapping[str, int]
    checkpoints: Mapping[str, int]
    litter: Mapping[Path, int]
    strangers: tuple[Holder, ...] = field(default=())

    @property
    def bytes(self) -> int:
        """Of all of it."""
        parts = (self.artefacts, self.checkpoints, self.litter)
        return sum(sum(part.values()) for part in parts)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "artefacts": dict(self.artefacts),
            "checkpoints": dict(self.checkpoints),
            "litter": {str(path): size for path, size in self.litter.items()},
            "bytes": self.bytes,
            "working": [f"{h.label} ({h.host}, process {h.pid})" for h in self.strangers],
        }


def waste_of(store: Store, kept: Sequence[OpenRun]) -> Waste:
    """Find what may go: neither reached by a kept run nor worked on."""
    reached, live = _reached(kept), Leases(store.root).all()
    stages = {key: (run, stage) for run in kept for key, stage in run.graph.stages.items()}
    unfinished = {
        key for key, (run, stage) in stages.items() if not is_done(stage, run.plan, store)
    }
    folders = {digest(str(run.folder.resolve())) for run in kept}
    return Waste(
        {k: store.size(k) for k in sorted(store.keys()) if k not in reached and k not in live},
        {k: v for k, v in store.checkpoints().items() if k not in unfinished and k not in live},
        _litter(store),
        tuple(h for key, h in live.items() if key not in stages and key not in folders),
    )


def sweep(store: Store, waste: Waste) -> int:
    """Delete what is waste; returns how many bytes went.

    Each artefact is leased meanwhile; what somebody else has begun to work on stays.

    Raises:
        SpecError: somebody works in the store for a run that is not kept.
    """
    if waste.strangers:
        who = waste.strangers[0]
        raise SpecError(
            [
                f"cache gc: expected nobody to work in {store.root} but for kept runs, got "
                f"“{who.label}” (process {who.pid} on {who.host}); keep its run too, or wait"
            ]
        )
    leases, gone = Leases(store.root), 0
    drops = [(store.drop, waste.artefacts), (store.drop_checkpoints, waste.checkpoints)]
    try:
        for drop, sizes in drops:
            for key, size in sizes.items():
                if leases.take(key, "cache gc"):
                    drop(key)
                    leases.release(key)
                    gone += size
    finally:
        leases.close()
    for path, size in waste.litter.items():
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        gone += size
    return gone


def _litter(store: Store) -> dict[Path, int]:
    return {place: size_of(place) for place in store.litter()}


def _reached(runs: Iterable[OpenRun]) -> dict[str, str]:
    return {key: kind for run in runs for key, kind in artefacts_of(run.plan).items()}


def _sum(sizes: Iterable[int]) -> tuple[int, int]:
    listed = list(sizes)
    return len(listed), sum(listed)


def _counted(each: tuple[int, int]) -> dict[str, int]:
    return {"count": each[0], "bytes": each[1]}
