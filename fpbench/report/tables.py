"""Records → a board: methods, attacks, points, and the one number that stands in each place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from fpbench.builtin.self_marked.method import SelfMarked
from fpbench.report.inputs import Inputs, Record, method_label, suite_points
from fpbench.report.kinds import BITS, SAMPLES, WEIGHTS, unasked
from fpbench.store.names import Slugs

DONE = "done"
MISSING = "missing"
NONE = "none"
RECORD_DIGITS = 12
"""Digits of a record id in links; two of a million records share them once in five hundred."""
BLAME = ("coalition", "forgery")
"""Kinds of attacks after which no single user is the right one to accuse."""


@dataclass(frozen=True)
class Number:
    """One number of one method at one point, over its training seeds, or why there is none.

    Attributes:
        outcome: as in `fpbench.api.Outcome`, or "missing" where the records say nothing.
        reason: why not done.
        value: mean over training seeds.
        low: lower end of the interval; None with several seeds, which are shown as points.
        high: upper end.
        rule: of the interval.
        n: images of each training.
        clusters: copies of each training.
        seeds: the value of each training seed, in order.
        by_copy: mean over seeds for each copy; empty where a copy has no value.
        effect: "none" where the attack left the mark as it was, else empty.
        detail: numbers averaged over seeds, all else of the first.
        cost: medians would need more seeds than there are; means over seeds.
        ids: record ids.
    """

    outcome: str = MISSING
    reason: str = "no record of it; run the suite again"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    rule: str = ""
    n: int = 0
    clusters: int = 0
    seeds: tuple[float, ...] = ()
    by_copy: tuple[float, ...] = ()
    effect: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    ids: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether there is a number."""
        return self.outcome == DONE

    @property
    def record(self) -> str:
        """Start of the first record's id, as links give it."""
        return self.ids[0][:RECORD_DIGITS] if self.ids else ""


@dataclass(frozen=True)
class MethodInfo:
    """A row of the board.

    Attributes:
        label: name on the page.
        slug: name of its file.
        index: place in the suite; picks colour and marker.
        about: the record's own description: placement, bits, gives, reads, name, version, params.
        unavailable: why no plugin offers it; empty if one does.
    """

    label: str
    slug: str
    index: int
    about: Mapping[str, Any]
    unavailable: str = ""

    @property
    def kind(self) -> str:
        """Placement and what it gives: "in-model, 32 bits", "passive, scores"."""
        if "placement" not in self.about:
            return "unavailable" if self.unavailable else "no record of it"
        given = f"{self.about['bits']} bits" if self.gives == BITS else self.gives
        read = ", read from weights" if self.reads == WEIGHTS else ""
        # Whoever submitted it has made these marks: nobody else can.
        by = "self-marked, " if self.about.get("name") == SelfMarked.name else ""
        return f"{by}{self.about['placement']}, {given}{read}"

    @property
    def gives(self) -> str:
        """What its readings are: bits, scores or presence."""
        return str(self.about.get("gives") or BITS)

    @property
    def reads(self) -> str:
        """What it looks at: samples or weights."""
        return str(self.about.get("reads") or SAMPLES)

    @property
    def trains(self) -> bool:
        """False for a method that trains nothing, so that one run says all."""
        return bool(self.about.get("trains", True))

    @property
    def trained_elsewhere(self) -> bool:
        """Whether it stands on files that were trained elsewhere, and trains nothing itself."""
        return bool(self.about.get("assets")) and not self.trains


