"""Makes the numbers of a bundle again from its readings, and compares every record.

Not only values: a record also says which copies they stand on, whether a strength counts in the
score and what was reported about the method, and pages believe all of it. What is left out are
costs, dates and machines, which nobody can measure again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from fpbench.api import Outcome, canonical_json
from fpbench.execute.records import cell_records, outcome_record
from fpbench.execute.rescoring import Recomputed, recomputed
from fpbench.plan import Cell, Fit, Plan
from fpbench.publish import redact
from fpbench.publish.checks import Place, Record, by_place, show
from fpbench.stages.measuring import Measurer
from fpbench.store import Store
from fpbench.store.records import VOLATILE

TOLERANCE = 1e-6
"""Relative; other processors and libraries sum in another order."""
_LEAST = 1e-12  # what lies closer together is the same, however small both are

_LEFT_OUT = VOLATILE | {"supersedes", "schema_version", "cell"}
_INSTALLED = frozenset({"distribution", "packages"})
_UNMEASURED = frozenset(
    {
        Outcome.FAILED,
        Outcome.OUT_OF_MEMORY,
        Outcome.TIMED_OUT,
        Outcome.BLOCKED,
        Outcome.UNAVAILABLE,
    }
)
"""How a cell may end that no rule refuses; a refusal follows from the suite, and is known here."""
_SHOWN = 5  # fields of a record, or cells, that one sentence names


@dataclass
class Compared:
    """What came of making numbers again.

    Attributes:
        numbers: records that were compared with numbers made again.
        problems: records that differ, in words.
        reasons: why numbers of some methods could not be made again.
    """

    numbers: int = 0
    problems: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def compare(plan: Plan, store: Store, records: list[Record]) -> Compared:
    """Compare every record with what the readings in a store give.

    Args:
        plan: what the bundle says was run, keyed by what is installed here.
        store: the bundle's.
        records: the bundle's.
    """
    return _Comparison(plan, store, records).run()


class _Comparison:
    """One bundle's records against numbers made again."""

    def __init__(self, plan: Plan, store: Store, records: list[Record]) -> None:
        self._plan = plan
        self._store = store
        self._cells = by_place(records)
        self._measurer = Measurer(plan, store)
        self._installed = {metric.name: metric.version for metric in plan.metrics}
        self._said: dict[str, set[str]] = {}
        for record in records:
            versions = self._said.setdefault(record["metric"], set())
            versions.add(str(record.get("metric_version", "")))
        self._absent: set[str] = set()
        self._other_keys: list[str] = []
        self._made = 0  # cells whose numbers were made again
        self._found = Compared()

    def run(self) -> Compared:
        found, cells = self._found, self._cells
        others = {fit.key: self._other_source(fit) for fit in self._plan.fits}
        found.reasons += filter(None, others.values())
        found.reasons += self._other_metrics()
        mine = [c for c in self._plan.cells if not others[c.fit.key] and _place(c) in cells]
        lacking = []
        for again in recomputed(self._measurer, mine):
            own = cells[_place(again.cell)]
            if again.lacking and own[0]["metric"]:
                lacking.append(show(_place(again.cell)))
            else:
                found.problems += self._cell(again, own)
                found.numbers += len(again.rows)
        found.reasons += [
            f"metric {name}: the bundle has no row of it, though its readings give some; another "
            "version of fpbench measured it, or its rows were left out"
            for name in sorted(self._absent)
        ]
        self._keys()
        if lacking:
            found.reasons.append(
                f"the bundle lacks readings of {len(lacking)} cells under the keys that the source "
                f"installed here gives, e.g. of {'; '.join(lacking[:_SHOWN])}"
            )
        if not found.numbers:
            found.reasons.append("no number could be made again")
        if not found.reasons:
            found.problems += self._needless(mine)
        return found

    # -- who made it -----------------------------------------------------------------------------

    def _other_source(self, fit: Fit) -> str:
        """Why a training is not the one that the installed source would give; empty if it is."""
        said = {
            str(record.get("inputs", {}).get("fit"))
            for (method, seed, _), own in self._cells.items()
            if (method, seed) == (fit.method.label, fit.seed)
            for record in own
            if record["metric"]
        }
        if said <= {fit.key}:
            return ""
        others = ", ".join(f"{key[:16]}…" for key in sorted(said - {fit.key}))
        return (
            f"method {fit.method.label}: expected the training {fit.key[:16]}… that the source "
            f"installed here gives, got {others}; the source of method, host or data set was "
            "another one"
        )

    def _other_metrics(self) -> Iterator[str]:
        for name, versions in sorted(self._said.items()):
            if name and name not in self._installed:
                yield f"metric {name} is not installed here"
            elif name and versions != {self._installed[name]}:
                yield (
                    f"metric {name}: expected rows of version {self._installed[name]}, which is "
                    f"installed here, got version {' and '.join(sorted(versions))}"
                )

    # -- one cell --------------------------------------------------------------------------------

    def _cell(self, again: Recomputed, own: list[Record]) -> Iterator[str]:
        """What is wrong with the records of a cell."""
        cell, place = again.cell, _place(again.cell)
        if again.problem is not None and own[0]["metric"]:
            yield f"{show(place)}: expected readings that give numbers, got {again.problem.reason}"
        elif cell.refusal is not None:
            reason = cell.refusal.reason
            refused = outcome_record(self._plan, cell, Outcome.REFUSED, reason, "")
            yield from self._rows(place, [refused], own)
        elif own[0]["metric"]:
            self._made += 1
            if own[0]["cell"] != cell.key:
                self._other_keys.append(show(place))
            meta = {"rows": again.rows, "environment": {}, "created_utc": ""}
            meta |= {"origins": {}, **again.about}
            yield from self._rows(place, cell_records(self._plan, cell, meta, ""), own)
        elif again.rows:
            # A failure cannot be repeated; but numbers that there are must not be kept back.
            yield (
                f"{show(place)}: expected {len(again.rows)} numbers, which the bundle's readings "
                f"give, got “{own[0]['outcome']}”. Run the suite again and export the run"
            )
        else:
            yield from self._unmeasured(cell, own)

    def _unmeasured(self, cell: Cell, own: list[Record]) -> Iterator[str]:
        """What is wrong with a cell without numbers: its outcome and reason alone are free."""
        place, outcome, reason = _place(cell), Outcome(own[0]["outcome"]), own[0]["reason"]
        if outcome in _UNMEASURED:
            expected = outcome_record(self._plan, cell, outcome, reason, "")
            yield from self._rows(place, [{**expected, "reason": reason}], own)
        else:
            yield (
                f"{show(place)}: expected numbers, or one of {', '.join(sorted(_UNMEASURED))}, got "
                f"“{outcome}”, though no rule of the suite refuses it. Run the suite again and "
                "export the run"
            )

    def _keys(self) -> None:
        """Cells under other keys: all of them where a metric has other source, else edited."""
        others = self._other_keys
        if not others:
            return
        text = f"{len(others)} of {self._made} cells have other keys than here, e.g. {others[0]}"
        if len(others) == self._made:
            self._found.reasons.append(f"{text}; the source of a metric was another one")
        else:
            self._found.problems.append(
                f"records: expected the key that suite and source give as cell, got another one: "
                f"{text}; they were edited. Export the run again"
            )

    def _rows(self, place: Place, expected: list[Record], own: list[Record]) -> Iterator[str]:
        there = {(record["metric"], record["variant"]): record for record in own}
        for record in expected:
            metric, variant = record["metric"], record["variant"]
            title = f"{show(place)}: {f'{metric} {variant}'.strip() or 'the cell'}"
            got = there.pop((metric, variant), None)
            if metric not in self._said:
                self._absent.add(metric)
            elif self._of_other_version(metric):
                continue  # named as such, once for all rows
            elif got is None:
                yield f"{title}: expected a record of it, got none; it was left out"
            elif differing := _differences(redact.record(record), got):
                yield f"{title}: {'; '.join(differing[:_SHOWN])}"
        for metric, variant in there:
            if not self._of_other_version(metric):
                yield f"{show(place)}: {metric} {variant}: expected no such record, got one"

    def _of_other_version(self, metric: str) -> bool:
        return bool(metric) and self._said[metric] != {self._installed.get(metric)}

    # -- what nobody asked for -------------------------------------------------------------------

    def _needless(self, cells: list[Cell]) -> Iterator[str]:
        """Artefacts that no number is made of: they might be weights."""
        needed = [self._measurer.needed(cell) for cell in cells if cell.open]
        facts = {key for each in needed for key in each.facts}
        known = facts.union(*(each.columns.keys() | set(each.whole) for each in needed))
        for key in self._store.keys():  # noqa: SIM118 - a store is no dict
            if key not in known:
                yield f"store: artefact {key[:16]}… is not needed by any number; export again"
            elif key in facts and self._store.get(key).arrays:
                yield (
                    f"store: artefact {key[:16]}… of a training holds arrays, which are weights; "
                    "export again"
                )


