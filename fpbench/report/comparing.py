"""Two methods side by side, of one run or of two: differences, intervals and p values.

Copies pair by index where both methods met the same users, latents and attack draws. Otherwise the
copies are two independent samples, and nothing is gained from their order.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpbench import stats
from fpbench.api import SpecError
from fpbench.report.inputs import Record, method_label, read_inputs
from fpbench.report.score import ATTRIBUTION, MethodScore, score_board
from fpbench.report.show import WORDS
from fpbench.report.tables import MISSING, NONE, Board, Number
from fpbench.stats.intervals import student_p, student_quantile

Floats = NDArray[np.float64]
Values = Mapping[str, Floats]
"""Family -> (n_f,) values by copy; a single point is one family."""

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


@dataclass(frozen=True)
class Line:
    """A and B at one point, or their scores.

    Attributes:
        label: of the point; "score" for the score.
        a: value of A, None if there is none.
        b: value of B.
        result: difference A - B, its interval and p; None where the two are not compared.
        adjusted: p after Holm over all points; None for the score and where there is no test.
        copies: of A, of B; the fewest and the most where families differ.
        paired: whether copies pair by index.
        reason: why there is no value or no test; empty if there is one.
    """

    label: str
    a: float | None
    b: float | None
    result: stats.Comparison | None = None
    adjusted: float | None = None
    copies: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    paired: bool = True
    reason: str = ""


@dataclass(frozen=True)
class Versus:
    """A comparison of two methods.

    Attributes:
        a: first method.
        b: second method.
        metric: name.
        variant: which of its numbers.
        level: confidence level of the intervals.
        unpaired: why copies do not pair by index; empty if they do.
        notes: what else a reader must know.
        score: comparison of the scores; None unless asked.
        lines: the points, in the order of A's suite.
    """

    a: Side
    b: Side
    metric: str
    variant: str
    level: float
    unpaired: str
    notes: tuple[str, ...]
    score: Line | None
    lines: tuple[Line, ...]


# -- which two ---------------------------------------------------------------------------------


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


def nearest(name: str, known: Sequence[str]) -> str:
    """End of a sentence about an unknown name: the one that is meant, or all."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(known)}" if known else ""


# -- the comparison ----------------------------------------------------------------------------


def compare_sides(
    a: Side,
    b: Side,
    metric: str = ATTRIBUTION,
    variant: str = "",
    points: Sequence[str] = (),
    level: float = 0.95,
) -> Versus:
    """Compare two methods at the points that both have, and their scores.

    Args:
        a: first method.
        b: second method.
        metric: its name.
        variant: which of its numbers.
        points: labels; all that both have if empty, with the score if the metric is attribution.
        level: confidence level in (0, 1).

    Raises:
        SpecError: metric, variant or a point is unknown, or the two measured different quantities.
    """
    if _same_run(a, b) and a.method == b.method:
        raise SpecError([f"compare: expected two methods, got {a.name} twice"])
    _check_metric(a, b, metric, variant)
    unpaired = _unpaired(a, b)
    shared = _points(a, b, metric, variant, points)
    lines = [_line(a, b, metric, variant, p, level, not unpaired) for p in shared]
    score = None
    if not points and (metric, variant) == (ATTRIBUTION, ""):
        score = _score_line(a, b, level, not unpaired)
    return Versus(
        a, b, metric, variant, level, unpaired, tuple(_notes(a, b, points)), score,
        tuple(_adjusted(lines)),
    )  # fmt: skip


def _line(
    a: Side, b: Side, metric: str, variant: str, point: str, level: float, pair: bool
) -> Line:
    one, other = (s.board.number(s.method, point, metric, variant) for s in (a, b))
    line = Line(point, one.value, other.value)
    if not (one.done and other.done):
        return replace(line, reason=_reason(_why_not(one), _why_not(other)))
    if difference := _parting(_attack_of(a, point), _attack_of(b, point)):
        return replace(line, reason=f"not the same attack: {difference}")
    first, second = np.array(one.by_copy), np.array(other.by_copy)
    if not (first.size and second.size):
        return replace(line, reason=f"{metric} has no values by copy to compare")
    if one.value != other.value and (uncounted := _uncounted(one, other)):
        return replace(line, reason=uncounted)
    # An attack may have its own numbers of copies and images.
    pair = pair and (one.clusters, one.n) == (other.clusters, other.n)
    result = _test({point: first}, {point: second}, level, paired=pair)
    sizes = ((first.size, first.size), (second.size, second.size))
    return replace(line, result=result, copies=sizes, paired=pair)


