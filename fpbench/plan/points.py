"""What is measured: points, trainings, and the cells that they make together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fpbench.api import (
    Access,
    Attack,
    CoalitionAttack,
    ForgeryAttack,
    Gives,
    Host,
    Method,
    PassiveMethod,
    Refusal,
    SampleAttack,
)
from fpbench.builtin.codes.uniform import Uniform
from fpbench.plan.backbones import PlannedBackbone
from fpbench.plan.identity import identity
from fpbench.spec import Suite, SuiteAttack, SuiteMethod
from fpbench.spec.model import joint_label, point_label

TUNING_COPIES = 2


@dataclass(frozen=True)
class AttackPoint:
    """One attack at one strength."""

    attack: SuiteAttack
    strength: float | None

    @property
    def label(self) -> str:
        """As people write it: "jpeg 50"."""
        return point_label(self.attack.label, self.strength)

    @property
    def kind(self) -> str:
        """What it changes: "image", "model" (pipeline included), "coalition" or "forgery"."""
        component = self.attack.component
        if isinstance(component, SampleAttack):
            return "image"
        if isinstance(component, CoalitionAttack):
            return "coalition"
        return "forgery" if isinstance(component, ForgeryAttack) else "model"

    @cached_property
    def size(self) -> int:
        """Copies that the attack takes at once: the strength of a coalition, else one."""
        return int(self.strength or 2) if self.kind == "coalition" else 1

    @cached_property
    def key_part(self) -> dict[str, Any]:
        """What identifies the point in a stage key."""
        part = {**identity(self.attack.component), "strength": self.strength}
        if self.attack.candidates:
            part["tune"] = [identity(candidate) for candidate in self.attack.candidates]
            part["marks"] = list(self.attack.strengths)
        return part


@dataclass(frozen=True)
class Point:
    """What was done to a copy and to its images; None means untouched."""

    model: AttackPoint | None = None
    image: AttackPoint | None = None

    @property
    def label(self) -> str:
        """As people write it: "none", "jpeg 50", "fine-tune 10 + jpeg 50"."""
        return joint_label(*(p.label for p in (self.model, self.image) if p is not None))

    @property
    def level(self) -> str:
        """What was attacked: "none", "image", "model", "coalition" or "forgery"."""
        part = self.model or self.image
        return part.kind if part is not None else "none"


@dataclass(frozen=True)
class Fit:
    """One training of one method; the only one of a method that trains nothing.

    Attributes:
        index: its number in the plan.
        method: what is trained.
        seed: index of the training.
        key: of the state that is used.
        training: key of the training: another one where its state is chosen among snapshots.
        host: key of the host that its copies are compared with, where it was fitted without one, or
            on other pictures, and its own key does not tell.
    """

    index: int
    method: SuiteMethod
    seed: int
    key: str
    training: str
    host: str = ""

    @property
    def key_part(self) -> dict[str, str]:
        """What identifies it, and the host beside it, in the keys of what follows."""
        return {"fit": self.key, **({"host": self.host} if self.host else {})}

    @property
    def afterwards(self) -> dict[str, Any]:
        """The parameters that `enrol` and `extract` alone depend on."""
        component = self.method.component
        told = component.params.model_dump(mode="json", include=set(component.afterwards))
        return dict(sorted(told.items()))

    @cached_property
    def trainer(self) -> Method[Any]:
        """The method as it is fitted, issued and assembled.

        It knows nothing of what is afterwards: else copies could differ that have one key.
        """
        component = self.method.component
        fields = type(component.params).model_fields
        default = {name: fields[name].get_default() for name in component.afterwards}
        return (
            type(component)(component.params.model_copy(update=default)) if default else component
        )

    @property
    def enrols(self) -> bool:
        """Whether its readings stand on what was prepared of all registered users."""
        return bool(self.method.component.enrols)

    @property
    def uniform(self) -> bool:
        """Whether it gives bits of uniform codes, so that tails are exact and codes many."""
        bits = self.method.component.gives is Gives.BITS
        return bits and type(self.method.code) is Uniform

    @property
    def drawn_from(self) -> int:
        """Index that its draws derive from."""
        return drawn_from(self.method, self.seed)


def takes_others(attack: SuiteAttack) -> bool:
    """Whether an attack takes images of users who are never reported."""
    return any(Access.MARKED in each.access for each in attack.candidates or (attack.component,))


def learns_method(attack: Attack[Any]) -> bool:
    """Whether what an attack learns beforehand depends on the method that it is for."""
    return not attack.access.isdisjoint({Access.MARKED, Access.EMBEDDER})


def trains_generator(method: SuiteMethod) -> bool:
    """Whether a method trains a generator of its own, and does not start from the host's."""
    component = method.component
    return not (component.builds_on_host or isinstance(component, PassiveMethod))


def fits_on_training(host: Host[Any], method: SuiteMethod) -> bool:
    """Whether a method learns from the host as its training left it, not as it is measured.

    What trains a generator of its own does not wait for a choice among the host's states, nor is
    lost with it; and of a host of pictures none that is measured is learnt from.
    """
    return host.pictures or trains_generator(method)


def served(suite: Suite, method: SuiteMethod) -> int:
    """How many users one training of a method must serve: registered, for tuning, unregistered."""
    component = method.component
    tuned = any(attack.candidates or takes_others(attack) for attack in suite.attacks)
    outside = component.gives is Gives.SCORES and not component.separable
    unregistered = suite.population.unregistered or 0
    return suite.users(method) + TUNING_COPIES * tuned + unregistered * outside


def drawn_from(method: SuiteMethod, seed: int) -> int:
    """The training seed, or 0 where nothing is trained: whatever seeds are asked for, all agree."""
    return seed if method.component.trains else 0


@dataclass(frozen=True)
class Cell:
    """One method × training seed × point, and its measure's key.

    Attributes:
        fit: the trained method.
        point: what is attacked.
        key: of its measure.
        refusal: why it has no result by rule; None if it has one.
        refused_by: "method", or "attack" where the attack has no meaning for the method.
        fault: how method or attack broke when they were asked; empty if they did not.
    """

    fit: Fit
    point: Point
    key: str
    refusal: Refusal | None = None
    refused_by: str = ""
    fault: str = ""

    @property
    def open(self) -> bool:
        """Whether it is to have numbers."""
        return self.refusal is None and not self.fault


@dataclass(frozen=True)
class Want:
    """A column of a reading: what is asked of the images at one image point.

    Attributes:
        image: the attack on the images, None = untouched.
        backbone: the network that measures them; None = the extractor and what is always measured.
    """

    image: AttackPoint | None = None
    backbone: PlannedBackbone | None = None


def star(suite: Suite) -> tuple[Point, ...]:
    """Every model point with untouched images, every image point with untouched copies, crosses."""
    points = [Point()]
    by_label: dict[str, list[AttackPoint]] = {}
    for attack in suite.attacks:
        own = [AttackPoint(attack, strength) for strength in attack.points]
        by_label[attack.label] = own
        image = isinstance(attack.component, SampleAttack)
        points += [Point(image=p) if image else Point(model=p) for p in own]
    for cross in suite.crosses:
        points += [Point(m, i) for m in by_label[cross.model] for i in by_label[cross.image]]
    return tuple(points)
