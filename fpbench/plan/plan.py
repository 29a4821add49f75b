"""The stages of a suite and their keys. No torch, no images: a plan is made in a second.

    host ─┬─ fit (method, training seed) ─┬─ reading (copy, model point; image points as columns)
          │                               └─ null (negative source, model point; same columns)
          └─ reference (features of real images), the same of each backbone, of real and host images
    measure (cell) ← its readings, nulls, references

A *cell* is one method × training seed × point. The points are a star: every model or pipeline
point with untouched images, every image point with untouched copies, and the crosses that the
suite lists. Where a suite asks for snapshots, a choice among them stands behind the training of the
host, and behind that of a method with a generator of its own; what follows derives from the choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbench.api import (
    Access,
    Attack,
    Gives,
    Metric,
    Modality,
    NoParams,
    PassiveMethod,
    Reads,
    digest,
)
from fpbench.api.numerics import NUMERICS_EPOCH
from fpbench.builtin.codes.uniform import Uniform
from fpbench.builtin.codes.weighted import Weighted
from fpbench.builtin.image.modality import Image
from fpbench.plan.backbones import PlannedBackbone
from fpbench.plan.data import (
    DataFacts,
    budgeted,
    check_data,
    data_identity,
    look_at,
    modality_identity,
)
from fpbench.plan.faults import Fault
from fpbench.plan.identity import identity, proxy_digest
from fpbench.plan.keys import key_of, sub_key, trimmed
from fpbench.plan.points import (
    TUNING_COPIES,
    AttackPoint,
    Cell,
    Fit,
    Point,
    Want,
    drawn_from,
    fits_on_training,
    learns_method,
    star,
    takes_others,
    trains_generator,
)
from fpbench.plan.refusals import refusal_of, setting_of
from fpbench.spec import Suite, SuiteAttack, SuiteMethod

CHUNK = 64  # images generated and read at a time; part of the keys, since it may move a last digit
CHOICE_IMAGES = 5000  # drawn from each snapshot, and as many training images, if there are
_KEPT_BYTES = 2**24  # of the images of one copy or of the host; more of them are drawn again
SHOWN_COPIES = 2  # whose images of the same latents pages show one below the other
OUTSIDERS = "unregistered"
"""Copies of users outside the registry, as a source of images of no registered user."""
_MEASURED_COPIES = 10  # an attack on fewer decides nothing, so its count holds back no other
NUMERICS = {"precision": "fp32", "tf32": False, "epoch": NUMERICS_EPOCH}
"""Of all stages but trainings, whose precision is the suite's."""


