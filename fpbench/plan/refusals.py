"""Why a cell has no result by rule, found out before anything is trained."""

from __future__ import annotations

from typing import Any

from fpbench.api import (
    Access,
    Attack,
    CoalitionAttack,
    ContractError,
    ForgeryAttack,
    Gives,
    Host,
    Method,
    MissingResource,
    ModelAttack,
    Offer,
    PassiveMethod,
    Placement,
    PostHocMethod,
    Reads,
    Refusal,
    SampleAttack,
    SampleInfo,
    Setting,
)
from fpbench.builtin.chain.attack import Chain
from fpbench.plan.faults import Fault, asked
from fpbench.plan.points import AttackPoint, Fit, Point, served, trains_generator
from fpbench.spec import Suite


def refusal_of(
    suite: Suite, fit: Fit, point: Point, info: SampleInfo
) -> tuple[Refusal | None, str]:
    """A reason and who gives it; only what the attack gives may pass as surviving it.

    Raises:
        Fault: method or attack broke when it was asked.
    """
    method, label = fit.method.component, fit.method.label
    asked(f"{label}: needs", method.needs)
    asked(f"{label}: objection", method.objection, info, served(suite, fit.method))
    refusal = _lacks(suite.host, method.asks) or _no_model(suite.host, fit)
    refusal = refusal or _codes_amiss(suite, fit)
    if refusal := refusal or asked(f"{label}: refuse", method.refuse, suite.host, None):
        return refusal, "method"
    for part in filter(None, (point.model, point.image)):
        attack, setting = part.attack.component, setting_of(suite, fit, part, info)
        if refusal := asked(f"{label}: refuse", method.refuse, suite.host, attack):
            return refusal, "method"
        if refusal := _out_of_reach(method, attack) or _nothing_to_attack(suite.host, fit, attack):
            return refusal, "method"
        closed = _foreign(attack, info) or _lacks(suite.host, attack.asks)
        closed = closed or _sealed(attack, setting) or _closed(attack.access, setting, part.size)
        who = f"attack {part.attack.label}"
        if refusal := closed or asked(f"{who}: refuse", attack.refuse, setting):
            return refusal, "attack"
        asked(f"{who}: steps", attack.steps, setting)
    return None, ""


def _codes_amiss(suite: Suite, fit: Fit) -> Refusal | None:
    """What is wrong with codes that the users' samples bear already."""
    method, users = fit.method.component, suite.users(fit.method)
    if type(method).given_codes is Method.given_codes:
        return None
    who = f"{fit.method.label}: given_codes"
    try:
        asked(who, method.given_codes, suite.host, users, suite.population.images)
    except Fault as fault:
        if isinstance(fault.__cause__, ContractError):
            return Refusal(str(fault.__cause__))
        # A machine that only reads what was made elsewhere lacks the files, and needs none.
        if not isinstance(fault.__cause__, MissingResource):
            raise
    return None


def setting_of(suite: Suite, fit: Fit, part: AttackPoint, info: SampleInfo) -> Setting:
    """What an attack is told of what it is run against."""
    options, everyone = part.attack.options, suite.users(fit.method)
    return Setting(
        method=fit.method.component,
        host=suite.host,
        copies=min(options.copies or everyone, everyone),
        clean_images=options.clean_images,
        strength=part.strength,
        info=info,
    )


def _lacks(host: Host[Any], asks: frozenset[Offer]) -> Refusal | None:
    """Why a host cannot serve who asks so much of it."""
    missing = ", ".join(sorted(asks - host.offers))
    return Refusal(f"the host {host.name} does not offer {missing}") if missing else None


def _no_model(host: Host[Any], fit: Fit) -> Refusal | None:
    """Why a method has nothing to put a fingerprint into, or to draw from."""
    post_hoc = fit.method.component.placement is Placement.POST_HOC
    if not host.pictures or post_hoc or trains_generator(fit.method):
        return None
    return Refusal(f"the host {host.name} shows pictures: there is no model to be marked")


def _nothing_to_attack(host: Host[Any], fit: Fit, attack: Attack[Any]) -> Refusal | None:
    """Why there is no model to attack."""
    on_model = isinstance(attack, ModelAttack | CoalitionAttack)
    if not (host.pictures and on_model) or trains_generator(fit.method):
        return None
    return Refusal(f"no model to attack: the host {host.name} shows pictures")


def _out_of_reach(method: Method[Any], attack: Attack[Any]) -> Refusal | None:
    """Why an attack cannot change, or blame anybody by, what a method reads."""
    if method.reads is Reads.WEIGHTS and isinstance(attack, SampleAttack | ForgeryAttack):
        return Refusal("the method reads weights, which no image reaches")
    if method.gives is Gives.PRESENCE and isinstance(attack, CoalitionAttack | ForgeryAttack):
        return Refusal("the method tells no users apart, so nobody can be blamed")
    return None


def _foreign(attack: Attack[Any], info: SampleInfo) -> Refusal | None:
    """Why an attack, or a part of a chain, has no meaning for samples of another modality."""
    parts = [part for part, _ in attack.parts] if isinstance(attack, Chain) else [attack]
    for meant in (part.modalities for part in parts):
        if meant is not None and info.modality not in meant:
            return Refusal(f"it is meant for {', '.join(sorted(meant))}, not {info.modality}")
    return None


def _sealed(attack: Attack[Any], setting: Setting) -> Refusal | None:
    """Why the weights cannot be changed that an attack would change."""
    if not (attack.changes_weights and setting.method.opaque):
        return None
    return Refusal("the marking step is opaque: nobody can change its weights here")


def _closed(access: frozenset[Access], setting: Setting, size: int) -> Refusal | None:
    """Why an access that an attack declares cannot be opened to it."""
    if Access.COPIES in access and setting.copies < size:
        return Refusal(f"it takes {size} users' copies, and there are {setting.copies}")
    if Access.TRAINER in access and isinstance(setting.method, PassiveMethod):
        return Refusal("nothing is put into a copy, so there is nothing to train over it")
    if Access.MARKED in access and isinstance(setting.method, PassiveMethod):
        return Refusal("nothing is put into a copy, so other users' images show no fingerprint")
    if Access.TRAINER in access and not setting.method.builds_on_host:
        return Refusal(
            "the method trains a generator of its own, so its training cannot start from a copy"
        )
    if Access.TARGET_CODE in access and not setting.method.bits:
        return Refusal("the method has no codes that could leak")
    if Access.EMBEDDER in access and not isinstance(setting.method, PostHocMethod):
        return Refusal("the method has no embedder that could be published: the code is in weights")
    return None