def _why_not(number: Number) -> str:
    word = WORDS.get(number.outcome, number.outcome)
    return "" if number.done else f"{word}: {' '.join(number.reason.split())}"


def _reason(a: str, b: str) -> str:
    if a == b:
        return f"both {a}"
    return "; ".join(f"{which} {why}" for which, why in (("A", a), ("B", b)) if why)


def _uncounted(a: Number, b: Number) -> str:
    """Why two rates that differ are not tested; empty if they are.

    Exact distractors take a millionth from an image that is right. Copies agree on such fractions,
    so a test would find them significant, while the images that do fail have not been drawn.
    `stats.rate` takes rates of this kind as without variance for the same reason.
    """
    if any(number.rule != "korn-graubard" for number in (a, b)):
        return ""
    for word, share in (("right", 0.0), ("wrong", 1.0)):
        if all(abs((n.value or 0.0) - share) * n.n < 1 - 1e-9 for n in (a, b)):
            return f"on both sides less than one of {min(a.n, b.n):,} images is {word}"
    return ""


def _score_line(a: Side, b: Side, level: float, pair: bool) -> Line:
    one, other = (score_board(s.board)[s.method] for s in (a, b))
    line = Line("score", one.value, other.value)
    if difference := _parting(*_rules(a, b)):
        return replace(line, reason=f"the runs score different things: {difference}")
    if one.problems or other.problems:
        reasons = [s.reason and f"not ranked: {s.reason}" for s in (one, other)]
        return replace(line, reason=_reason(*reasons))
    if odd := one.families.keys() ^ other.families.keys():
        return replace(line, reason=f"only one of them has the families {', '.join(sorted(odd))}")
    first, second = _by_copy(one), _by_copy(other)
    pair = pair and _populations(a) == _populations(b)
    pair = pair and all(first[f].size == second[f].size for f in first)
    result = _test(first, second, level, paired=pair)
    return replace(line, result=result, copies=(_sizes(first), _sizes(second)), paired=pair)


def _by_copy(score: MethodScore) -> Values:
    return {family: part.by_copy for family, part in score.families.items()}


def _sizes(values: Values) -> tuple[int, int]:
    sizes = [v.size for v in values.values()]
    return min(sizes), max(sizes)


def _adjusted(lines: Sequence[Line]) -> Iterable[Line]:
    p_values = iter(stats.holm([line.result.p for line in lines if line.result is not None]))
    for line in lines:
        yield line if line.result is None else replace(line, adjusted=float(next(p_values)))


def _test(a: Values, b: Values, level: float, *, paired: bool) -> stats.Comparison:
    """As the board compares scores; unpaired by Welch (1947) on the two scores' own variances."""
    if paired:
        return stats.compare(a, b, level)
    (var_a, df_a), (var_b, df_b) = _alone(a, level), _alone(b, level)
    # What is equal but for rounding is equal, by the same rule as for pairs.
    difference = stats.compare(
        {f: v.mean(keepdims=True) for f, v in a.items()},
        {f: v.mean(keepdims=True) for f, v in b.items()},
    ).difference
    if 0 in (df_a, df_b):
        return stats.Comparison(difference, math.nan, math.nan, 1.0, 0)
    error = math.sqrt(var_a + var_b)
    if error == 0:
        p = 0.0 if difference != 0 else 1.0
        return stats.Comparison(difference, difference, difference, p, math.inf)
    df = (var_a + var_b) ** 2 / (var_a**2 / df_a + var_b**2 / df_b)
    half = student_quantile(df, level) * error
    p = student_p(difference / error, df)
    return stats.Comparison(difference, difference - half, difference + half, p, df)