@dataclass(frozen=True)
class Plan:
    """All stages of a suite, keyed."""

    suite: Suite
    metrics: tuple[Metric[Any], ...]
    backbones: tuple[PlannedBackbone, ...]
    facts: DataFacts
    modality: Modality[Any]
    data: dict[str, Any]
    host_key: str
    host_training: str
    reference_key: str
    strangers: Mapping[str, str]
    fits: tuple[Fit, ...]
    points: tuple[Point, ...]
    cells: tuple[Cell, ...]
    weights: Path | None = None  # folder of files that are brought by hand; no part of any key

    @property
    def distance_count(self) -> int:
        """Images that distances are made of in every cell that has as many."""
        return _distance_count(self.suite)

    @property
    def of_images(self) -> bool:
        """Whether samples are images, which some things are done with alone."""
        return isinstance(self.modality, Image)

    @property
    def ready(self) -> tuple[PlannedBackbone, ...]:
        """The backbones that can be used."""
        return tuple(backbone for backbone in self.backbones if not backbone.reason)

    def backbone_key(self, backbone: PlannedBackbone) -> str:
        """Key of a network's features of real images, with what is derived from them."""
        return _reference_key(self.data, backbone=backbone.key_part)

    def host_features_key(self, backbone: PlannedBackbone) -> str:
        """Key of a network's features of host images."""
        return key_of(
            "host-features",
            real=self.backbone_key(backbone),
            host=self.host_key,
            images=self.suite.negatives.host,
            per_copy=self.suite.population.images,
            seed=self.suite.header.seed,
        )

    @property
    def chooser(self) -> PlannedBackbone | None:
        """The network by whose distance snapshots are chosen; None if it cannot be used."""
        return next((backbone for backbone in self.ready if backbone.features), None)

    @property
    def choice_images(self) -> int:
        """Images of the training split that snapshots are compared with, and drawn from each."""
        return min(CHOICE_IMAGES, self.facts.counts["train"])

    def training_features_key(self, backbone: PlannedBackbone) -> str:
        """Key of a network's features of training images."""
        of = self.backbone_key(backbone)
        return key_of("training-features", of=of, images=self.choice_images)

    def snapshots_key(self, training: str) -> str:
        """Key of the states that the training of this key keeps beside its last."""
        return key_of("snapshots", of=training)

    def training_images_key(self, trained: str) -> str:
        """Key of the samples that were kept while the stage of this key was trained."""
        return key_of("training-images", of=trained)

    def secrecy_key(self, fit: Fit) -> str:
        """Key of the secrecy detector's scores."""
        return key_of(
            "secrecy",
            **fit.key_part,
            numerics=NUMERICS,
            copies=len(self.users(fit)),
            seed=self.suite.header.seed,
            detector=trimmed(self.suite.secrecy.model_dump(mode="json")),
        )

    def looked_for(self, fit: Fit) -> str:
        """Why nobody tries to see a method's fingerprint in images; empty where somebody does."""
        method = fit.method.component
        if not self.suite.secrecy.steps:
            return "the suite does not ask for it"
        if not self.of_images:
            return f"the detector sees images alone, and these are samples of {self.facts.modality}"
        if method.reads is Reads.WEIGHTS:
            return "the method reads weights, and need not leave anything in images"
        return "nothing is put into a copy" if isinstance(method, PassiveMethod) else ""

    def wants(self, fit: Fit, model: AttackPoint | None) -> list[Want]:
        """What is asked of the images of a copy, a coalition or a forger at a model point."""
        images = self.open_points(fit).get(model, [])
        found = [Want(image) for image in images]
        # An untouched copy is compared with the host, where the host shows the same picture.
        pairs = [i for i in images if i or model or fit.method.component.keeps_sample]
        for backbone in self.ready:
            if backbone.pairs:
                found += [Want(image, backbone) for image in pairs]
            elif None in images and (model is None or model.kind != "forgery"):
                found.append(Want(None, backbone))
        return found

    def users(self, fit: Fit) -> range:
        """Registered users who are issued a copy."""
        return range(self.suite.users(fit.method))

    def copies(self, fit: Fit, point: AttackPoint | None) -> int:
        """How many copies a model point is run on."""
        limit = point.attack.options.copies if point is not None else None
        everyone = len(self.users(fit))
        return everyone if limit is None else min(limit, everyone)

    def subjects(self, fit: Fit, point: AttackPoint | None) -> list[tuple[int, ...]]:
        """The users behind each reading at a model point: one user, or a coalition; disjoint."""
        size = point.size if point is not None else 1
        firsts = range(0, self.copies(fit, point) - size + 1, size)
        return [tuple(range(first, first + size)) for first in firsts]

    def subject(self, fit: Fit, point: AttackPoint | None, user: int) -> int | None:
        """Index of the subject whose first user this is; None if there is none."""
        size = point.size if point is not None else 1
        index, inside = divmod(user, size)
        return index if not inside and (index + 1) * size <= self.copies(fit, point) else None

    def images(self, point: AttackPoint | None) -> int:
        """How many images are drawn from each copy at a model point."""
        number = point.attack.options.images if point is not None else None
        return self.suite.population.images if number is None else number

    def open_points(self, fit: Fit) -> dict[AttackPoint | None, list[AttackPoint | None]]:
        """Model point -> the image points read there, of all that are not refused; None first."""
        cache: dict[int, Any] = self.__dict__.setdefault("_points", {})
        if fit.index not in cache:
            found: dict[AttackPoint | None, list[AttackPoint | None]] = {}
            for cell in self.cells:
                if cell.fit is fit and cell.open:
                    found.setdefault(cell.point.model, []).append(cell.point.image)
            cache[fit.index] = found
        known: dict[AttackPoint | None, list[AttackPoint | None]] = cache[fit.index]
        return known

    def issue_key(self, fit: Fit, user: int) -> str:
        """Key of what was issued to a user, whose code follows from the suite's seed.

        A passive method's copies are everybody's: the host trained again with the user's seed.
        """
        if isinstance(fit.method.component, PassiveMethod):
            return key_of("passive", host=self.host_training, user=str(user))
        return key_of("issue", **fit.key_part, user=user)

    def enrol_key(self, fit: Fit) -> str:
        """Key of what the owner prepares of all registered users; "" where nothing is."""
        if not fit.enrols:
            return ""
        issued = [self.issue_key(fit, user) for user in self.users(fit)]
        return key_of(
            "enrol",
            **fit.key_part,
            afterwards=fit.afterwards,
            issued=issued,
            training_seed=str(fit.drawn_from),
            numerics=NUMERICS,
            seed=str(self.suite.header.seed),
        )

    def reading_key(self, fit: Fit, subject: int, model: AttackPoint | None) -> str:
        """Key of the reading of a copy, a coalition or a victim at a model point."""
        return sub_key(self._base(fit, "reading", model, self.images(model)), subject)

    def null_key(self, fit: Fit, source: str, model: AttackPoint | None) -> str:
        """Key of the readings of negatives from `source` ("real" or "host")."""
        return sub_key(self._base(fit, f"null-{source}", model, self.negatives(source, model)), 0)

    def sheet_key(self, fit: Fit, user: int | None, model: AttackPoint | None) -> str:
        """Key of the images that pages show of a copy or, of None, of the host; "" for none.

        They show a method's first training. No number is made of them, so they lie apart from
        readings, and may be missing.
        """
        if user is None:
            shown = model is None
        else:
            shown = user == 0 or (model is None and user < SHOWN_COPIES)
        first = min(other.seed for other in self.fits if other.method is fit.method)
        if not shown or fit.seed != first:
            return ""
        base = self._base(fit, "sheet", model, self.suite.population.shared)
        return sub_key(base, -1 if user is None else user)

    def drawing_key(self, fit: Fit, user: int | None, model: AttackPoint | None) -> str:
        """Key of the images that a copy or, of None, the host draws; "" where none are kept.

        They are kept where the next image attack would draw them again: of untouched copies, and of
        the host, whose images under an attack that knows no method serve all methods. They lie
        apart from readings, and where they are too many they are drawn again instead.
        """
        if user is None:
            source = {"host": self.host_key, "per_copy": self.suite.population.images}
            count, kept = self.negatives("host", model), model is None or _knows_no_method(model)
        else:
            source = {**fit.key_part, "user": str(user)}
            count, kept = self.images(model), model is None
        if not kept or count * self.facts.info.nbytes > _KEPT_BYTES:
            return ""
        return key_of(
            "drawing",
            **source,
            **self._point_parts(model),
            images=count,
            chunk=CHUNK,
            numerics=NUMERICS,
            seed=self.suite.header.seed,
        )

    def host_is_negative(self, model: AttackPoint | None) -> bool:
        """Whether host images under the attack are negatives: not for coalitions and forgeries."""
        return model is None or model.kind == "model"

    def sources(self, fit: Fit, model: AttackPoint | None) -> list[str]:
        """Sources of what bears no registered user's mark and is read at a model point."""
        if not self.host_is_negative(model):
            return []
        if model is not None or fit.method.component.reads is Reads.WEIGHTS:
            return ["host"]
        return ["real", "host", *self.strangers, *([OUTSIDERS] if self.outsiders(fit) else [])]

    def negatives(self, source: str, model: AttackPoint | None) -> int:
        """How many negatives a source gives at a model point."""
        numbers = self.suite.negatives
        if model is not None:
            return numbers.attacked_host
        return numbers.real if source == "real" else numbers.host

    def tuning_users(self, fit: Fit) -> range:
        """Users whose copies serve to tune attacks and are never reported."""
        everyone = len(self.users(fit))
        return range(everyone, everyone + TUNING_COPIES)

    def others(self, fit: Fit) -> range:
        """Users for tuning whose copies are made: to tune attacks on, or to learn from."""
        points = (point for points in self.open_points(fit).items() for point in _flat(points))
        asked = any(p.attack.candidates or takes_others(p.attack) for p in points)
        return self.tuning_users(fit) if asked else range(0)

    def outsiders(self, fit: Fit) -> range:
        """Users who get copies and are not registered: where leaving one out is not free."""
        method, behind = fit.method.component, self.tuning_users(fit).stop
        asked = method.gives is Gives.SCORES and not method.separable
        return range(behind, behind + asked * (self.suite.population.unregistered or 0))

    def tuned_attacks(self, fit: Fit) -> dict[str, list[AttackPoint]]:
        """Label -> points of the attacks that are tuned against a method."""
        found: dict[str, list[AttackPoint]] = {}
        for model in self.open_points(fit):
            if model is not None and model.attack.candidates:
                found.setdefault(model.attack.label, []).append(model)
        return found

    def tuning_key(self, fit: Fit, models: Sequence[AttackPoint]) -> str:
        """Key of the choice among an attack's candidates."""
        readings = [self._base(fit, "tuning", model, self.images(model)) for model in models]
        return key_of(
            "tuning",
            readings=readings,
            damage_budget=self.suite.score.damage_budget,
            users=list(self.tuning_users(fit)),
            real=self.reference_key if self.judge is None else self.backbone_key(self.judge),
        )

    def prepared_key(self, fit: Fit | None, attack: SuiteAttack, component: Attack[Any]) -> str:
        """Key of what an attack, or a candidate of a tuned one, learns before any copy is attacked.

        "" where it learns nothing. It is learnt once for what the attack's access opens, so `fit`
        may be None where that is nothing of a method.
        """
        if type(component).fit is Attack.fit:
            return ""
        of: dict[str, Any] = {}
        if learns_method(component):
            assert fit is not None
            of = {"of": fit.key_part, "others": self._others_issued(fit, component)}
        clean = Access.CLEAN_IMAGES in component.access
        public = Access.PUBLIC_HOST in component.access
        return key_of(
            "attack-fit",
            **of,
            attack=identity(component),
            host=self.host_key if public else None,
            data=self.data if clean else None,
            **modality_identity(self.facts, self.modality),
            clean_images=attack.options.clean_images if clean else None,
            clean_from=str(self.suite.clean_from) if clean else None,
            numerics=NUMERICS,
            seed=str(self.suite.header.seed),
        )

    def _others_issued(self, fit: Fit, component: Attack[Any]) -> list[str]:
        """Keys of the copies whose images an attack learns from."""
        if Access.MARKED not in component.access:
            return []
        return [self.issue_key(fit, user) for user in self.tuning_users(fit)]

    def learnt(self, fit: Fit, point: AttackPoint) -> list[str]:
        """Keys of all that an attack learns before; empty where it learns nothing."""
        cache: dict[tuple[int, int], list[str]] = self.__dict__.setdefault("_learnt", {})
        attack = point.attack
        known = cache.get((fit.index, id(attack)))
        if known is None:
            parts = attack.candidates or (attack.component,)
            keys = (self.prepared_key(fit, attack, part) for part in parts)
            known = cache[fit.index, id(attack)] = [key for key in keys if key]
        return known

    @property
    def judge(self) -> PlannedBackbone | None:
        """The network that damage is judged in; None = the one that comes with fpbench.

        That one too where the suite asks for FID and this machine lacks the weights.
        """
        if self.suite.score.damage_by != "fid":
            return None
        return next((backbone for backbone in self.ready if backbone.features), None)

    def _choice(self, fit: Fit, model: AttackPoint) -> str:
        return self.tuning_key(fit, self.tuned_attacks(fit)[model.attack.label])

    def attack_steps(self, cell: Cell) -> int:
        """Training steps that the adversary spends on the model in a cell; none where he cannot."""
        return self._steps(cell, cell.point.model)

    def image_steps(self, cell: Cell) -> int:
        """Training steps that he spends for the attack on its images."""
        return self._steps(cell, cell.point.image)

    def _steps(self, cell: Cell, point: AttackPoint | None) -> int:
        if point is None or not cell.open:
            return 0
        return point.attack.component.steps(
            setting_of(self.suite, cell.fit, point, self.facts.info)
        )

    def column(self, fit: Fit, want: Want) -> str:
        """Key of a column in the readings and nulls of a training."""
        image = want.image.key_part if want.image is not None else None
        backbone = want.backbone.key_part if want.backbone is not None else None
        # The key of a reading tells its training, but nothing of what image attacks have learnt.
        learnt = self.learnt(fit, want.image) if want.image is not None else None
        return key_of("column", image=image, backbone=backbone, learnt=learnt)[:32]

    def _point_parts(self, model: AttackPoint | None) -> dict[str, Any]:
        """What a model point contributes: the attack, and the test images that it takes."""
        if model is None:
            return {}
        found: dict[str, Any] = {"point": model.key_part}
        if model.attack.options.clean_images:
            found["clean_images"] = model.attack.options.clean_images
        if Access.CLEAN_IMAGES in model.attack.component.access:
            found["clean_from"] = self.suite.clean_from
        if model.kind == "forgery":
            found["carriers_from"] = self.suite.carriers_from
        return found

    def _base(self, fit: Fit, kind: str, model: AttackPoint | None, images: int) -> str:
        cache: dict[Any, str] = self.__dict__.setdefault("_bases", {})
        known = cache.get((fit.index, kind, id(model)))
        if known is None:
            tuned = model is not None and bool(model.attack.candidates) and kind != "tuning"
            population = self.suite.population
            known = key_of(
                kind,
                **fit.key_part,
                **self._point_parts(model),
                afterwards=fit.afterwards,
                enrolled=self.enrol_key(fit),
                images=images,
                # Host negatives take the copies' latents, user by user.
                per_copy=population.images if kind == "null-host" else None,
                # Each copy is compared with the next on so many latents.
                between_codes=population.shared if kind == "reading" and model is None else None,
                # What is read of a copy depends on what the adversary has chosen.
                tuning=self._choice(fit, model) if tuned and model is not None else None,
                learnt=self.learnt(fit, model) if model and takes_others(model.attack) else None,
                chunk=CHUNK,
                proxy=_proxy(self.modality),
                numerics=NUMERICS,
                seed=self.suite.header.seed,
            )
            cache[fit.index, kind, id(model)] = known
        return known