@dataclass(frozen=True)
class PointInfo:
    """One attack at one strength, the untouched point, or a cross of two attacks.

    Attributes:
        label: as people write it.
        slug: for anchors.
        attack: label of the attack.
        kind: "none", "image", "model", "cross", "coalition", "forgery", or "unknown" where no
            record tells.
        strength: in the attack's unit; None without a knob.
        scored: of an image attack, whether the suite names the strength for the processing tier.
        tier: "samples", "copy", "training", or "" where it has no part in the score.
        geometric: moves pixels, so that no likeness can judge its damage.
        in_samples: of a geometric attack, whether the suite names the strength for the samples
            tier.
        access: what the adversary holds.
        steps: of training that he spends.
        clean: clean samples that he owns.
    """

    label: str
    slug: str
    attack: str
    kind: str
    strength: float | None
    scored: bool
    tier: str = ""
    geometric: bool = False
    in_samples: bool = False
    access: tuple[str, ...] = ()
    steps: int = 0
    clean: int = 0

    @property
    def title(self) -> str:
        """Its label, and a word for the point without a label of its own."""
        return "untouched" if self.label == NONE else self.label

    @property
    def short(self) -> str:
        """Its strength, or the attack where there is none."""
        return f"{self.strength:g}" if self.strength is not None else self.title


@dataclass(frozen=True)
class AttackInfo:
    """An attack with its points from weakest to strongest."""

    label: str
    slug: str
    kind: str
    family: str
    about: Mapping[str, Any]
    points: tuple[PointInfo, ...]
    unavailable: str = ""

    @property
    def knob(self) -> str:
        """Name and unit of the strength."""
        name, unit = self.about.get("strength_name", ""), self.about.get("strength_unit", "")
        return f"{name} ({unit})" if name and unit and name != unit else str(name)


@dataclass(frozen=True)
class Budgets:
    """What an adversary may spend in the score.

    Attributes:
        damage: largest D of a changed model, (distance - untouched) / host.
        samples: largest 1 - SSIM of changed samples.
        training_steps: most steps of training.
        clean_samples: most clean samples.
    """

    damage: float
    samples: float
    training_steps: int
    clean_samples: int