def _differences(expected: Record, got: Record) -> list[str]:
    """What of a record differs from what the readings give, in words."""
    plain = json.loads(canonical_json(expected))  # as it would have been written
    wanted = {n: _installed_left_out(v) for n, v in plain.items() if n not in _LEFT_OUT}
    said = {name: _installed_left_out(got.get(name)) for name in wanted}
    return [
        f"expected {_short(a)} as {place}, got {_short(b)}"
        for place, a, b in _unlike("", wanted, said)
    ]


def _installed_left_out(value: Any) -> Any:
    """Part of a record without what was installed where it was made."""
    if not isinstance(value, dict):
        return value
    return {
        name: _installed_left_out(part) if name in ("model", "image") else part
        for name, part in value.items()
        if name not in _INSTALLED
    }


def _unlike(place: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """(place, one, other) of all leaves that differ."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for name in sorted(a):
            yield from _unlike(f"{place}.{name}".lstrip("."), a[name], b[name])
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, (one, other) in enumerate(zip(a, b, strict=True)):
            # Most are values of copies, thousands of them, which are the same.
            if not (type(one) is type(other) is float and one == other):
                yield from _unlike(f"{place}[{number}]", one, other)
    elif not close(a, b):
        yield place, a, b


def close(a: Any, b: Any) -> bool:
    """Whether two plain values without parts are the same, numbers up to the tolerance."""
    if _is_number(a) and _is_number(b):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=_LEAST)
    return type(a) is type(b) and bool(a == b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _place(cell: Cell) -> Place:
    return cell.fit.method.label, cell.fit.seed, cell.point.label