def make_plan(
    suite: Suite,
    metrics: tuple[Metric[Any], ...],
    backbones: tuple[PlannedBackbone, ...] = (),
    data: DataFacts | None = None,
    modality: Modality[Any] | None = None,
) -> Plan:
    """Key every stage of a suite.

    Args:
        suite: what is asked.
        metrics: what is measured.
        backbones: the suite's, with their weights.
        data: what was found out about the samples before; None = look at them.
        modality: of the samples; None = images.

    Raises:
        SpecError: the data set has too few samples for what the suite asks, or of another kind.
    """
    facts, modality = data or look_at(suite), modality or Image(NoParams())
    assert facts.modality == modality.name
    suite = budgeted(suite, modality)
    check_data(suite, facts)
    # Without captions there is nothing that such a network could say.
    asked = facts.conditions == "captions" and not suite.host.pictures
    backbones = tuple(b for b in backbones if not b.captions or asked)
    scored = any(backbone.captions for backbone in backbones)
    metrics = tuple(metric for metric in metrics if scored or not metric.of_captions)
    images = data_identity(suite, facts, modality)
    seed = suite.header.seed
    training = {"numerics": {**NUMERICS, "precision": suite.training.precision}, "seed": seed}
    snapshots = suite.training.snapshots or None
    host_training = key_of(
        "host", **training, host=identity(suite.host), data=images, snapshots=snapshots
    )
    judge = next((backbone.key_part for backbone in backbones if backbone.features), None)

    def chosen(key: str) -> str:
        """Of a choice among snapshots; weights that judge them may be missing."""
        if snapshots is None:
            return key
        return key_of(
            "choice",
            of=key,
            snapshots=snapshots,
            judge=judge,
            images=CHOICE_IMAGES,
            numerics=NUMERICS,
            seed=seed,
        )

    host_key = chosen(host_training)
    if suite.host.pictures:
        host_key = key_of("shown", of=host_training, first=str(suite.pictures_from))
    reference_key = _reference_key(images, proxy=_proxy(modality))
    fits: list[Fit] = []
    trainings = (
        (method, number)
        for method in suite.methods
        for number in suite.training.seeds[: None if method.component.trains else 1]
    )
    for method, number in trainings:
        own = trains_generator(method)
        host = host_training if fits_on_training(suite.host, method) else host_key
        key = key_of(
            "fit",
            **training,
            method=identity(method.component, without=method.component.afterwards),
            host=host if method.component.uses_host else None,
            data=images,
            training_seed=drawn_from(method, number),
            codes=None if _draws_uniform(method) else identity(method.code),
            snapshots=snapshots if own else None,
        )
        told = method.component.uses_host and not suite.host.pictures
        beside = "" if told else host_key
        fits.append(Fit(len(fits), method, number, chosen(key) if own else key, key, beside))
    strangers = {
        other.label: key_of("host", **training, host=identity(other.component), data=images)
        for other in suite.strangers
    }
    points = star(suite)
    measured = key_of(
        "measure",
        metrics=[identity(metric) for metric in metrics],
        population=trimmed(suite.population.model_dump(mode="json")),
        negatives=trimmed(suite.negatives.model_dump(mode="json")),
        secrecy=trimmed(suite.secrecy.model_dump(mode="json")),
        score=trimmed(suite.score.model_dump(mode="json")),
        reference=reference_key,
        distance_count=_distance_count(suite),
        # Weights that were brought since give numbers that the stored cells lack.
        backbones=[backbone.key_part for backbone in backbones],
        strangers=strangers,
        numerics=NUMERICS,
        seed=seed,
    )
    point_keys = [(_point_key(point), point) for point in points]
    cells = [
        _cell(suite, fit, point, facts, f"{measured}/{_subject(fit)}/{key}")
        for fit in fits
        for key, point in point_keys
    ]
    return Plan(
        suite,
        metrics,
        backbones,
        facts,
        modality,
        images,
        host_key,
        host_training,
        reference_key,
        strangers,
        tuple(fits),
        points,
        tuple(cells),
    )