class Board:
    """All that the pages show.

    Args:
        inputs: of a run.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.suite = inputs.suite
        self.records = inputs.records
        self._rows: dict[tuple[str, int, str, str, str], Record] = {}
        self._outcomes: dict[tuple[str, int, str], Record] = {}
        self._touched: set[tuple[str, int, str]] = set()
        for record in inputs.records:
            cell = (method_label(record), record["training_seed"], record["point"]["label"])
            self._touched.add(cell)
            if record["metric"]:
                self._rows[(*cell, record["metric"], record["variant"])] = record
            else:
                self._outcomes[cell] = record
        self._numbers: dict[tuple[str, str, str, str], Number] = {}

    # -- records ----

    @cached_property
    def by_method(self) -> Mapping[str, Sequence[Record]]:
        """Method -> its records, in order; an unavailable attack's are of no method."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(method_label(record), []).append(record)
        return found

    # -- what there is -----------------------------------------------------------------------

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """Training-seed indices."""
        listed = self.suite.get("training", {}).get("seeds")
        return tuple(listed or sorted({r["training_seed"] for r in self.records})) or (0,)

    @cached_property
    def registered(self) -> int | None:
        """N of the suite."""
        found: int | None = self._score_setting("registered")
        return found

    @cached_property
    def false_rate(self) -> float | None:
        """α of the suite."""
        found: float | None = self._score_setting("false_rate")
        return found

    @cached_property
    def budgets(self) -> Budgets:
        """Of the suite."""
        score = self.suite.get("score") or {}
        return Budgets(
            float(score.get("damage_budget", 0.5)),
            float(score.get("sample_budget") or 0.25),
            int(score.get("training_steps", 1000)),
            int(score.get("clean_samples", 1000)),
        )

    @cached_property
    def modality(self) -> str:
        """What kind of thing samples are, by name."""
        return str(self.records[0].get("modality", "image")) if self.records else "image"

    @property
    def of_images(self) -> bool:
        """Whether samples are images."""
        return self.modality == "image"

    @cached_property
    def _titles(self) -> Mapping[str, tuple[str, str]]:
        sample = self.records[0].get("sample") if self.records else None
        told = sample.get("titles") if isinstance(sample, dict) else None
        # Records of a board come from others.
        return {
            str(name): (str(each[0]), str(each[1]))
            for name, each in (told.items() if isinstance(told, dict) else ())
            if isinstance(each, list) and len(each) == 2
        }

    def title(self, name: str) -> tuple[str, str]:
        """How a likeness, or "distance", the damage, of samples that are no images is called.

        Returns:
            Its name, and its unit; empty where that is not known.
        """
        return self._titles.get(name, ("damage" if name == "distance" else name, ""))

    @cached_property
    def likeness(self) -> tuple[str, ...]:
        """Names of what pairs of samples are compared by: of images "psnr" and "ssim"."""
        if self.of_images:
            return ("psnr", "ssim")
        metrics = ("imperceptibility", "damage")
        found = {r["variant"]: None for r in self.records if r["metric"] in metrics}
        return tuple(name for name in found if name != "distance")

    @property
    def sample_damage(self) -> str:
        """What the damage of changed samples is called."""
        return "1 − SSIM" if self.of_images else " in ".join(filter(None, self.title("distance")))

    @cached_property
    def old_score(self) -> str:
        """Why a board of an earlier score has no tiers; empty for a board of this one."""
        score = self.suite.get("score")
        if not score or "sample_budget" in score:
            return ""
        return (
            "the suite's budgets are those of an earlier score, a mean over attack families; run "
            "the suite again"
        )

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """Training seeds of a method; the first alone where it trains nothing."""
        return self.seeds if self.by_label[method].trains else self.seeds[:1]

    @cached_property
    def by_label(self) -> Mapping[str, MethodInfo]:
        """Label -> method."""
        return {method.label: method for method in self.methods}

    @cached_property
    def methods(self) -> tuple[MethodInfo, ...]:
        """In the order of the suite, then those that are unavailable."""
        about: dict[str, Mapping[str, Any]] = {
            method["label"]: method for method in self.suite.get("methods", [])
        }
        reasons: dict[str, str] = {}
        for record in self.records:
            label = method_label(record)
            if label and record["cell"]:
                about[label] = {**about.get(label, {}), **record["method"]}
            elif label:
                about.setdefault(label, record["method"])
                reasons[label] = record["reason"]
        slugs = Slugs()
        return tuple(
            MethodInfo(label, slugs.make(label), index, facts, reasons.get(label, ""))
            for index, (label, facts) in enumerate(about.items())
        )

    @cached_property
    def points(self) -> tuple[PointInfo, ...]:
        """Untouched first, then by attack, weakest first, then crosses."""
        seen = self._seen_points()
        order: dict[str, tuple[str, float | None]] = {**suite_points(self.suite)}
        for label, point in seen.items():
            order.setdefault(label, attack_and_strength(point))
        slugs = Slugs()
        return tuple(
            PointInfo(
                label,
                slugs.make(label),
                attack,
                _kind(label, seen.get(label)),
                strength,
                _scored(seen.get(label)),
                **_asked(seen.get(label)),
            )
            for label, (attack, strength) in order.items()
        )

    @cached_property
    def attacks(self) -> tuple[AttackInfo, ...]:
        """In the order of the suite, crosses and unavailable ones last."""
        slugs = Slugs()
        seen = self._seen_points()
        listed = {a["label"]: a for a in self.suite.get("attacks", [])}
        found = []
        for label in dict.fromkeys(p.attack for p in self.points if p.label != NONE):
            points = tuple(p for p in self.points if p.attack == label)
            about = next((_part(seen[p.label]) for p in points if p.label in seen), None)
            about = {**listed.get(label, {}), **(about or {})}
            kind, family = points[0].kind, str(about.get("family", ""))
            found.append(AttackInfo(label, slugs.make(label), kind, family, about, points))
        return (*found, *self._unavailable_attacks(slugs))

    def _unavailable_attacks(self, slugs: Slugs) -> Iterable[AttackInfo]:
        for record in self.records:
            label = record["point"]["label"]
            if not record["cell"] and not method_label(record):
                yield AttackInfo(label, slugs.make(label), "unknown", "", {}, (), record["reason"])

    @cached_property
    def traced_points(self) -> tuple[PointInfo, ...]:
        """The points whose images have one right user: all but coalitions and forgeries."""
        return tuple(p for p in self.points if p.kind not in BLAME)

    @cached_property
    def tracing_attacks(self) -> tuple[AttackInfo, ...]:
        """The attacks of these points, unavailable ones included."""
        return tuple(a for a in self.attacks if a.kind not in BLAME)

    def points_of(self, kind: str) -> list[PointInfo]:
        """The points of one kind, in the order of the suite."""
        return [point for point in self.points if point.kind == kind]

    def cells(self) -> Iterable[tuple[MethodInfo, int, PointInfo, Number]]:
        """Every cell that the suite asks for, with its outcome."""
        for method in self.methods:
            if method.unavailable:
                continue
            for seed in self.seeds_of(method.label):
                for point in self.points:
                    yield method, seed, point, self.cell(method.label, seed, point.label)

    # -- what stands in a place --------------------------------------------------------------

    def cell(self, method: str, seed: int, point: str) -> Number:
        """How a cell ended; of its numbers only the outcome."""
        record = self._outcomes.get((method, seed, point))
        if record is not None:
            return _number(record)
        done = (method, seed, point) in self._touched
        return Number(outcome=DONE, reason="") if done else Number()

    def at_seed(self, method: str, seed: int, point: str, metric: str, variant: str = "") -> Number:
        """A number of one training."""
        record = self._rows.get((method, seed, point, metric, variant))
        if record is not None:
            return _number(record)
        cell = self.cell(method, seed, point)
        if not cell.done:
            return cell
        about = self.by_label[method]
        if why := unasked(about.gives, about.reads, metric, variant):
            return Number("refused", why)
        return Number(reason=f"{metric} is not measured here")

    def number(self, method: str, point: str, metric: str, variant: str = "") -> Number:
        """A number over all training seeds; not done as soon as one of them is not."""
        key = (method, point, metric, variant)
        if key not in self._numbers:
            reason = self.by_label[method].unavailable
            seeds = self.seeds_of(method)
            parts = [self.at_seed(method, s, point, metric, variant) for s in seeds]
            missing = Number("unavailable", reason)
            self._numbers[key] = missing if reason else _merge(parts, seeds)
        return self._numbers[key]

    @cached_property
    def distance_name(self) -> str:
        """The distance that damage is judged by, as people call it."""
        metric, variant = self.distance_key
        if metric != "fid":
            return self._titles.get(metric, ("Fréchet distance", ""))[0]
        published = all(
            r["detail"].get("published_weights", True) for r in self.records if r["metric"] == "fid"
        )
        name = "FID" if variant == "2048" else f"FID-{variant}"
        return name if published else f"{name} (other weights)"

    def mixed_versions(self, metric: str) -> str:
        """Which numbers of a score were made by different versions of a measure; else empty.

        Args:
            metric: that the score is of.
        """
        versions: dict[str, set[str]] = {}
        for record in self.records:
            if record["metric"] in (self.distance_key[0], metric, "bit-accuracy"):
                versions.setdefault(record["metric"], set()).add(
                    str(record.get("metric_version", ""))
                )
        mixed = [f"{k} {' and '.join(sorted(v))}" for k, v in versions.items() if len(v) > 1]
        if not mixed:
            return ""
        return f"measured by different versions of {'; '.join(mixed)}: run `fpbench score` on it"

    def distance(self, method: str, point: str) -> Number:
        """Distance to real images, the one that the suite judges damage by."""
        return self.number(method, point, *self.distance_key)

    @cached_property
    def distance_key(self) -> tuple[str, str]:
        """Metric and variant of the distance that damage is judged by."""
        if self.suite.get("score", {}).get("damage_by") != "fid":
            return "frechet-proxy", "copies"
        networks = self.suite.get("backbones") or []
        return "fid", next(b["layer"] for b in networks if b["use"] == "inception")

    def _score_setting(self, name: str) -> Any:
        listed = self.suite.get("score", {}).get(name)
        if listed is not None:
            return listed
        details = (r["detail"] for r in self.records if r["metric"] == "attribution")
        return next((d[name] for d in details if name in d), None)

    def _seen_points(self) -> dict[str, Record]:
        if "_seen" not in self.__dict__:
            seen = (r["point"] for r in self.records if r["cell"])
            self.__dict__["_seen"] = {point["label"]: point for point in seen}
        known: dict[str, Record] = self.__dict__["_seen"]
        return known


