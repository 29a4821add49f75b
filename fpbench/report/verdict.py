"""The verdict: what the tables say, in sentences made from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fpbench.report import blame, show
from fpbench.report.score import ATTRIBUTION, DOES_NOT_APPLY, NOT_REMOVED, MethodScore
from fpbench.report.tables import NONE, Board

SURVIVES = 0.9
"""Least right-rate at every scored strength of a family that is called surviving it."""
_NAMED = 4


def verdict(board: Board, scores: Mapping[str, MethodScore]) -> list[str]:
    """Sentences on ranks, survival, coalitions, forgeries, support and false accusations."""
    ranked = {label: s for label, s in scores.items() if s.rank is not None}
    sentences = [*_leaders(ranked), *_unranked(scores), *_survival(ranked)]
    return [*sentences, *blame.sentences(board), *_support(board), *_accusations(board)]


def _leaders(ranked: Mapping[str, MethodScore]) -> Iterable[str]:
    if not ranked:
        yield "No method is ranked."
        return
    first = [label for label, s in ranked.items() if s.rank == 1]
    first.sort(key=lambda label: (-(ranked[label].value or 0), label))
    scored = [f"{label} ({show.share(ranked[label].value)})" for label in first]
    if len(ranked) == 1:
        yield f"{scored[0]} is the only ranked method, so it is compared with nothing."
    elif len(first) == 1:
        yield f"{scored[0]} has the best score; every other ranked method is significantly below."
    elif len(first) == len(ranked):
        yield f"No ranked method is significantly better than another: {join(scored)} are tied."
    else:
        yield f"{join(scored)} share the first rank: no method is significantly better than any."


def _unranked(scores: Mapping[str, MethodScore]) -> Iterable[str]:
    reasons: dict[str, list[str]] = {}
    for label, score in scores.items():
        if score.rank is None:
            reasons.setdefault(score.reason, []).append(label)
    for reason, labels in list(reasons.items())[:_NAMED]:
        verb = "is" if len(labels) == 1 else "are"
        yield f"{join(labels)} {verb} not ranked: {reason}."
    more = sum(map(len, list(reasons.values())[_NAMED:]))
    if more:
        yield f"{more} more are not ranked; the notes below the table say why."


def _survival(ranked: Mapping[str, MethodScore]) -> Iterable[str]:
    if not ranked:
        return
    families = list(next(iter(ranked.values())).families)
    survivors = {f: _survivors(ranked, f) for f in families}
    every = [f for f in families if len(survivors[f]) == len(ranked)]
    nothing = [f for f in families if not survivors[f]]
    rule = f"(at least {SURVIVES:.0%} of images traced right at the scored strengths, on average)"
    who = "Every ranked method" if len(ranked) > 1 else next(iter(ranked))
    if every:
        yield f"{who} survives {join(every)} {rule}."
        rule = ""
    by_who: dict[tuple[str, ...], list[str]] = {}
    for family in families:
        if survivors[family] and family not in every:
            by_who.setdefault(tuple(survivors[family]), []).append(family)
    for labels, survived in by_who.items():
        verb = "survives" if len(labels) == 1 else "survive"
        yield f"Only {join(labels)} {verb} {join(survived)} {rule}".rstrip() + "."
        rule = ""
    if nothing:
        none = "No ranked method survives" if len(ranked) > 1 else f"{who} does not survive"
        yield f"{none} {join(nothing)} {rule}".rstrip() + "."
    kept = [
        f for f in families if any(s.families[f].stand_in == NOT_REMOVED for s in ranked.values())
    ]
    if kept:
        yield (
            f"Under {join(kept)} some methods have no strength within the damage budget; their "
            "clean rate stands in, marked “not removed within the budget”."
        )
    spared = {
        label: [f for f in families if score.families[f].stand_in == DOES_NOT_APPLY]
        for label, score in ranked.items()
    }
    listed = [f"{join(missing)} to {label}" for label, missing in spared.items() if missing]
    if listed:
        where = "; ".join(listed)
        yield f"Some attacks cannot be made on a method ({where}): its clean rate stands in."


def _survivors(ranked: Mapping[str, MethodScore], family: str) -> list[str]:
    return [label for label, s in ranked.items() if s.families[family].value >= SURVIVES]


def _support(board: Board) -> Iterable[str]:
    """How many users untouched copies bear, and how many no code is long enough for."""
    borne: dict[float, list[str]] = {}
    for method in board.methods:
        number = board.number(method.label, NONE, "capacity", "users")
        if number.done and number.value is not None:
            borne.setdefault(number.value, []).append(method.label)
    if borne:
        listed = [
            f"{show.count(users)} by {join(labels)}"
            for users, labels in sorted(borne.items())[::-1]
        ]
        yield f"Largest N at which untouched images are still traced: {'; '.join(listed)}."
    for population in (10**4, 10**6):
        numbers = [
            (m, board.number(m.label, NONE, ATTRIBUTION, f"n={population}")) for m in board.methods
        ]
        asked = [m for m, n in numbers if n.outcome in ("done", "not-supported")]
        if asked and not any(number.done for _, number in numbers):
            bits = join([str(b) for b in sorted({m.about.get("bits", 0) for m in asked})])
            yield f"No method supports {population:,} or more registered users at {bits} bits."
            return


def _accusations(board: Board) -> Iterable[str]:
    alpha = board.false_rate
    if alpha is None:
        return
    above, checked = [], 0
    for method in board.methods:
        for source in ("real", "host", "unregistered"):
            number = board.number(method.label, NONE, "false-accusation", source)
            if number.done and number.value is not None:
                checked += 1
                if number.value > alpha:
                    above.append(f"{method.label} on {source} images ({show.rate(number.value)})")
    if above:
        yield f"Realised false accusations exceed α = {alpha:g} for {join(above)}."
    elif checked:
        yield (
            f"No realised rate of false accusation on untouched images exceeds α = {alpha:g}; "
            "the bounds say how far the counts can prove it."
        )


def join(words: Sequence[str]) -> str:
    """a, b and c; long lists are cut with their count."""
    if len(words) > _NAMED + 1:
        words = [*words[:_NAMED], f"{len(words) - _NAMED} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
