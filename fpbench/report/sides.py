"""The two sides of a comparison: which methods of which runs, and where their measuring parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fpbench.api import SpecError
from fpbench.api.errors import nearest
from fpbench.report.inputs import Record, method_label, read_inputs
from fpbench.report.tables import MISSING, NONE, Board

_SETTINGS = ("registered", "false_rate", "allowed", "weights_sha256")
"""Details that are settings of a metric: with others it is another quantity."""
_RATIO = "ratio_to_untouched"
"""Detail of the distances that say whether a model attack counts in the score."""
_POINT_IDENTITY = ("name", "version", "params", "strength", "clean_images")
_ATTACK_IDENTITY = (
    "name", "version", "params", "strengths", "scored", "clean_images", "tune"
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two methods.

    Attributes:
        folder: of its run.
        method: label.
        seed: training seed.
        board: the run at this training seed alone.
        seeds: all training seeds of the run.
    """

    folder: Path
    method: str
    seed: int
    board: Board
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """As it can be given on the command line."""
        return f"{self.folder}:{self.method}"


def methods_in(folder: Path) -> list[str]:
    """Labels of a run's methods.

    Raises:
        StoreError: a file of the run is not what a run writes.
    """
    return [m.label for m in Board(read_inputs(folder)).methods]


def read_side(folder: Path, method: str, seed: int = 0) -> Side:
    """One method of a run at one training seed.

    Raises:
        SpecError: there is no such method or training seed.
        StoreError: a file of the run is not what a run writes.
    """
    inputs = read_inputs(folder)
    whole = Board(inputs)
    problems = []
    labels = [m.label for m in whole.methods]
    if method not in labels:
        problems.append(f"unknown method '{method}' in {folder}{nearest(method, labels)}")
    if seed not in whole.seeds:
        listed = ", ".join(map(str, whole.seeds))
        problems.append(f"compare: expected --seed among those of {folder} ({listed}), got {seed}")
    if problems:
        raise SpecError(problems)
    records = [r for r in inputs.records if r["training_seed"] == seed or not r["cell"]]
    suite = inputs.suite
    if suite:
        suite = {**suite, "training": {**suite["training"], "seeds": [seed]}}
    board = Board(replace(inputs, records=records, suite=suite))
    return Side(folder, method, seed, board, whole.seeds)


def check_metric(a: Side, b: Side, metric: str, variant: str) -> None:
    """Refuse an unknown metric, and one whose version or settings differ between the runs."""
    found = {side.name: _rows(side, metric, variant) for side in (a, b)}
    if not any(found.values()):
        raise SpecError([_unknown_metric(a, b, metric, variant)])
    if same_run(a, b):
        return
    for read in (_versions, _settings):
        one, other = (read(rows) for rows in found.values())
        if one and other and one != other:
            raise SpecError(
                [
                    f"compare: expected the same {metric} on both sides, got {one} in {a.folder} "
                    f"and {other} in {b.folder}; run both with one version of it and the same "
                    "[score]"
                ]
            )


def _rows(side: Side, metric: str, variant: str) -> list[Record]:
    return [
        r
        for r in side.board.records
        if (method_label(r), r["metric"], r["variant"]) == (side.method, metric, variant)
    ]


def _versions(rows: Iterable[Record]) -> str:
    return " and ".join(sorted({f"version {r.get('metric_version', '?')}" for r in rows}))


def _settings(rows: Iterable[Record]) -> str:
    details = [r["detail"] for r in rows if r["outcome"] == "done"]
    return ", ".join(
        f"{key} = {' and '.join(sorted({str(d[key]) for d in details if key in d}))}"
        for key in _SETTINGS
        if any(key in d for d in details)
    )


def _unknown_metric(a: Side, b: Side, metric: str, variant: str) -> str:
    known: dict[str, set[str]] = {}
    for side in (a, b):
        for record in side.board.records:
            if record["metric"] and method_label(record) == side.method:
                known.setdefault(record["metric"], set()).add(record["variant"])
    if metric not in known:
        return f"unknown metric '{metric}'{nearest(metric, sorted(known))}"
    variants = [v or "''" for v in sorted(known[metric])]
    return f"metric {metric} has no variant '{variant}'; --variant is one of {', '.join(variants)}"


def shared_points(a: Side, b: Side, metric: str, variant: str, asked: Sequence[str]) -> list[str]:
    """The points to compare at: those that were asked for, or all that both runs have.

    Raises:
        SpecError: a run has no such point.
    """
    mine, theirs = ([p.label for p in side.board.points] for side in (a, b))
    shared = [label for label in mine if label in theirs]
    problems = [
        f"unknown point '{p}'{nearest(p, shared)}" for p in asked if p not in {*mine, *theirs}
    ] + [
        f"point '{p}' is in one of the runs only, {a.folder if p in mine else b.folder}"
        for p in asked
        if (p in mine) != (p in theirs)
    ]
    if problems:
        raise SpecError(problems)
    return list(dict.fromkeys(asked)) or [
        p for p in shared if _has_meaning(a, b, p, metric, variant)
    ]


