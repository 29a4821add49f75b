"""Records, curves and comparisons as pandas frames, for who computes on with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from fpbench.api import SpecError
from fpbench.api.errors import nearest
from fpbench.report.comparing import Line, Versus
from fpbench.report.inputs import Record, method_label
from fpbench.report.kinds import BITS
from fpbench.report.rankings import home
from fpbench.report.tables import NONE, Board, attack_and_strength
from fpbench.report.tiers import Curves

# What may be missing in a whole column has its type said, or pandas would guess another one.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "bits": "Int64",
        "training_seed": "int64",
        "strength": "float64",
        "value": "float64",
        "low": "float64",
        "high": "float64",
        "higher_is_better": "boolean",
        "n": "int64",
        "clusters": "int64",
        "damage": "float64",
        "budget": "float64",
    }
)
_COLUMNS = (
    "method", "placement", "gives", "reads", "bits", "training_seed", "point", "level", "attack",
    "strength", "tier", "metric", "variant", "unit", "higher_is_better", "value", "low", "high",
    "rule", "outcome", "reason", "n", "clusters", "damage", "budget", "effect", "suite",
    "suite_version", "metric_version", "cell", "record_id",
)  # fmt: skip
_ASKED = ("metric", "variant", "method", "point")


def records_frame(board: Board, **asked: str | None) -> pd.DataFrame:
    """One row for each record; `fpbench.Run.records` says what its columns are.

    Args:
        board: whose.
        asked: metric, variant, method, point -> only rows that say so; None = all.

    Raises:
        SpecError: no record has such a name there.
    """
    rows = [_row(record) for record in board.records]
    for name in _ASKED:
        wanted = asked.get(name)
        if wanted is not None:
            known = sorted({row[name] for row in rows} - {""})
            if rows and wanted and wanted not in known:
                raise SpecError([f"records: unknown {name} '{wanted}'{nearest(wanted, known)}"])
            rows = [row for row in rows if row[name] == wanted]
    return pd.DataFrame(rows, columns=_COLUMNS).astype(dict(_TYPES))


def _row(record: Record) -> dict[str, Any]:
    method, point = record["method"], record["point"]
    attack, strength = attack_and_strength(point)
    if not record["cell"]:  # an attack that no plugin offers
        attack = str(point["label"])
    gives = method.get("gives", "")
    plain = ("placement", "reads")
    told = ("level", "tier", "unit", "effect", "metric_version")
    return {
        **{name: record[name] for name in record.keys() & set(_COLUMNS) if name != "method"},
        **{name: str(method.get(name, "")) for name in plain},
        **{name: str(record.get(name, "")) for name in told},
        **{name: record.get(name) for name in ("damage", "budget", "higher_is_better")},
        "method": method_label(record),
        "gives": str(gives),
        "bits": method.get("bits") if gives == BITS else None,
        "point": str(point["label"]),
        "attack": attack,
        "strength": strength,
        "suite": str(record["suite"].get("name", "")),
        "suite_version": record["suite"].get("version"),
    }


def curves_frame(board: Board, method: str, attack: str) -> pd.DataFrame:
    """A method's rate over the strengths of an attack; `fpbench.Run.curves` says its columns.

    Raises:
        SpecError: there is no such method or attack.
    """
    attacks = {each.label: each for each in board.tracing_attacks}
    problems = [
        f"curves: unknown {what} '{name}'{nearest(name, known)}"
        for what, name, known in (("method", method, board.by_label), ("attack", attack, attacks))
        if name not in known
    ]
    if problems:
        raise SpecError(problems)
    table, rows = home(board.by_label[method]), []
    for seed in board.seeds_of(method):
        read = Curves(board, method, seed, table)
        untouched = next(p for p in board.points if p.label == NONE)
        for point in (untouched, *attacks[attack].points):
            number = read.rate(point.label)
            damage = 0.0 if point is untouched else read.damage(point)
            rows.append(
                {
                    "training_seed": seed,
                    "point": point.label,
                    "strength": point.strength,
                    "damage": damage,
                    "metric": table.metric,
                    "rate": number.value,
                    "low": number.low,
                    "high": number.high,
                    "outcome": number.outcome,
                    "reason": number.reason,
                }
            )
    names = ("strength", "damage", "rate", "low", "high")
    return pd.DataFrame(rows).astype(dict.fromkeys(names, "float64"))


def comparison_frame(found: Versus) -> pd.DataFrame:
    """A - B, line by line; `fpbench.Run.compare` says its columns."""
    lines: Iterable[Line] = found.lines if found.score is None else (found.score, *found.lines)
    frame = pd.DataFrame([_line(line) for line in lines], columns=list(_line(Line("", None, None))))
    names = ("a", "b", "difference", "low", "high", "p", "p_adjusted")
    frame = frame.astype(dict.fromkeys(names, "float64"))
    frame.attrs |= {"unpaired_because": found.unpaired, "notes": list(found.notes)}
    return frame


def _line(line: Line) -> dict[str, Any]:
    result = line.result
    return {
        "point": line.label,
        "a": line.a,
        "b": line.b,
        **{
            name: None if result is None else getattr(result, name)
            for name in ("difference", "low", "high", "p")
        },
        "p_adjusted": line.adjusted,
        # Tiers of a score may have their own numbers of copies; the fewest are said.
        "copies_a": line.copies[0][0],
        "copies_b": line.copies[1][0],
        "paired": line.paired,
        "reason": line.reason,
    }
