"""What an adversary leaves of a method's tracing, or detection, by what he holds: the threat tiers.

    processing  nobody hostile: mean over families of image attacks at the suite's strengths
    samples     holds samples: the worst image attack within the sample budget, which may have
                learnt within the budget of steps and clean samples
    copy        holds a copy and trains nothing: the worst such attack within the damage budget
    training    may train too, within a stated budget of steps and clean samples: the worst of these
                attacks and of those on a copy

Along the strengths of an attack the right-rate is taken as linear in the damage, from (0, clean)
on. Its value is the least at a tested strength within the budget, or where the curve crosses it.
An adversary's choice is made on half of the copies and judged on the other half, both ways, so that
choosing the worst of many costs no bias. Who may train and chooses no attack that trains is the
adversary of the tier before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fpbench import stats
from fpbench.report.rankings import BY_ATTRIBUTION, Table
from fpbench.report.tables import NONE, AttackInfo, Board, Number, PointInfo

DECIDING_COPIES = 10
"""Copies below which an attack decides nothing, unless the whole population is smaller."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """What one attack leaves at one place of its curve within the budget.

    Attributes:
        attack: its label.
        where: label of the point, or of the two that the budget lies between.
        by_copy: (n,) right-rate of each copy.
        damage: there; None where the suite names the strength and no budget applies.
        tier: of the attack.
        access: what the adversary holds.
        steps: of training that he spends.
        clean: clean samples that he owns.
    """

    attack: str
    where: str
    by_copy: Floats
    damage: float | None
    tier: str
    access: tuple[str, ...]
    steps: int
    clean: int

    @property
    def value(self) -> float:
        """Mean right-rate."""
        return float(self.by_copy.mean())


@dataclass(frozen=True)
class TierScore:
    """A method's right-rate against one kind of adversary.

    Attributes:
        value: mean of `by_copy`.
        by_copy: (n,) each copy under what was chosen on the other half of the copies.
        images: of each copy behind it.
        worst: label of what is worst on all copies together; of the mean, "mean of N families".
        stand_in: the tier whose value this one takes, or "clean rate", since no attack of it can be
            made on the method; empty where one can.
    """

    value: float
    by_copy: Floats
    images: int
    worst: str
    stand_in: str = ""

    @property
    def interval(self) -> stats.Interval:
        """Where other copies of the same trained networks would fall."""
        images = np.full(self.by_copy.size, self.images)
        # Sums of shares may be off by rounding.
        return stats.rate(np.clip(self.by_copy, 0, 1) * images, images)


@dataclass(frozen=True)
class Curves:
    """Reads the numbers of one method: of one training, or the mean over all.

    Attributes:
        board: where they stand.
        method: label.
        seed: of the training; None = all.
        table: whose rate is read.
    """

    board: Board
    method: str
    seed: int | None
    table: Table = BY_ATTRIBUTION

    def rate(self, point: str) -> Number:
        """The rate at a point that the table is about."""
        return self.number(point, self.table.metric)

    def number(self, point: str, metric: str, variant: str = "") -> Number:
        """A number at a point."""
        if self.seed is None:
            return self.board.number(self.method, point, metric, variant)
        return self.board.at_seed(self.method, self.seed, point, metric, variant)

    def damage(self, point: PointInfo) -> float | None:
        """Damage of a point in the unit of its budget; None where it is not known."""
        if point.kind == "image":
            own = self.number(point.label, "damage", "distance")
            if own.value is not None:  # of samples that are no images
                return own.value
            likeness = self.number(point.label, "damage", "ssim")
            return None if likeness.value is None else 1 - likeness.value
        value = self.number(point.label, *self.board.distance_key).detail.get("damage")
        return float(value) if isinstance(value, int | float) else None

    def applies(self, point: PointInfo) -> bool:
        """False where the attack has no meaning for the method, or did nothing to it.

        A method's own refusal counts: else it could refuse what hurts it and be ranked as if it had
        survived.
        """
        number = self.rate(point.label)
        if number.effect == "none":
            return False
        return number.outcome != "refused" or number.detail.get("refused_by") != "attack"


def points_in(board: Board, tier: str) -> dict[str, list[PointInfo]]:
    """Attack label -> its points that have a part in a tier, of all that the suite asks."""
    found: dict[str, list[PointInfo]] = {}
    for attack in board.attacks:
        points = [point for point in attack.points if _belongs(board, attack, point, tier)]
        if points:
            found[attack.label] = points
    return found


def tiers_of(board: Board, table: Table = BY_ATTRIBUTION) -> tuple[str, ...]:
    """The tiers of a table that the suite has."""
    return tuple(tier for tier in table.tiers if points_in(board, tier))


def counted(board: Board, attack: AttackInfo) -> bool:
    """Whether an attack is run on enough copies to decide anything."""
    everyone = int((board.suite.get("population") or {}).get("copies") or DECIDING_COPIES)
    own = attack.about.get("copies") or everyone
    return min(int(own), everyone) >= min(DECIDING_COPIES, everyone)


def _belongs(board: Board, attack: AttackInfo, point: PointInfo, tier: str) -> bool:
    if not counted(board, attack):
        return False
    if tier == "processing":
        return point.kind == "image" and point.scored and set(point.access) <= {"images"}
    if point.kind not in ("image", "model") or point.tier != tier:
        return False
    if point.kind == "image" and point.geometric and not point.in_samples:
        return False
    budget = board.budgets
    return point.steps <= budget.training_steps and point.clean <= budget.clean_samples


# -- one training ------------------------------------------------------------------------------


def score_tiers(curves: Curves) -> tuple[dict[str, TierScore], list[str]]:
    """Every tier of the suite for one method, or why a number is missing."""
    clean = curves.rate(NONE)
    untouched = np.array(clean.by_copy)
    before, name = TierScore(float(untouched.mean()), untouched, _images(clean), ""), "clean rate"
    on_copy: list[Candidate] = []
    found: dict[str, TierScore] = {}
    problems: list[str] = []
    for tier in tiers_of(curves.board, curves.table):
        points = points_in(curves.board, tier)
        problems += _problems(curves, points, damaged=tier != "processing")
        if problems:
            continue
        if tier == "processing":
            found[tier] = _processing(curves, points, untouched)
            continue
        own = candidates(curves, points, tier, untouched)
        if tier == "copy":
            on_copy = own
        # Who may train can also do all that needs no training.
        listed = [*on_copy, *own] if tier == "training" else [*own]
        images = _fewest_images(curves, points, _images(clean))
        # An attack that makes tracing easier is not made.
        listed.append(Candidate("", "no attack helps", untouched, 0.0, "", (), 0, 0))
        if len(listed) == 1:
            found[tier] = replace(before, stand_in=name)
        elif tier == "training" and on_copy and tier not in {c.tier for c in choices(listed)}:
            found[tier] = before
        else:
            found[tier] = worst_case(listed, images)
        before, name = found[tier], f"as tier {tier}"
    return found, list(dict.fromkeys(problems))


def _processing(
    curves: Curves, points: Mapping[str, Sequence[PointInfo]], clean: Floats
) -> TierScore:
    """Mean over families, attacks of a family and strengths; each family has one vote."""
    by_family: dict[str, list[Floats]] = {}
    images = []
    for attack, own in points.items():
        family = next(a.family for a in curves.board.attacks if a.label == attack)
        applied = [curves.rate(p.label) for p in own if curves.applies(p)]
        images += [_images(number) for number in applied]
        # What cannot be done to an image does nothing to it.
        rates = [np.array(number.by_copy) for number in applied] or [clean]
        by_family.setdefault(family, []).append(np.mean(_shared(rates), axis=0))
    families = [np.mean(_shared(rates), axis=0) for rates in by_family.values()]
    by_copy = np.mean(_shared(families), axis=0)
    count = len(families)
    what = f"mean of {count} famil{'y' if count == 1 else 'ies'}"
    return TierScore(float(by_copy.mean()), by_copy, min(images, default=1), what)


def candidates(
    curves: Curves, points: Mapping[str, Sequence[PointInfo]], tier: str, clean: Floats
) -> list[Candidate]:
    """Every place within the budget at which an adversary of a tier may stop."""
    budgets = curves.board.budgets
    found = []
    for own in points.values():
        applied, of_images = [p for p in own if curves.applies(p)], own[0].kind == "image"
        budget = budgets.samples if of_images else budgets.damage
        if of_images:
            found += [_at(curves, p, None, tier) for p in applied if p.geometric]
            applied = [p for p in applied if not p.geometric]
        found += _along(curves, applied, clean, budget, tier)
    return found


def _along(
    curves: Curves, points: Sequence[PointInfo], clean: Floats, budget: float, tier: str
) -> list[Candidate]:
    """The tested strengths of one attack within the budget, and where its curve crosses it."""
    found = []
    damage, rates, label = 0.0, clean, "0"
    for point in points:
        here = _at(curves, point, curves.damage(point), tier)
        assert here.damage is not None  # looked for before
        if (damage <= budget) != (here.damage <= budget):
            share = (budget - damage) / (here.damage - damage)
            one, other = _shared([rates, here.by_copy])
            crossing = one + share * (other - one)
            where = (
                f"{point.attack} {label}–{point.short}" if label != "0" else f"{point.label}, part"
            )
            found.append(replace(here, where=where, by_copy=crossing, damage=budget))
        if here.damage <= budget:
            found.append(here)
        damage, rates, label = here.damage, here.by_copy, point.short
    return found


def _at(curves: Curves, point: PointInfo, damage: float | None, tier: str) -> Candidate:
    by_copy = np.array(curves.rate(point.label).by_copy)
    return Candidate(
        point.attack, point.label, by_copy, damage, tier, point.access, point.steps, point.clean
    )


def choices(listed: Sequence[Candidate]) -> tuple[Candidate, Candidate]:
    """What is worst on the copies of odd index, and on those of even index."""
    rates = np.stack(_shared([c.by_copy for c in listed]))
    # A single copy has no other half.
    halves = (rates[:, 1::2] if rates.shape[1] > 1 else rates, rates[:, ::2])
    odd, even = (listed[int(half.mean(axis=1).argmin())] for half in halves)
    return odd, even


def worst_case(listed: Sequence[Candidate], images: int) -> TierScore:
    """The worst of several places, chosen on half of the copies and judged on the other half."""
    rates = np.stack(_shared([c.by_copy for c in listed]))
    odd, even = (chosen.by_copy for chosen in choices(listed))
    judged = np.empty(rates.shape[1])
    judged[::2], judged[1::2] = odd[: judged.size : 2], even[1 : judged.size : 2]
    worst = listed[int(rates.mean(axis=1).argmin())]
    return TierScore(float(judged.mean()), judged, images, worst.where)


def _shared(rates: Sequence[Floats]) -> list[Floats]:
    """Cut to the copies 0 … n - 1 that all have: what is compared is compared on the same ones."""
    count = min(r.size for r in rates)
    return [r[:count] for r in rates]


def _images(number: Number) -> int:
    return max(number.n // max(number.clusters, 1), 1)


def _fewest_images(curves: Curves, points: Mapping[str, Sequence[PointInfo]], least: int) -> int:
    applied = (p for own in points.values() for p in own if curves.applies(p))
    return min([least, *(_images(curves.rate(p.label)) for p in applied)])


def _problems(
    curves: Curves, points: Mapping[str, Sequence[PointInfo]], *, damaged: bool
) -> list[str]:
    """Why a tier has no value: what is missing is never left out of a minimum or a mean."""
    found = []
    for point in (p for own in points.values() for p in own):
        if not curves.applies(point):
            continue
        number = curves.rate(point.label)
        if not (number.done and number.by_copy):
            word = "incomplete" if number.done else number.outcome
            found.append(f"{point.label} {word}: {number.reason or 'a rate is not a number'}")
        elif damaged and not point.geometric and curves.damage(point) is None:
            found.append(f"{point.label}: {_no_damage(curves, point)}")
    return found


def _no_damage(curves: Curves, point: PointInfo) -> str:
    key = ("damage", "ssim") if point.kind == "image" else curves.board.distance_key
    number = curves.number(point.label, *key)
    if not number.done:
        return f"its damage is {number.outcome}: {number.reason}"
    if number.detail.get("host") == 0:
        return "its damage is not known: the host's own distance to real images is 0"
    return "its damage is not known; measure it again with `fpbench score`"
