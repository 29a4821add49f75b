"""A method's place on the page, from the computed rows of its cells (`score` has the formulas)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from audit import score
from audit.score import FEWEST, Place, Sample, Step

TIERS = ("processing", "samples", "copy", "training")
REMOVED_BELOW = 0.5

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """A point of the suite as the score sees it.

    Attributes:
        about: its attack in a record: label, family, tier, steps, access, strength, …
        label: of the point.
        image: whether it is an attack on images.
    """

    about: Table
    label: str
    image: bool

    @property
    def clean(self) -> int:
        """Clean samples that the adversary uses."""
        return self.about["clean_images"] if "clean-images" in self.about["access"] else 0

    def belongs(self, tier: str, budgets: Table) -> bool:
        """Whether it has a part in a tier."""
        about = self.about
        if tier == "processing":
            return self.image and about["scored"] and set(about["access"]) <= {"images"}
        if tier == "samples":
            return self.image and (about["in_samples"] or not about["geometric"])
        within = about["steps"] <= budgets["training_steps"]
        within = within and self.clean <= budgets["clean_samples"]
        return not self.image and about["tier"] == tier and within


@dataclass(frozen=True)
class Cell:
    """What a cell says of the score.

    Attributes:
        rates: (C,) right-rate of each copy among the suite's N.
        images: of each copy.
        damage: 1 - mean SSIM of attacked images, D of attacked copies.
    """

    rates: np.ndarray
    images: int
    damage: float


@dataclass(frozen=True)
class Stop:
    """Where an adversary may stop.

    Attributes:
        point: the strength, or the one before which the budget is crossed.
        where: as the page calls it.
        rates: (C,).
        damage: None where it is not judged.
    """

    point: Point
    where: str
    rates: np.ndarray
    damage: float | None

    @property
    def price(self) -> tuple[int, int, int, int, float]:
        """What it takes: tier, accesses, steps, clean samples, damage."""
        about = self.point.about
        spent = about["steps"], self.point.clean
        return TIERS.index(about["tier"]), len(about["access"]), *spent, self.damage or 0.0


@dataclass(frozen=True)
class Training:
    """One training of a method.

    Attributes:
        budgets: the suite's table `score`.
        attacks: attack -> its points, of those that are run on enough copies; suite order.
        clean: untouched.
        cells: label of a point -> its numbers; without those that have no meaning for the method
            or left its mark as it was.
    """

    budgets: Table
    attacks: Mapping[str, Sequence[Point]]
    clean: Cell
    cells: Mapping[str, Cell]
    tiers: dict[str, Sample] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before = Sample(self.clean.rates, self.clean.images)
        on_copy: list[Stop] = []
        for tier in TIERS:
            if not any(self._points(tier).values()):
                continue
            if tier == "processing":
                self.tiers[tier] = self._processing()
                continue
            stops = self.stops(tier)
            if tier == "copy":
                on_copy = stops
            # Who may train can do all that needs no training too.
            stops = on_copy + stops if tier == "training" else stops
            rates = [*(stop.rates for stop in stops), self.clean.rates]
            # ... and who then trains nothing is who needs no training.
            own = range(len(on_copy), len(stops))
            idle = tier == "training" and on_copy and not set(own) & set(score.picks(rates))
            if stops and not idle:
                images = min([self.clean.images, *(c.images for c in self._applied(tier))])
                before = Sample(score.worst(rates), images)
            self.tiers[tier] = before

    @property
    def value(self) -> float:
        """Mean of the tiers."""
        return float(np.mean([tier.rates.mean() for tier in self.tiers.values()]))

    def stops(self, tier: str) -> list[Stop]:
        """All places within the budget of a tier."""
        budget = self.budgets["sample_budget" if tier == "samples" else "damage_budget"]
        found = []
        for points in self._points(tier).values():
            here = [p for p in points if p.label in self.cells]
            moved = [p for p in here if tier == "samples" and p.about["geometric"]]
            found += [Stop(p, p.label, self.cells[p.label].rates, None) for p in moved]
            curve = [p for p in here if p not in moved]
            cells = [self.cells[p.label] for p in curve]
            steps = [Step(p.label, c.damage, c.rates) for p, c in zip(curve, cells, strict=True)]
            for place in score.places(self.clean.rates, steps, budget):
                found.append(_stop(curve, cells, place, budget))
        return found

    def removal(self) -> Stop | None:
        """The cheapest that leaves less than one half."""
        stops = [s for tier in TIERS[1:] for s in self.stops(tier)]
        removing = [s for s in stops if s.rates.mean() < REMOVED_BELOW]
        return min(removing, key=lambda s: s.price, default=None)

    def _points(self, tier: str) -> dict[str, list[Point]]:
        return {
            attack: [p for p in points if p.belongs(tier, self.budgets)]
            for attack, points in self.attacks.items()
        }

    def _applied(self, tier: str) -> list[Cell]:
        points = [p for own in self._points(tier).values() for p in own]
        return [self.cells[p.label] for p in points if p.label in self.cells]

    def _processing(self) -> Sample:
        """Mean over families of the mean over attacks of the mean over strengths."""
        families: dict[str, list[np.ndarray]] = defaultdict(list)
        for points in filter(None, self._points("processing").values()):
            rates = [self.cells[p.label].rates for p in points if p.label in self.cells]
            mean = np.mean(score.common(rates or [self.clean.rates]), axis=0)
            families[points[0].about["family"]].append(mean)
        each = [np.mean(score.common(attacks), axis=0) for attacks in families.values()]
        images = min((c.images for c in self._applied("processing")), default=1)
        return Sample(np.mean(score.common(each), axis=0), images)


def _stop(curve: Sequence[Point], cells: Sequence[Cell], place: Place, budget: float) -> Stop:
    point = curve[place.step]
    if not place.crossing:
        return Stop(point, point.label, place.rates, cells[place.step].damage)
    where = f"{point.label}, part"
    if place.step:
        low, high = (p.about["strength"] for p in curve[place.step - 1 : place.step + 1])
        where = f"{point.about['label']} {low:g}–{high:g}"
    return Stop(point, where, place.rates, budget)


def decides(copies: int | None, everyone: int) -> bool:
    """Whether an attack on so many copies (None = all) counts."""
    return min(copies or everyone, everyone) >= min(FEWEST, everyone)


@dataclass(frozen=True)
class Entry:
    """A method on the board.

    Attributes:
        trainings: of one seed each.
        trains: whether it trains anything.
        converged: whether it may be ranked.
    """

    trainings: Sequence[Training]
    trains: bool
    converged: bool

    @property
    def tiers(self) -> dict[str, Sample]:
        """Each tier's copies, mean over trainings."""
        found = {}
        for tier in self.trainings[0].tiers:
            own = [training.tiers[tier] for training in self.trainings]
            rates = np.mean(score.common([s.rates for s in own]), axis=0)
            found[tier] = Sample(rates, min(s.images for s in own))
        return found