def _has_meaning(a: Side, b: Side, point: str, metric: str, variant: str) -> bool:
    """False where a metric is not measured, as attribution is not of coalitions' images."""
    numbers = [s.board.number(s.method, point, metric, variant) for s in (a, b)]
    unmeasured = [
        number.outcome == MISSING and side.board.cell(side.method, side.seed, point).done
        for side, number in zip((a, b), numbers, strict=True)
    ]
    return any(number.done for number in numbers) or not any(unmeasured)


def attack_of(side: Side, label: str) -> dict[str, Any]:
    """What an attack point is; where it is the same in both runs, so are its draws."""
    found = (r["point"] for r in side.board.records if r["cell"] and r["point"]["label"] == label)
    point: Record = next(found, {})
    parts = ((kind, point.get(kind)) for kind in ("model", "image"))
    return {f"{kind} {k}": part.get(k) for kind, part in parts if part for k in _POINT_IDENTITY}


def unpaired_because(a: Side, b: Side) -> str:
    """Why copies do not pair by index; empty if they do."""
    if same_run(a, b):
        return ""
    if not (a.board.suite and b.board.suite):
        return "a run has no suite.json that tells its population"
    return parting(_draws(a), _draws(b))


def _draws(side: Side) -> dict[str, Any]:
    header, population = (side.board.suite[table] for table in ("suite", "population"))
    return {
        "suite": f"{header['name']} version {header['version']}",
        "suite seed": header["seed"],
        "copies": population["copies"],
        "images": population["images"],
    }


def rules(a: Side, b: Side) -> list[dict[str, Any]]:
    """What a score is made by: the attacks that count, their damage, the suite's settings."""
    distances = [
        {r["metric"]: r.get("metric_version") for r in side.board.records if _RATIO in r["detail"]}
        for side in (a, b)
    ]
    shared = [metric for metric in distances[0] if metric in distances[1]]
    return [
        {a["label"]: {k: a.get(k) for k in _ATTACK_IDENTITY} for a in _counted(s)}
        | {f"[score] {k}": v for k, v in s.board.suite.get("score", {}).items()}
        | {f"version of {metric}": known[metric] for metric in shared}
        for s, known in zip((a, b), distances, strict=True)
    ]


def populations(side: Side) -> dict[str, Any]:
    """Attack -> its own copies and images, of the attacks that count in the score."""
    return {a["label"]: (a.get("copies"), a.get("images")) for a in _counted(side)}


def _counted(side: Side) -> list[Record]:
    """The suite's own words on the attacks that have a part in the score."""
    labels = {a.label for a in side.board.tracing_attacks if a.kind in ("image", "model")}
    return [a for a in side.board.suite.get("attacks", []) if a["label"] in labels]


def parting(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Where two descriptions part, A's value first; empty if nowhere."""
    found = []
    for key in {**one, **other}:
        mine, theirs = one.get(key, "none"), other.get(key, "none")
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            if deeper := parting(mine, theirs):
                found.append(f"{key}: {deeper}")
        elif mine != theirs:
            found.append(f"{key} {_said(mine)} and {_said(theirs)}")
    return "; ".join(found)


def _said(value: Any) -> str:
    return "present" if isinstance(value, Mapping) else str(value)


def same_run(a: Side, b: Side) -> bool:
    """Whether both are of one folder."""
    return a.folder.resolve() == b.folder.resolve()


def notes_on(a: Side, b: Side, asked: Sequence[str]) -> Iterable[str]:
    """What a reader of the comparison must know, in sentences."""
    listed = dict.fromkeys([a.seeds, b.seeds])
    if any(len(seeds) > 1 for seeds in listed):
        yield (
            f"training seed {a.seed} of {' / '.join(', '.join(map(str, s)) for s in listed)}; "
            "--seed takes another, and how the seeds differ is a variance of its own"
        )
    if same_run(a, b):
        return
    for what in ("dataset", "host"):
        if difference := parting(_described(a, what), _described(b, what)):
            yield f"the runs differ in their {what}: {difference}"
    for side, rest in ((a, b), (b, a)):
        theirs = {p.label for p in rest.board.points}
        alone = [p.label for p in side.board.points if p.label not in theirs and p.label != NONE]
        if alone and not asked:
            yield f"only in {side.folder}: {', '.join(alone)}"


def _described(side: Side, what: str) -> Record:
    return next((r[what] for r in side.board.records if r.get(what)), {})
