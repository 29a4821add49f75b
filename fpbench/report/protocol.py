"""The page of a suite's protocol: what was asked, of whom, by which rules, and how to repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fpbench.report import show
from fpbench.report.tables import Board
from fpbench.report.tiers import counted, tiers_of
from fpbench.spec.boards import joining

Facts = list[tuple[str, list[str]]]


def asked(board: Board) -> Facts:
    """Population, negatives, score and thresholds, as the resolved suite states them."""
    suite = board.suite
    score, population = suite.get("score") or {}, suite.get("population") or {}
    facts: Facts = [
        ("Issued copies", [show.count(population.get("copies"))]),
        ("Images of each copy", [show.count(population.get("images"))]),
        ("Negatives", _listed(suite.get("negatives"))),
        ("Registered users N", [show.count(board.registered)]),
        ("False accusations allowed per image, α", [show.rate(board.false_rate)]),
        ("Damage budget of model attacks", [_damage_budget(board)]),
        ("Damage budget of image attacks", [f"{board.sample_damage} of {board.budgets.samples:g}"]),
        ("Means of who may train", [_means(board)]),
        ("Tiers of the score", [", ".join(tiers_of(board)) or "none"]),
        ("Training", _listed(suite.get("training"))),
        ("Other score settings", _listed(_rest(score))),
    ]
    return [(name, values) for name, values in facts if values and values != ["–"]]


def _damage_budget(board: Board) -> str:
    distance = board.distance_name
    return f"D = ({distance} attacked − untouched) / host's of {board.budgets.damage:g}"


def _means(board: Board) -> str:
    budgets = board.budgets
    return f"{budgets.training_steps:,} steps and {budgets.clean_samples:,} clean images at most"


def _rest(score: Mapping[str, Any]) -> dict[str, Any]:
    budgets = ("damage_budget", "sample_budget", "training_steps", "clean_samples")
    told = {"registered", "false_rate", *budgets}
    return {name: value for name, value in score.items() if name not in told}


def _listed(table: Any) -> list[str]:
    if not isinstance(table, Mapping) or not table:
        return []
    return [f"{name.replace('_', ' ')}: {show.plain(value)}" for name, value in table.items()]


def attack_rows(board: Board) -> list[tuple[str, str, list[str]]]:
    """(label, slug, [family, what is changed, strengths, scored ones, adversary holds])."""
    rows = []
    for attack in board.attacks:
        strengths = [point for point in attack.points if point.strength is not None]
        scored = f"{attack.points[0].tier}: within the damage budget" if attack.points else ""
        if attack.kind == "image":
            named = ", ".join(p.short for p in attack.points if p.scored) or "none"
            scored = f"processing: {named}; images: within the sample budget"
            if any(p.geometric for p in attack.points):
                listed = ", ".join(p.short for p in attack.points if p.in_samples) or "none"
                scored = f"processing: {named}; images: {listed}"
        elif attack.kind == "unknown":
            scored = "no record of it"
        elif attack.kind != "model":
            scored = "beside the score"
        if not counted(board, attack):
            scored = "too few copies to count"
        rows.append(
            (
                attack.label,
                attack.slug,
                [
                    attack.family or "–",
                    attack.kind,
                    f"{attack.knob}: {', '.join(p.short for p in strengths)}"
                    if strengths
                    else "done or not done",
                    attack.unavailable or scored,
                    show.plain(attack.about.get("access", [])) or "–",
                ],
            )
        )
    return rows


def joining_command(board: Board) -> str:
    """What makes numbers of another method that this board can take."""
    return joining(f"leaderboards/{board.inputs.folder.name}", board.inputs.places)


def repeat(board: Board) -> Facts:
    """What a reader needs to repeat the run, as (name, distinct values)."""
    records, suite = board.records, board.suite
    header: Mapping[str, Any] = suite.get("suite") or (records[0]["suite"] if records else {})
    measured = [r for r in records if r["metric"]]
    environments = _once(r.get("environment") or {} for r in measured)
    dates = sorted({r["created_utc"] for r in measured if r.get("created_utc")})
    facts: Facts = [
        ("Suite", [f"{header.get('name', '?')}, version {header.get('version', '?')}"]),
        ("Suite seed", [str(header.get("seed", "?"))]),
        ("Training seeds", [", ".join(map(str, board.seeds))]),
        (
            "Data set",
            [*_components(r.get("dataset") or {} for r in records), *_card(suite, "dataset")],
        ),
        ("Host", [*_components(r.get("host") or {} for r in records), *_card(suite, "host")]),
        ("Command", _distinct(r.get("command", "") for r in records)),
        ("Device", _distinct(str(e.get("device", "")) for e in environments)),
        ("Threads", _distinct(str(e.get("threads", "")) for e in environments)),
        ("Platform", _distinct(str(e.get("platform", "")) for e in environments)),
        ("Python", _distinct(str(e.get("python", "")) for e in environments)),
        ("Packages", _distinct(show.plain(e.get("packages", {})) for e in environments)),
        ("Record schema", _distinct(str(r["schema_version"]) for r in records)),
        ("Measured", [" to ".join(dict.fromkeys((dates[0], dates[-1])))] if dates else []),
    ]
    return [(name, values) for name, values in facts if values]


def _card(suite: Mapping[str, Any], kind: str) -> list[str]:
    card = (suite.get(kind) or {}).get("card") or {}
    return [str(card[key]) for key in ("summary", "differs") if card.get(key)]


def _components(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    found = []
    for part in _once(parts):
        if not part:
            continue
        params = show.plain(part.get("params", {}))
        found.append(
            f"{part.get('name')} {part.get('version')}" + (f" ({params})" if params else "")
        )
    return found


def _once(parts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Each distinct part; records share most of theirs, so the same object is looked at once."""
    by_object = {id(part): part for part in parts}
    return list({show.plain(part): part for part in by_object.values()}.values())


def _distinct(values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def citation(board: Board, title: str) -> str:
    """BibTeX of the board: what was run, by which fpbench, when."""
    header = board.suite.get("suite") or {}
    years = sorted({r["created_utc"][:4] for r in board.records if r.get("created_utc")})
    fields = {
        "title": f"{{{_braced(title)}}}",
        "howpublished": "fpbench leaderboard",
        "note": f"suite {_braced(header.get('name', '?'))}, version {header.get('version', '?')}",
        "year": years[-1] if years else "",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    slug = "".join(c for c in str(header.get("name", "board")) if c.isalnum() or c == "-")
    return "\n".join([f"@misc{{fpbench-{slug},", *lines, "}"])


def _braced(text: object) -> str:
    # Unbalanced braces would end the entry early.
    return str(text).replace("{", "(").replace("}", ")")
