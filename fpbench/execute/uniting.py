"""Unites runs of one suite that were made on several machines, and their stores.

Artefacts go by key, so most of it is copying. Two machines may give one key other content, since
results repeat to the bit within one kind of device alone. Then the first run's stays, and of the
other run nothing is taken that was made of its own: numbers never mix two trainings.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpbench.api import SpecError, StoreError
from fpbench.execute.accepting import unite_sources
from fpbench.execute.journal import read_events
from fpbench.execute.reach import Artefact, artefacts
from fpbench.execute.request import Request, kept_request, write_request
from fpbench.execute.runs import OpenRun
from fpbench.plan import Cell, Kind, Plan
from fpbench.spec import suite_text
from fpbench.store import RecordLog, Store

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN = 12

Digests = dict[str, dict[str, str]]
"""Key -> shard -> what the first run that has it says of its content, damaged or not."""


@dataclass
class Union:
    """What was united.

    Attributes:
        taken: folder of a run -> artefacts that came from its store.
        conflicts: (label, folder) of artefacts of which the first run has other content.
        behind: folder -> artefacts that were made of such, and were left out.
        damaged: what was damaged, and was left out.
        checkpoints: unfinished trainings that were taken along.
        records: lines of the records.
    """

    taken: dict[str, int] = field(default_factory=dict)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    behind: dict[str, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)
    checkpoints: int = 0
    records: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing was left out."""
        return not (self.conflicts or self.damaged)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "whole": self.whole}

    def lines(self) -> list[str]:
        """As text."""
        lines = [f"{number:,} artefacts from {folder}" for folder, number in self.taken.items()]
        if self.checkpoints:
            lines.append(f"{self.checkpoints} unfinished trainings go on from where they were")
        for label, folder in self.conflicts[:_SHOWN]:
            lines.append(f"conflict: {label}: {folder} has other content; the first one's stays")
        if len(self.conflicts) > _SHOWN:
            lines.append(f"  … and {len(self.conflicts) - _SHOWN} more conflicts")
        for folder, number in self.behind.items():
            lines.append(f"left out of {folder}: {number:,} artefacts that were made of such")
        lines += [f"damaged: {text}" for text in self.damaged]
        return [*lines, f"{self.records:,} lines of records"]


def unite(runs: Sequence[OpenRun], target: Path, suite: str = "") -> Union:
    """Make a run of several, beside whose folder the store with all that they have made lies.

    Args:
        runs: of one suite; where they differ, the first counts.
        target: folder of the new run.
        suite: that asks for all that the runs have made; empty = the one that they share, with
            all that was selected of it.

    Raises:
        SpecError: they are not runs of one suite, or there is something at the target.
        StoreError: records cannot be read.
    """
    _check_places(runs, target)
    request = united_request(runs, suite)
    plan, _ = request.plan()
    store, digests, found = Store(target.parent / "store"), Digests(), Union()
    for run in runs:
        _take(run, store, digests, found)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".merge-") as place:
        fresh = Path(place) / target.name
        fresh.mkdir()
        _write(runs, plan, request, fresh, found)
        fresh.rename(target)
    return found


def united_request(runs: Sequence[OpenRun], suite: str = "") -> Request:
    """What asks for all that some runs have made.

    Raises:
        SpecError: no selection from one suite does; says where they differ.
    """
    first = runs[0].request
    if suite:
        return replace(first, suite=suite, assignments=(), methods=(), attacks=(), seeds=None)
    problems = []
    for run in runs[1:]:
        problems += [
            f"merge: expected runs of one suite, got {name} of {run.folder} unlike that of "
            f"{runs[0].folder}; name a suite that asks for all of it with --suite"
            for name, one, other in (
                ("the suite.toml", _toml(runs[0]), _toml(run)),
                ("--set", first.assignments, run.request.assignments),
            )
            if one != other
        ]
        if run.plan.facts.digest != runs[0].plan.facts.digest:
            problems.append(f"merge: expected runs on the same images, got others in {run.folder}")
    if problems:
        raise SpecError(problems)
    seeds = sorted({seed for run in runs for seed in run.plan.suite.training.seeds})
    asked = all(run.request.seeds is None for run in runs)
    return replace(
        first,
        methods=_selected([run.request.methods for run in runs]),
        attacks=_selected([run.request.attacks for run in runs]),
        seeds=None if asked else ",".join(map(str, seeds)),
    )