def _alone(values: Values, level: float) -> tuple[float, float]:
    """Variance of a score and its degrees of freedom, 0 if unknown."""
    own = stats.compare(values, {f: np.zeros_like(v) for f, v in values.items()}, level)
    if own.df == 0 or math.isinf(own.df):
        return 0.0, own.df
    return ((own.high - own.low) / 2 / student_quantile(own.df, level)) ** 2, own.df


# -- what may be compared ----------------------------------------------------------------------


def _check_metric(a: Side, b: Side, metric: str, variant: str) -> None:
    """Refuse an unknown metric, and one whose version or settings differ between the runs."""
    found = {side.name: _rows(side, metric, variant) for side in (a, b)}
    if not any(found.values()):
        raise SpecError([_unknown_metric(a, b, metric, variant)])
    if _same_run(a, b):
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


def _points(a: Side, b: Side, metric: str, variant: str, asked: Sequence[str]) -> list[str]:
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


def _attack_of(side: Side, label: str) -> dict[str, Any]:
    """What an attack point is; where it is the same in both runs, so are its draws."""
    found = (r["point"] for r in side.board.records if r["cell"] and r["point"]["label"] == label)
    point: Record = next(found, {})
    parts = ((kind, point.get(kind)) for kind in ("model", "image"))
    return {f"{kind} {k}": part.get(k) for kind, part in parts if part for k in _POINT_IDENTITY}


def _unpaired(a: Side, b: Side) -> str:
    """Why copies do not pair by index; empty if they do."""
    if _same_run(a, b):
        return ""
    if not (a.board.suite and b.board.suite):
        return "a run has no suite.json that tells its population"
    return _parting(_draws(a), _draws(b))


def _draws(side: Side) -> dict[str, Any]:
    header, population = (side.board.suite[table] for table in ("suite", "population"))
    return {
        "suite": f"{header['name']} version {header['version']}",
        "suite seed": header["seed"],
        "copies": population["copies"],
        "images": population["images"],
    }


def _rules(a: Side, b: Side) -> list[dict[str, Any]]:
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


def _populations(side: Side) -> dict[str, Any]:
    """Attack -> its own copies and images, of the attacks that count in the score."""
    return {a["label"]: (a.get("copies"), a.get("images")) for a in _counted(side)}


def _counted(side: Side) -> list[Record]:
    """The suite's own words on the attacks that have a part in the score."""
    labels = {a.label for a in side.board.tracing_attacks if a.kind in ("image", "model")}
    return [a for a in side.board.suite.get("attacks", []) if a["label"] in labels]


def _parting(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Where two descriptions part, A's value first; empty if nowhere."""
    found = []
    for key in {**one, **other}:
        mine, theirs = one.get(key, "none"), other.get(key, "none")
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            if deeper := _parting(mine, theirs):
                found.append(f"{key}: {deeper}")
        elif mine != theirs:
            found.append(f"{key} {_said(mine)} and {_said(theirs)}")
    return "; ".join(found)


def _said(value: Any) -> str:
    return "present" if isinstance(value, Mapping) else str(value)


def _same_run(a: Side, b: Side) -> bool:
    return a.folder.resolve() == b.folder.resolve()


def _notes(a: Side, b: Side, asked: Sequence[str]) -> Iterable[str]:
    listed = dict.fromkeys([a.seeds, b.seeds])
    if any(len(seeds) > 1 for seeds in listed):
        yield (
            f"training seed {a.seed} of {' / '.join(', '.join(map(str, s)) for s in listed)}; "
            "--seed takes another, and how the seeds differ is a variance of its own"
        )
    if _same_run(a, b):
        return
    for what in ("dataset", "host"):
        if difference := _parting(_described(a, what), _described(b, what)):
            yield f"the runs differ in their {what}: {difference}"
    for side, rest in ((a, b), (b, a)):
        theirs = {p.label for p in rest.board.points}
        alone = [p.label for p in side.board.points if p.label not in theirs and p.label != NONE]
        if alone and not asked:
            yield f"only in {side.folder}: {', '.join(alone)}"


def _described(side: Side, what: str) -> Record:
    return next((r[what] for r in side.board.records if r.get(what)), {})