def _part(point: Record) -> Record:
    """The attack of a point; of a cross the first."""
    part: Record = point.get("model") or point.get("image") or {}
    return part


def attack_and_strength(point: Record) -> tuple[str, float | None]:
    """Label of a point's attack, of a cross both, and its strength, of a cross none."""
    parts = [p for p in (point.get("model"), point.get("image")) if p]
    if len(parts) == 1:
        return parts[0]["label"], parts[0]["strength"]
    return " + ".join(p["label"] for p in parts), None


def _kind(label: str, point: Record | None) -> str:
    if label == NONE:
        return NONE
    if point is None:
        return "unknown"
    model = point.get("model") or {}
    if model.get("kind") in BLAME:
        return str(model["kind"])
    if model and point.get("image"):
        return "cross"
    return "model" if point.get("model") else "image"


def _scored(point: Record | None) -> bool:
    return point is not None and all(
        part["scored"] for part in (point.get("model"), point.get("image")) if part
    )


def _asked(point: Record | None) -> dict[str, Any]:
    """What a point takes of an adversary, and which part of the score it has."""
    part = _part(point or {})
    return {
        "tier": str(part.get("tier") or ""),
        "geometric": bool(part.get("geometric")),
        "in_samples": bool(part.get("in_samples")),
        "access": tuple(map(str, part.get("access") or ())),
        "steps": int(part.get("steps") or 0),
        "clean": int(part.get("clean_images") or 0) if _uses_clean(part) else 0,
    }