def _selected(each: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """All that was selected; nothing selected is everything."""
    if not all(each):
        return ()
    return tuple(dict.fromkeys(name for names in each for name in names))


def _toml(run: OpenRun) -> dict[str, Any]:
    return tomllib.loads((run.folder / "suite.toml").read_text(encoding="utf-8"))


def _check_places(runs: Sequence[OpenRun], target: Path) -> None:
    folders = [run.folder.resolve() for run in runs]
    problem = ""
    if len(runs) < 2 or len(set(folders)) < len(folders):
        problem = "expected two or more runs, each once"
    elif target.exists():
        problem = f"expected a new folder, got {target}, which is there"
    elif any(folder in target.resolve().parents for folder in folders):
        problem = f"expected a folder outside of the runs, got {target}"
    if problem:
        raise SpecError([f"merge: {problem}; name another one"])


# -- stores ------------------------------------------------------------------------------------


def _take(run: OpenRun, target: Store, digests: Digests, found: Union) -> None:
    """Copy what a run has made, but for what stands on what the target has otherwise."""
    name, own = str(run.folder), run.store.root.resolve() == target.root.resolve()
    lost, taken = set[str](), 0
    for artefact in artefacts(run.plan, run.graph).values():
        if not run.store.started(artefact.key):
            continue
        if lost.intersection(run.graph.stages[artefact.stage].inputs):
            lost.add(artefact.stage)
            found.behind[name] = found.behind.get(name, 0) + 1
            continue
        try:
            if not _speaks_of(run, target, artefact.cell):
                continue
            same = _take_one(run.store, target, artefact, digests)
        except StoreError as error:
            found.damaged.append(str(error))
            if not digests.get(artefact.key):
                lost.add(artefact.stage)  # nobody can tell of which content the rest was made
            continue
        if not same:
            lost.add(artefact.stage)
            found.conflicts.append((artefact.label, name))
        taken += same
    found.taken[name] = taken
    for key in () if own else run.store.checkpoints():
        if key in run.graph.stages and key not in lost and not target.has(key):
            found.checkpoints += target.take_checkpoints(run.store, key)


def _speaks_of(run: OpenRun, target: Store, cell: Cell | None) -> bool:
    """Whether the numbers of a cell tell of the trainings that the target has, seconds and all."""
    if cell is None:
        return True
    keys = (run.plan.host_key, cell.fit.key)
    return all(target.has(k) and target.meta(k) == run.store.meta(k) for k in keys)


def _take_one(source: Store, target: Store, artefact: Artefact, digests: Digests) -> bool:
    """Copy the shards of an artefact; False where there is other content under its key."""
    key, shards = artefact.key, source.digests(artefact.key)
    if artefact.kind == Kind.TUNING:  # all that it says is plain
        shards = {name: f"{each} {source.meta(key)['chosen']}" for name, each in shards.items()}
    known = digests.setdefault(key, {})
    if any(known.get(shard, content) != content for shard, content in shards.items()):
        return False
    for shard in sorted(shards.keys() - target.digests(key).keys()):
        if not _same_columns(source, target, key, shard):
            return False
        # Also of what is damaged: what stands on it goes with no other content.
        known[shard] = shards[shard]
        target.take(source, key, shard)
    known |= shards
    return True


def _same_columns(source: Store, target: Store, key: str, shard: str) -> bool:
    """Whether the columns of a shard that the target has in another one are the same there."""
    there = target.columns(key)
    shared = [name for name, where in source.columns(key).items() if where == shard]
    for column in (name for name in shared if name in there):
        ours, theirs = target.shard(key, there[column]).arrays, source.shard(key, shard).arrays
        names = [name for name in theirs if name.startswith(f"{column}/")]
        if any(name not in ours or not _equal(ours[name], theirs[name]) for name in names):
            return False
    return True


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return (
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    )


# -- the folder --------------------------------------------------------------------------------


def _write(
    runs: Sequence[OpenRun], plan: Plan, request: Request, fresh: Path, found: Union
) -> None:
    if request.suite == runs[0].request.suite:
        # It lies in the first run's folder, under the name that the user gave it.
        request = replace(request, suite=kept_request(runs[0].folder).suite)
        text = (runs[0].folder / "suite.toml").read_text(encoding="utf-8")
    else:
        text = suite_text(request.suite, request.plugins)
    write_request(fresh, request, plan, text)
    folders = [run.folder for run in runs]
    unite_sources(folders, fresh)
    found.records = _join_records(folders, fresh)
    events = [asdict(event) for folder in folders for event in read_events(folder)]
    timed = sorted(events, key=lambda event: float(event["time"]))
    (fresh / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in timed))
    for number, folder in enumerate(folders):
        for log in sorted((folder / "logs").glob("*.txt")):
            name = f"{log.stem}-{number}{log.suffix}" if number else log.name
            (fresh / "logs").mkdir(exist_ok=True)
            shutil.copyfile(log, fresh / "logs" / name)


def _join_records(folders: Sequence[Path], fresh: Path) -> int:
    """The first run's log, then what others say of what it says nothing of."""
    known, count = set[str](), 0
    with (fresh / "records.jsonl").open("w", encoding="utf-8") as file:
        for folder in folders:
            RecordLog(folder / "records.jsonl").read()  # refuses what is damaged
            new = set[str]()
            for line in _lines(folder / "records.jsonl"):
                identity = json.loads(line)["record_id"]
                if identity not in known:
                    new.add(identity)
                    file.write(line)
                    count += 1
            known |= new
    return count


def _lines(path: Path) -> Iterator[str]:
    """The complete lines; what a kill tore ends without a line end."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.endswith("\n"))
