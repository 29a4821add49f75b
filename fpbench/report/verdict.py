"""The verdict: what the tables say, in sentences. Each stands only where its condition holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fpbench import stats
from fpbench.report import blame, show
from fpbench.report.kinds import BITS
from fpbench.report.rankings import ATTRIBUTION, BY_ATTRIBUTION, Table
from fpbench.report.score import MethodScore, Scores
from fpbench.report.tables import NONE, Board, MethodInfo
from fpbench.report.tiers import DECIDING_COPIES, Candidate, TierScore

KEEPS = 0.9
"""Right-rate that a method must be shown to keep against an adversary to be named for it."""
FALLS = 0.5
"""Right-rate below which it must be shown to lie to be named for falling."""
ADVERSARIES = {
    "processing": "processing that is not hostile",
    "samples": "whoever holds images",
    "copy": "whoever holds a copy and trains nothing",
    "training": "whoever holds a copy and may train",
}
_SIGNIFICANT = 0.05
_EXCESS = 10
_NAMED = 4


def verdict(board: Board, ranked: Mapping[Table, Scores]) -> list[str]:
    """Sentences on places, tiers, removal, coalitions, forgeries, users and false accusations.

    Args:
        board: of a run.
        ranked: table -> scores; of one that is empty nothing is said where another is not.
    """
    filled = {table: scores for table, scores in ranked.items() if scores} or ranked
    sentences = [
        f"{table.title}: {said}" if table is not BY_ATTRIBUTION else said
        for table, scores in filled.items()
        for said in _of_table(table, scores)
    ]
    return [*sentences, *blame.sentences(board), *_support(board), *_accusations(board)]


def _of_table(table: Table, scores: Scores) -> Iterable[str]:
    placed = {label: s for label, s in scores.items() if s.placed}
    yield from _places(placed)
    yield from _unplaced(scores)
    yield from _against(placed, table)
    yield from _removal(placed, table)


# -- places ------------------------------------------------------------------------------------


def _places(placed: Mapping[str, MethodScore]) -> Iterable[str]:
    if not placed:
        yield "No method has a score."
    elif len(placed) == 1:
        label, score = next(iter(placed.items()))
        yield (
            f"{label} ({show.share(score.value)}) is the only method with a score, so it is "
            "compared with nothing."
        )
    else:
        ordered = {label: s for label, s in placed.items() if s.rank is None}
        yield from _leaders({k: s for k, s in placed.items() if k not in ordered}, bool(ordered))
        yield from _ordered(ordered)


def _leaders(ranked: Mapping[str, MethodScore], others: bool) -> Iterable[str]:
    """Who leads; where there are others, which have no rank, it is said of whom."""
    first = [label for label, s in ranked.items() if s.rank == 1]
    first.sort(key=lambda label: (-(ranked[label].value or 0), label))
    scored = [f"{label} ({show.share(ranked[label].value)})" for label in first]
    if len(ranked) < 2:
        return
    if len(first) == 1:
        among = " of the methods with a rank" if others else ""
        yield (
            f"{scored[0]} has the best score{among}; every other ranked method is significantly "
            "below, over trainings and copies."
        )
    elif len(first) == len(ranked):
        yield f"No ranked method is significantly better than another: {join(scored)} are tied."
    else:
        better = "ranked method" if others else "method"
        yield (
            f"{join(scored)} share the first rank: no {better} is significantly better than these."
        )


def _ordered(ordered: Mapping[str, MethodScore]) -> Iterable[str]:
    """Those with a score and too few trainings for a rank."""
    if not ordered:
        return
    listed = sorted(ordered, key=lambda label: (-(ordered[label].value or 0), label))
    reasons = join(list(dict.fromkeys(ordered[label].unranked for label in listed)))
    scored = [f"{label} {show.share(ordered[label].value)}" for label in listed]
    yield (
        f"By score, in an order that claims nothing ({reasons}; a rank takes three): "
        f"{', '.join(scored)}."
    )


def _unplaced(scores: Mapping[str, MethodScore]) -> Iterable[str]:
    reasons: dict[str, list[str]] = {}
    for label, score in scores.items():
        if not score.placed:
            reasons.setdefault(score.reason, []).append(label)
    for reason, labels in list(reasons.items())[:_NAMED]:
        verb = "has" if len(labels) == 1 else "have"
        yield f"{join(labels)} {verb} no place: {reason}."
    more = sum(map(len, list(reasons.values())[_NAMED:]))
    if more:
        yield f"{more} more have no place; the notes below the table say why."


# -- tiers -------------------------------------------------------------------------------------


def _against(placed: Mapping[str, MethodScore], table: Table) -> Iterable[str]:
    """Who is shown to keep, or to lose, what against each kind of adversary."""
    rule = f" (95 % bound of {KEEPS:.0%})"
    for tier, who in ADVERSARIES.items():
        parts = {label: s.tiers[tier] for label, s in placed.items() if tier in s.tiers}
        keep = [label for label, part in parts.items() if _shown(part, "low") >= KEEPS]
        fall = [label for label, part in parts.items() if _shown(part, "high") < FALLS]
        said = []
        if keep:
            keeps = "keeps" if len(keep) == 1 else "keep"
            said.append(f"{join(keep)} {keeps} {table.tracing}{rule}")
            rule = ""
        if fall:
            said.append(f"{join(fall)} fall{'s' if len(fall) == 1 else ''} below one half")
        if said:
            yield f"Against {who}, {'; '.join(said)}."


def _shown(part: TierScore, end: str) -> float:
    """A limit of a tier's rate, one that says nothing where copies are too few to decide."""
    if part.by_copy.size < DECIDING_COPIES:
        return 0.0 if end == "low" else 1.0
    return part.interval.low if end == "low" else part.interval.high