def lines(entries: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """Method -> columns of its line in `leaderboard.csv`."""
    placed = {name: entry for name, entry in entries.items() if entry.converged}
    known = {}
    for name, entry in placed.items():
        scores = np.array([training.value for training in entry.trainings])
        shared = {}
        for tier, own in entry.tiers.items():
            count = min(len(other.tiers[tier].rates) for other in placed.values())
            shared[tier] = Sample(own.rates[:count], own.images)
        known[name] = score.Method(scores, shared, entry.trains)
    ranked = score.ranks(known)
    pooled = score.Trainings.of([m for m in known.values() if m.ranked])
    found = {}
    for name, entry in entries.items():
        line = _line(entry)
        line["rank"] = ranked.get(name, "")
        if name in ranked:
            line["score_low"], line["score_high"] = score.limits(known[name], pooled)
        found[name] = line
    return found


def _line(entry: Entry) -> dict[str, Any]:
    tiers = entry.tiers
    by_copy = [tier.rates for tier in tiers.values()]
    _, low, high = score.mover([tier.interval for tier in tiers.values()], by_copy)
    value = float(np.mean([training.value for training in entry.trainings]))
    line: dict[str, Any] = {"score": value, "score_low": low, "score_high": high}
    line |= {f"tier_{name}": float(tier.rates.mean()) for name, tier in tiers.items()}
    if len(entry.trainings) == 1:
        price = entry.trainings[0].removal()
        line["removed_by"] = price.where if price else ""
        line["removal_steps"] = price.point.about["steps"] if price else ""
        line["removal_clean_samples"] = price.point.clean if price else ""
    return line
