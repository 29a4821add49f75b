"""Reads what a run left behind: its records, its suite, its sample strips."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fpbench.api import StoreError
from fpbench.store import RecordLog
from fpbench.store.objects import read_object

CODES = 2
"""Users whose untouched strips the page shows: enough to compare two codes."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9._-]+")

Record = dict[str, Any]


@dataclass(frozen=True)
class MethodSamples:
    """File names of one method's strips.

    Attributes:
        codes: one strip for each of the first users, all of the same latents.
        residual: ten times the difference to the host's strip; empty where the sample changes.
        points: point label -> strip of attacked images of user 0.
        training: phase, as the metric `training` names it -> step -> strip of samples.
    """

    codes: tuple[str, ...] = ()
    residual: str = ""
    points: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Mapping[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Samples:
    """File names of all strips; each is a file in `folder`.

    Attributes:
        folder: of the strips.
        host: strip of the host.
        real: strip of real images.
        methods: label -> its strips.
        left_out: names that are not shown: no plain name, a link, or no such file.
    """

    folder: Path
    host: str = ""
    real: str = ""
    methods: Mapping[str, MethodSamples] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def files(self) -> list[str]:
        """Every file that the page shows."""
        names = {self.host, self.real}
        for method in self.methods.values():
            names |= {*method.codes, method.residual, *method.points.values()}
            names |= {file for steps in method.training.values() for file in steps.values()}
        return sorted(names - {""})


@dataclass(frozen=True)
class Submission:
    """Who brought a board its numbers, and how they were checked.

    Attributes:
        digest: of the bundle.
        submitter: a name, as given; may be empty.
        note: a line, as given; may be empty.
        status: "re-scored" or "self-reported".
        reasons: why they could not be made again; empty if they were.
        methods: labels.
        newest: when its newest record was made.
    """

    digest: str
    submitter: str
    note: str
    status: str
    reasons: tuple[str, ...]
    methods: tuple[str, ...]
    newest: str


@dataclass(frozen=True)
class Inputs:
    """Everything the page is made of.

    Attributes:
        folder: of the run.
        records: the current records, in order of first appearance.
        suite: the resolved suite; empty where there is none.
        samples: the strips.
        earlier: number of records of earlier runs, which the page does not show.
        submissions: what a board is made of, oldest first; empty for a run.
        places: of a board, `table.parameter` of what everybody who joins it names for himself.
    """

    folder: Path
    records: list[Record]
    suite: Record
    samples: Samples
    earlier: int = 0
    submissions: tuple[Submission, ...] = ()
    places: tuple[str, ...] = ()

    @property
    def checked(self) -> Mapping[str, Submission]:
        """Method -> the submission that its numbers are of: the newest."""
        return {label: each for each in self.submissions for label in each.methods}


def read_inputs(folder: Path) -> Inputs:
    """Read a run's folder.

    Raises:
        StoreError: a file is not what a run writes.
    """
    suite = _json(folder / "suite.json")
    latest = RecordLog(folder / "records.jsonl").numbered()
    records = current(latest, suite)
    samples = _samples(folder / "samples")
    submissions = _submissions(folder / "submissions.json")
    places = _json(folder / "submissions.json").get("places")
    earlier = len(latest) - len(records)
    return Inputs(folder, records, suite, samples, earlier, submissions, _texts(places))


def current(latest: Mapping[str, tuple[Record, int]], suite: Record) -> list[Record]:
    """The records that still hold.

    The log keeps everything: cells of a suite that has changed since, and the failure of a cell
    that was measured later. A cell is what its latest line says it is; where a failure and numbers
    carry the same cell key, the numbers hold, because a stored cell stays measured.

    Args:
        latest: record id -> record and its line.
        suite: the resolved suite; where empty, every record is of it.
    """
    scope = _Scope.of(suite)
    mine = [
        (record, _cell(record), line)
        for record, line in latest.values()
        if scope is None or scope.holds(record)
    ]
    last: dict[tuple[str, int, str], tuple[int, str]] = {}
    for record, cell, line in mine:
        place = (line, record["cell"])
        if cell not in last or last[cell] < place:
            last[cell] = place
    measured = {record["cell"] for record, _, _ in mine if record["metric"]}
    return [
        record
        for record, cell, _ in mine
        if record["cell"] == last[cell][1] and (record["metric"] or record["cell"] not in measured)
    ]


def method_label(record: Record) -> str:
    """The method's name on the page; empty for an attack that is unavailable."""
    return str(record["method"].get("label", ""))


def _cell(record: Record) -> tuple[str, int, str]:
    return method_label(record), record["training_seed"], str(record["point"]["label"])


@dataclass(frozen=True)
class _Scope:
    """What belongs to a suite."""

    header: Record
    methods: frozenset[str]
    attacks: frozenset[str]
    seeds: frozenset[int]
    points: frozenset[str]

    @classmethod
    def of(cls, suite: Record) -> _Scope | None:
        if not suite:
            return None
        return cls(
            {k: suite["suite"][k] for k in ("name", "version", "seed")},
            frozenset(method["label"] for method in suite["methods"]),
            frozenset(attack["label"] for attack in suite["attacks"]),
            frozenset(suite["training"]["seeds"]),
            frozenset(suite_points(suite)),
        )

    def holds(self, record: Record) -> bool:
        method, point = method_label(record), record["point"]
        if record["suite"] != self.header:
            return False
        if not record["cell"]:  # unavailable, unless it could be loaded since
            return method not in self.methods and point["label"] not in self.attacks
        return (
            method in self.methods
            and record["training_seed"] in self.seeds
            and point["label"] in self.points
        )


def suite_points(suite: Record) -> dict[str, tuple[str, float | None]]:
    """Point label -> (attack label, strength) of every point of the suite, in its order."""
    points: dict[str, tuple[str, float | None]] = {"none": ("", None)}
    by_attack: dict[str, list[str]] = {}
    for attack in suite.get("attacks", []):
        label = attack["label"]
        own = {f"{label} {s:g}": (label, s) for s in attack["strengths"]} or {label: (label, None)}
        by_attack[label] = list(own)
        points |= own
    for cross in suite.get("crosses", []):
        for first in by_attack[cross["model"]]:
            for second in by_attack[cross["image"]]:
                points[f"{first} + {second}"] = (f"{cross['model']} + {cross['image']}", None)
    return points


def _submissions(path: Path) -> tuple[Submission, ...]:
    try:
        return tuple(
            Submission(
                digest=str(each["digest"]),
                submitter=str(each.get("submitter", "")),
                note=str(each.get("note", "")),
                status=str(each["status"]),
                reasons=tuple(map(str, each.get("reasons", []))),
                methods=tuple(map(str, each["methods"])),
                newest=str(each.get("newest_utc", "")),
            )
            for each in _json(path).get("submissions", [])
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"page: expected the submissions of a board in {path}, got an entry without "
            f"{error}; take the file back from version control",
            path=str(path),
        ) from None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _json(path: Path) -> Record:
    if not path.is_file():
        return {}
    data = read_object(path)
    if data is None:
        raise StoreError(f"page: expected a JSON object in {path}; run the suite again to write it")
    return data


def _samples(folder: Path) -> Samples:
    data = _json(folder / "samples.json")

    left_out: dict[str, None] = {}

    def name(value: object) -> str:
        # A name from a file may point anywhere; only plain names of files that exist are followed.
        safe = isinstance(value, str) and _SAFE_NAME.fullmatch(value) and value.strip(".")
        path = folder / str(value) if safe else folder
        if path.is_file() and not path.is_symlink():
            return path.name
        if value not in ("", None):
            left_out[str(value)] = None
        return ""

    methods = {
        str(label): MethodSamples(
            codes=tuple(filter(None, map(name, strips.get("codes", []))))[:CODES],
            residual=name(strips.get("residual", "")),
            points={str(k): name(v) for k, v in strips.get("points", {}).items() if name(v)},
            training={
                str(phase): {int(step): name(file) for step, file in steps.items() if name(file)}
                for phase, steps in strips.get("training", {}).items()
            },
        )
        for label, strips in data.get("methods", {}).items()
    }
    host, real = name(data.get("host", "")), name(data.get("real", ""))
    return Samples(folder, host, real, methods, tuple(left_out))