def _removal(placed: Mapping[str, MethodScore], table: Table) -> Iterable[str]:
    found = {label: s.price for label, s in placed.items()}
    listed = [f"{label} by {price_text(p, table)}" for label, p in found.items() if p is not None]
    if listed:
        under = f"under one half {table.traced}"
        yield f"Cheapest removal within the budgets ({under}): {'; '.join(listed)}."
    safe = [label for label, p in found.items() if p is None]
    if safe:
        yield f"No attack of this suite removes {join(safe)} within the budgets."


def price_text(price: Candidate, table: Table = BY_ATTRIBUTION) -> str:
    """An attack with what it takes and what it leaves."""
    takes = [f"{price.steps} steps" if price.steps else "no training"]
    takes += [f"{price.clean} clean images"] if price.clean else []
    return f"{price.where} ({', '.join(takes)}; {show.share(price.value)} {table.traced})"


# -- users -------------------------------------------------------------------------------------


def _support(board: Board) -> Iterable[str]:
    """How many users untouched copies bear, and how many no code is long enough for."""
    borne: dict[float, list[str]] = {}
    for method in _traced(board):
        number = board.number(method.label, NONE, "capacity", "users")
        if number.done and number.value is not None and "no_claim" not in number.detail:
            borne.setdefault(number.value, []).append(method.label)
    if borne:
        listed = [
            f"{show.count(users)} by {join(labels)}"
            for users, labels in sorted(borne.items())[::-1]
        ]
        yield (
            "Largest N, a power of ten, at which at least 95 % of untouched images are traced "
            f"(lower 95 % bound): {'; '.join(listed)}."
        )
    for population in (10**4, 10**6):
        numbers = [
            (m, board.number(m.label, NONE, ATTRIBUTION, f"n={population}"))
            for m in _traced(board)
            if m.gives == BITS
        ]
        asked = [m for m, n in numbers if n.outcome in ("done", "not-supported")]
        if asked and not any(number.done for _, number in numbers):
            bits = join([str(b) for b in sorted({m.about.get("bits", 0) for m in asked})])
            yield f"No method supports {population:,} or more registered users at {bits} bits."
            return


# -- false accusations -------------------------------------------------------------------------


@dataclass(frozen=True)
class Looked:
    """Images of nobody that issued codes were tried on.

    Attributes:
        method: label.
        source: "real" or "host".
        hits: images that an issued code fits.
        images: of the source.
        chance: probability that any issued code fits an image by chance.
    """

    method: str
    source: str
    hits: int
    images: int
    chance: float


def _accusations(board: Board) -> Iterable[str]:
    looked = list(_looked(board))
    if not looked:
        return
    p_values = [stats.binomial_excess(each.hits, each.images, each.chance) for each in looked]
    adjusted = stats.holm(p_values)
    above = [
        f"{each.method} on {each.source} images ({each.hits} of {each.images:,}, "
        f"{show.rate(each.images * each.chance)} expected, p = {show.rate(float(p))})"
        for each, p in zip(looked, adjusted, strict=True)
        if p <= _SIGNIFICANT
    ]
    if above:
        yield f"Issued codes accuse images of nobody more often than chance does: {join(above)}."
        return
    level = _SIGNIFICANT / len(looked)
    seen = min(stats.excess_power(e.images, e.chance, _EXCESS, level) for e in looked)
    expected = sum(each.images * each.chance for each in looked)
    yield (
        f"{sum(e.hits for e in looked)} of {sum(e.images for e in looked):,} untouched images of "
        f"nobody were accused by an issued code, {expected:.1f} expected by chance; an excess of "
        f"ten times on one source would have been seen with probability {seen:.2f}."
    )


def _traced(board: Board) -> list[MethodInfo]:
    return [method for method in board.methods if BY_ATTRIBUTION.holds(method)]


def _looked(board: Board) -> Iterable[Looked]:
    for method in _traced(board):
        for seed in board.seeds_of(method.label):
            for source in ("real", "host"):
                number = board.at_seed(method.label, seed, NONE, "false-accusation", source)
                chance = number.detail.get("by_chance")
                if number.done and isinstance(chance, float):
                    hits = int(number.detail["accused"])
                    yield Looked(method.label, source, hits, number.n, chance)


def join(words: Sequence[str]) -> str:
    """a, b and c; long lists are cut with their count."""
    if len(words) > _NAMED + 1:
        words = [*words[:_NAMED], f"{len(words) - _NAMED} more"]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