def _uses_clean(part: Record) -> bool:
    return "clean-images" in (part.get("access") or ())


def _number(record: Record) -> Number:
    value = record["value"]
    by_copy = tuple(record["by_copy"])
    return Number(
        outcome=record["outcome"],
        reason=record["reason"],
        value=value,
        low=record["low"],
        high=record["high"],
        rule=record["rule"],
        n=record["n"],
        clusters=record["clusters"],
        seeds=() if value is None else (value,),
        by_copy=() if None in by_copy else by_copy,
        effect=str(record.get("effect") or ""),
        detail=record["detail"],
        cost=record.get("cost") or {},
        ids=(record["record_id"],),
    )


def _merge(parts: Sequence[Number], seeds: Sequence[int]) -> Number:
    if len(parts) == 1 or (not parts[0].done and all(p.reason == parts[0].reason for p in parts)):
        return parts[0]
    for seed, part in zip(seeds, parts, strict=True):
        if not part.done:
            return replace(part, reason=f"training seed {seed}: {part.reason}", ids=_ids(parts))
    values = [part.value for part in parts if part.value is not None]
    lengths = {len(part.by_copy) for part in parts}
    return replace(
        parts[0],
        value=sum(values) / len(values) if len(values) == len(parts) else None,
        low=None,
        high=None,
        rule="training seeds as points",
        seeds=tuple(values),
        by_copy=tuple(_mean(v) for v in zip(*(p.by_copy for p in parts), strict=True))
        if len(lengths) == 1
        else (),
        detail=_average([part.detail for part in parts]),
        cost=_average([part.cost for part in parts]),
        ids=_ids(parts),
    )


def _ids(parts: Sequence[Number]) -> tuple[str, ...]:
    return tuple(i for part in parts for i in part.ids)


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _average(details: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {key: _average_value([d.get(key) for d in details]) for key in details[0]}


def _average_value(values: Sequence[Any]) -> Any:
    first = values[0]
    if all(isinstance(v, bool) for v in values):
        return all(values)
    if all(isinstance(v, int | float) for v in values):
        return first if len(set(values)) == 1 else _mean(values)
    if all(isinstance(v, list) and len(v) == len(first) for v in values):
        return [_average_value(column) for column in zip(*values, strict=True)]
    if all(isinstance(v, Mapping) for v in values):
        return _average(values)
    return first