def _subject(fit: Fit) -> str:
    """What a cell's key says of the method: training, host, copies of its own, how it is read."""
    copies = fit.method.options.copies
    own = "" if copies is None else f"/{copies}"
    read = dict(fit.afterwards)
    if type(fit.method.code) is Weighted:
        read["codes"] = identity(fit.method.code)
    return f"{fit.key}{fit.host}{own}{f'/{digest(read)}' if read else ''}"


def _cell(suite: Suite, fit: Fit, point: Point, facts: DataFacts, identity: str) -> Cell:
    key = hashlib.sha256(identity.encode()).hexdigest()
    try:
        return Cell(
            fit,
            point,
            key,
            *refusal_of(suite, fit, point, facts.info),
        )
    except Fault as fault:
        return Cell(fit, point, key, fault=str(fault))


def _draws_uniform(method: SuiteMethod) -> bool:
    """Whether trainings and copies know nothing of a method's codes: none, or drawn uniformly."""
    # Of a class derived from them nobody knows how it draws.
    return not method.component.bits or type(method.code) in (Uniform, Weighted)


def _proxy(modality: Modality[Any]) -> str:
    """What features are made with, where the modality's own part of a key does not say it."""
    return proxy_digest() if isinstance(modality, Image) else ""


def _reference_key(data: dict[str, Any], **network: Any) -> str:
    return key_of("reference", data=data, numerics=NUMERICS, **network)


