"""The stages of a plan as a graph: what each is made of, and which cells hang on it.

    host ── choice ─┬─ training ── choice ─┬─ issue (user) ─┬─ enrol ─┬─ copy (user)
                    │                      ├─ tuning ───────┤         │
    reference ──────┴──────────────────────┤                └─ secrecy│
    backbone ── host features      stranger ┴─ negatives ─────────────┘         … ── measuring

Executors walk it by key and see nothing of what a stage does; `fpbench.stages` runs it. A stage of
copies or negatives fills the readings of many points, in one pass over the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fpbench.api import Access, Attack, Needs, PassiveMethod
from fpbench.plan.backbones import PlannedBackbone
from fpbench.plan.keys import key_of
from fpbench.plan.plan import Plan
from fpbench.plan.points import Cell, Fit, fits_on_training, learns_method
from fpbench.spec import SuiteAttack


class Kind(StrEnum):
    """What a stage does."""

    BACKBONE = "backbone"
    REFERENCE = "reference"
    HOST = "host"
    HOST_CHOICE = "host-choice"
    HOST_FEATURES = "host-features"
    TRAINING = "training"
    CHOICE = "choice"
    ISSUE = "issue"
    STRANGER = "stranger"
    ENROL = "enrol"
    ATTACK_FIT = "attack-fit"
    TUNING = "tuning"
    COPY = "copy"
    NEGATIVES = "negatives"
    SECRECY = "secrecy"
    MEASURING = "measuring"


TRAINS = frozenset({Kind.HOST, Kind.STRANGER, Kind.TRAINING})
"""Kinds that may be spread over several devices."""


@dataclass(frozen=True)
class Stage:
    """One thing to do.

    Attributes:
        kind: what it does.
        key: its identity; of what makes one artefact, the key of that.
        label: for people.
        inputs: keys of the stages that it waits for.
        needs: resources it asks for.
        cells: that have no numbers without it.
        fit: the training it belongs to; None for what all share.
        user: whose copy it is about; None for none.
        backbone: the published network that it loads; None for none.
        attack: what an adversary learns for, and with which parameters; None for none.
    """

    kind: Kind
    key: str
    label: str
    inputs: tuple[str, ...] = ()
    needs: Needs = field(default_factory=Needs)
    cells: tuple[Cell, ...] = field(default=(), repr=False)
    fit: Fit | None = None
    user: int | None = None
    backbone: PlannedBackbone | None = None
    attack: tuple[SuiteAttack, Attack[Any]] | None = None

    @property
    def group(self) -> str:
        """What people are told of it together with its like."""
        if self.kind is Kind.COPY:
            return f"read {fit_label(self.of_fit)}: copies"
        if self.kind is Kind.ISSUE and isinstance(self.of_fit.method.component, PassiveMethod):
            return "train host again: copies"
        return f"issue {fit_label(self.of_fit)}" if self.kind is Kind.ISSUE else self.label

    @property
    def of_fit(self) -> Fit:
        """The training of a stage that has one."""
        assert self.fit is not None
        return self.fit

    @property
    def of_user(self) -> int:
        """The user of a stage that has one."""
        assert self.user is not None
        return self.user

    @property
    def of_attack(self) -> tuple[SuiteAttack, Attack[Any]]:
        """The attack of a stage that has one."""
        assert self.attack is not None
        return self.attack

    @property
    def of_backbone(self) -> PlannedBackbone:
        """The network of a stage that has one."""
        assert self.backbone is not None
        return self.backbone


@dataclass(frozen=True)
class Graph:
    """All stages of a plan by key, in the order in which they are worth starting."""

    stages: Mapping[str, Stage]

    def of(self, *kinds: Kind) -> Iterator[Stage]:
        """The stages of some kinds."""
        return (stage for stage in self.stages.values() if stage.kind in kinds)


def graph_of(plan: Plan) -> Graph:
    """Every stage of a plan, stored or not; each stands behind its inputs."""
    # Trainings are the longest stages: they come first, and readings fill the slots behind them.
    stages = [*_shared(plan)]
    for fit in plan.fits:
        stages += _trainings(plan, fit)
    for fit in plan.fits:
        stages += _readings(plan, fit)
    found: dict[str, Stage] = {}
    for stage in stages:
        # What several trainings stand on is one stage, and the cells of all of them hang on it.
        known = found.get(stage.key)
        found[stage.key] = (
            stage if known is None else replace(known, cells=known.cells + stage.cells)
        )
    return Graph(found)


def fit_label(fit: Fit) -> str:
    """A training as people write it."""
    return fit.method.label if fit.seed == 0 else f"{fit.method.label} (training seed {fit.seed})"


def cell_label(cell: Cell) -> str:
    """A cell as people write it."""
    return f"{fit_label(cell.fit)} under {cell.point.label}"


def _open(plan: Plan, fit: Fit | None = None) -> tuple[Cell, ...]:
    """Cells that are to have numbers: of one training, or all."""
    return tuple(c for c in plan.cells if c.open and (fit is None or c.fit is fit))


def _shared(plan: Plan) -> Iterator[Stage]:
    suite, cells = plan.suite, _open(plan)
    host, needs = suite.host.name, suite.host.needs()
    for backbone in plan.ready:
        key, label = plan.backbone_key(backbone), f"load backbone {backbone.name}"
        # What it cannot give is left out of the numbers; no cell waits for it.
        yield Stage(Kind.BACKBONE, key, label, backbone=backbone)
    yield Stage(Kind.HOST, plan.host_training, f"train host {host}", needs=needs, cells=cells)
    for other in suite.strangers:
        key, label = plan.strangers[other.label], f"train stranger {other.label}"
        yield Stage(Kind.STRANGER, key, label, needs=other.component.needs(), cells=cells)
    yield Stage(Kind.REFERENCE, plan.reference_key, "read reference images", cells=cells)
    if plan.host_key != plan.host_training:
        what = "choose pictures of" if suite.host.pictures else "choose among snapshots of"
        yield Stage(
            Kind.HOST_CHOICE,
            plan.host_key,
            f"{what} host {host}",
            (plan.host_training,),
            needs,
            cells,
        )
    for backbone in plan.ready:
        if not backbone.pairs:
            yield Stage(
                Kind.HOST_FEATURES,
                plan.host_features_key(backbone),
                f"read host images with backbone {backbone.name}",
                (plan.host_key, plan.backbone_key(backbone)),
                cells=cells,
                backbone=backbone,
            )


def _trainings(plan: Plan, fit: Fit) -> Iterator[Stage]:
    method, name, cells = fit.method.component, fit_label(fit), _open(plan, fit)
    inputs: tuple[str, ...] = ()
    if method.uses_host:
        early = fits_on_training(plan.suite.host, fit.method)
        inputs = (plan.host_training if early else plan.host_key,)
    if not cells:
        return
    needs = method.needs()
    yield Stage(Kind.TRAINING, fit.training, f"train {name}", inputs, needs, cells, fit)
    if fit.key != fit.training:
        label, inputs = f"choose among snapshots of {name}", (fit.training, plan.host_key)
        yield Stage(Kind.CHOICE, fit.key, label, inputs, needs, cells, fit)


def _readings(plan: Plan, fit: Fit) -> Iterator[Stage]:
    name, cells = fit_label(fit), _open(plan, fit)
    if not cells:
        return
    fitted = (fit.key, plan.host_key)
    everyone, outsiders = plan.users(fit), plan.outsiders(fit)
    tuned = plan.tuned_attacks(fit)
    users = [*everyone, *plan.others(fit), *outsiders]
    issued = {user: plan.issue_key(fit, user) for user in users}
    passive = isinstance(fit.method.component, PassiveMethod)
    for user, key in issued.items():
        what = "train host again" if passive else f"issue {name}"
        label, waits = f"{what}: copy {user + 1}", () if passive else fitted
        needs = plan.suite.host.needs() if passive else Needs()
        yield Stage(Kind.ISSUE, key, label, waits, needs, cells=cells, fit=fit, user=user)
    before: tuple[str, ...] = fitted
    for stage in _prepared(plan, fit, cells):
        yield stage
        before = (*before, stage.key)
    if enrolled := plan.enrol_key(fit):
        inputs = (*fitted, *(issued[user] for user in everyone))
        needs = fit.method.component.needs()
        yield Stage(Kind.ENROL, enrolled, f"enrol users of {name}", inputs, needs, cells, fit)
        before = (*before, enrolled)
    for attack, models in tuned.items():
        judge = plan.reference_key if plan.judge is None else plan.backbone_key(plan.judge)
        key, label = plan.tuning_key(fit, models), f"tune {attack} on {name}"
        inputs = (*fitted, judge, *(issued[user] for user in plan.tuning_users(fit)))
        yield Stage(Kind.TUNING, key, label, inputs, cells=cells, fit=fit)
        before = (*before, key)
    for user in everyone:
        # Compared with the copy of the user before, and joined by those behind in coalitions.
        own = (issued[u] for u in _together(plan, fit, user))
        key, label = plan.reading_key(fit, user, None), f"read {name}: copy {user + 1}"
        yield Stage(Kind.COPY, key, label, (*before, *own), cells=cells, fit=fit, user=user)
    key, label = plan.null_key(fit, plan.sources(fit, None)[0], None), f"read {name}: negatives"
    others = (*plan.strangers.values(), *(issued[user] for user in outsiders))
    yield Stage(Kind.NEGATIVES, key, label, (*before, *others), cells=cells, fit=fit)
    # Codes are measured with, though whatever read the copies is done.
    behind = [*(issued[user] for user in everyone)]
    behind += [*(plan.reading_key(fit, user, None) for user in everyone), key]
    if not plan.looked_for(fit):
        key, label = plan.secrecy_key(fit), f"look for the fingerprint of {name}"
        inputs = (*fitted, *(issued[user] for user in everyone))
        yield Stage(Kind.SECRECY, key, label, inputs, cells=cells, fit=fit)
        behind.append(key)
    behind += [plan.reference_key]
    behind += [plan.host_features_key(b) for b in plan.ready if not b.pairs]
    key = key_of("measuring", cells=[cell.key for cell in cells])
    yield Stage(Kind.MEASURING, key, f"measure {name}", tuple(behind), cells=cells, fit=fit)


def _prepared(plan: Plan, fit: Fit, cells: tuple[Cell, ...]) -> Iterator[Stage]:
    """What adversaries learn before they meet any copy; one stage, unless it is of the method."""
    used = {
        point.attack.label: point.attack
        for cell in cells
        for point in (cell.point.model, cell.point.image)
        if point is not None
    }
    for attack in used.values():
        for component in attack.candidates or (attack.component,):
            if key := plan.prepared_key(fit, attack, component):
                own = learns_method(component)
                inputs = [fit.key] if own else []
                inputs += [plan.host_key] if own or Access.PUBLIC_HOST in component.access else []
                if Access.MARKED in component.access:
                    inputs += [plan.issue_key(fit, user) for user in plan.tuning_users(fit)]
                yield Stage(
                    Kind.ATTACK_FIT,
                    key,
                    f"prepare {attack.label}" + (f" on {fit_label(fit)}" if own else ""),
                    tuple(inputs),
                    component.needs(),
                    tuple(c for c in cells if attack in _attacks(c)),
                    fit if own else None,
                    attack=(attack, component),
                )


def _attacks(cell: Cell) -> list[SuiteAttack]:
    return [p.attack for p in (cell.point.model, cell.point.image) if p is not None]


def _together(plan: Plan, fit: Fit, user: int) -> range:
    """Users whose copies are at hand when a user's copy is read."""
    sizes = [
        model.size
        for model in plan.open_points(fit)
        if model is not None and plan.subject(fit, model, user) is not None
    ]
    return range(max(user - 1, 0), user + max(sizes, default=1))