def _distance_count(suite: Suite) -> int:
    """The fewest images of a model point that is run on enough copies, or of host images."""
    population = suite.population
    everyone = min((suite.users(method) for method in suite.methods), default=population.copies)
    counts = [everyone * population.images, suite.negatives.host]
    for attack in suite.attacks:
        copies = min(attack.options.copies or everyone, everyone)
        enough = copies >= min(_MEASURED_COPIES, everyone)
        if AttackPoint(attack, None).kind == "model" and enough:
            counts.append(copies * (attack.options.images or population.images))
    return min(counts)


def _knows_no_method(model: AttackPoint) -> bool:
    """Whether an attack does the same to the host whatever method it is run for."""
    attack = model.attack
    return not attack.candidates and attack.component.access.isdisjoint(
        {Access.TRAINER, Access.EMBEDDER, Access.MARKED}
    )


def _flat(points: tuple[AttackPoint | None, list[AttackPoint | None]]) -> list[AttackPoint]:
    """A model point and the image points read there, without the untouched ones."""
    model, images = points
    return [point for point in (model, *images) if point is not None]


def _point_key(point: Point) -> str:
    model = point.model
    options = model.attack.options if model is not None else None
    image = point.image.attack if point.image is not None else None
    owns = image is not None and Access.CLEAN_IMAGES in image.component.access
    return key_of(
        "point",
        model=model.key_part if model is not None else None,
        image=point.image.key_part if point.image is not None else None,
        copies=options.copies if options is not None else None,
        images=options.images if options is not None else None,
        clean_images=options.clean_images or None if options is not None else None,
        image_clean=image.options.clean_images if image is not None and owns else None,
    )
