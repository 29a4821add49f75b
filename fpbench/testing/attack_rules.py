"""Rules that attacks keep."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from fpbench.api import (
    Access,
    CoalitionAttack,
    ContractError,
    ForgeryAttack,
    PipelineAttack,
    Refusal,
    SampleAttack,
    Setting,
)
from fpbench.testing.attack_trial import AttackTrial
from fpbench.testing.fakes import Blind
from fpbench.testing.method_trial import differing
from fpbench.testing.rules import Rule, Skip, undisturbed
from fpbench.testing.shared_rules import OF_COMPONENTS, pure
from fpbench.testing.world import IMAGES


def _strength(trial: AttackTrial) -> str:
    attack = trial.attack
    if not getattr(attack, "family", ""):
        raise ContractError(
            f'{trial.who}: expected a `family`, such as "noise", got none; attacks of one family '
            "share one vote in the score"
        )
    odd = [a for a in getattr(attack, "access", frozenset()) if not isinstance(a, Access)]
    if odd or not hasattr(attack, "access"):
        raise ContractError(
            f"{trial.who}: expected `access` as a frozenset of fpbench.api.Access, got "
            f"{odd or None}; declare what the adversary holds"
        )
    knob = attack.strength
    if knob is None:
        return "no knob"
    bad = [
        s
        for s in (*knob.grid, *(() if knob.identity is None else (knob.identity,)))
        if not knob.allows(s)
    ]
    if bad or not knob.grid:
        raise ContractError(
            f"{trial.who}: expected a grid of {knob.legal}, got {bad or 'none'}; widen the range "
            "or change the grid"
        )
    ordered = sorted(knob.grid, reverse=not knob.rising)
    if list(knob.grid) != ordered:
        raise ContractError(
            f"{trial.who}: expected a grid from weakest to strongest, got {knob.grid}; sort it"
        )
    return f"{knob.name}: {', '.join(f'{s:g}' for s in knob.grid)}"


def _refuse(trial: AttackTrial) -> str:
    attack, world, asked = trial.attack, trial.world, 0
    knob = attack.strength
    strengths = [None] if knob is None else [*knob.grid, knob.low, knob.high]
    for method in (trial.victim.method, Blind(Blind.Params())):
        for copies in (1, 2, 1000):
            for clean in (0, 16, 10**5):
                for strength in strengths:
                    setting = Setting(method, world.host, copies, clean, strength, world.info)
                    said: object = pure(f"{trial.who}: refuse", partial(attack.refuse, setting))
                    if not (said is None or (isinstance(said, Refusal) and said.reason)):
                        raise ContractError(
                            f"{trial.who}: refuse: expected None or a Refusal with a reason, got "
                            f"{said!r}; return one"
                        )
                    asked += 1
                    if said is not None:
                        continue  # of what is refused nobody asks for steps
                    steps: object = pure(f"{trial.who}: steps", partial(attack.steps, setting))
                    if not isinstance(steps, int) or steps < 0:
                        raise ContractError(
                            f"{trial.who}: steps: expected a whole number from 0 on, got {steps!r}"
                        )
    return f"{asked} settings"


def _runs(trial: AttackTrial) -> str:
    trial.attacked()
    seconds = trial.seconds.get("apply", 0.0)
    learning = f"fit {trial.seconds['fit']:.2f} s, " if "fit" in trial.seconds else ""
    return f"{learning}{seconds:.2f} s for a strength, on the CPU"


def _shapes(trial: AttackTrial) -> str:
    trial.attacked()
    return ""


def _process(trial: AttackTrial) -> str:
    first, second = trial.attacked(), trial.attacked(chance=2)
    if not _alike(first, second) and _alike(
        first, trial.once("third", lambda: trial.at(trial.strengths()))
    ):
        raise ContractError(
            f"{trial.who}: expected the same result twice, got another where global generators "
            "stood elsewhere; draw everything from ctx.rng, ctx.image_rng and ctx.seeded"
        )
    if differing(trial.fitted(), trial.fitted(chance=2)):
        raise ContractError(
            f"{trial.who}: fit: expected the same result twice, got another; draw everything from "
            "ctx.rng and ctx.seeded"
        )
    undisturbed(trial)
    return ""


def _repeatable(trial: AttackTrial) -> str:
    first = trial.attacked()
    if not _alike(first, trial.attacked(chance=2)) and not _alike(
        first, trial.once("third", lambda: trial.at(trial.strengths()))
    ):
        raise ContractError(
            f"{trial.who}: expected the same result twice, got another; draw everything from "
            "ctx.rng, ctx.image_rng and ctx.seeded"
        )
    other = trial.attacked(seed=1)
    return "it draws nothing" if _alike(first, other) else "another seed, another result"


def _alike(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _alone(trial: AttackTrial) -> str:
    if not isinstance(trial.attack, SampleAttack):
        raise Skip("it attacks no batches of images")
    together = trial.attacked()[-1]
    strength = float(trial.strengths()[-1] or 0.0)
    for number in (0, IMAGES - 1):
        ctx = trial.world.context("attack", fitted=trial.fitted())
        alone = trial.images([number], strength, ctx)
        apart = (alone.int() - together[number : number + 1].int()).abs()
        if int(apart.max()) > 1:
            raise ContractError(
                f"{trial.who}: expected image {number} to be attacked alike alone and in a batch, "
                f"got levels up to {int(apart.max())} apart; draw for image i from ctx.image_rng(i)"
            )
    return ""


def _identity(trial: AttackTrial) -> str:
    knob = trial.attack.strength
    if knob is None or knob.identity is None:
        raise Skip("no strength is said to change nothing")
    (same,) = trial.at([float(knob.identity)])
    apart = (same.int() - trial.untouched().int()).abs()
    if int(apart.max()) > 1:
        raise ContractError(
            f"{trial.who}: expected {knob.name} {knob.identity:g} to change nothing, as `identity` "
            f"says, got levels up to {int(apart.max())} apart; mend it, or leave `identity` away"
        )
    return f"{knob.name} {knob.identity:g}"


def _damage(trial: AttackTrial) -> str:
    knob, attack = trial.attack.strength, trial.attack
    if knob is None or isinstance(attack, CoalitionAttack | ForgeryAttack | PipelineAttack):
        raise Skip("it has no knob of strength")
    strengths = trial.strengths()
    if len(strengths) < 2:
        raise Skip("it has one strength alone")
    if trial.refusal(strengths[-1]) is None and attack.steps(trial.setting(strengths[-1])):
        raise Skip("its strength is how long it trains")
    before = trial.untouched().float()
    damage = [float((made.float() - before).abs().mean()) for made in trial.attacked()]
    said = ", ".join(f"{value:.3g}" for value in damage)
    if damage[-1] < damage[0] or any(b < 0.8 * a - 0.05 for a, b in pairwise(damage)):
        raise ContractError(
            f"{trial.who}: expected a mean change that grows with strength along the grid, got "
            f"{said} levels; sort the grid from weakest to strongest, and share an image's draws "
            "between strengths"
        )
    if damage[-1] == 0 and isinstance(attack, SampleAttack):
        raise ContractError(f"{trial.who}: expected its strongest to change images, got the same")
    return f"{said} levels"


def _device(trial: AttackTrial) -> str:
    if not torch.cuda.is_available():
        raise Skip("this machine has no other device than the CPU")
    there = AttackTrial(trial.attack, trial.world.elsewhere("cuda"))
    try:
        there.at(trial.strengths()[-1:])
    except ContractError as error:
        raise ContractError(f"on cuda: {error}; move what you make to ctx.device") from error
    return "cuda"


RULES: tuple[Rule, ...] = (
    *OF_COMPONENTS,
    Rule("strength", "family, access, and a grid within its range, weakest first", _strength),
    Rule("refuse", "what is asked at plan time is answered, and twice alike", _refuse),
    Rule("runs", "it ends, with nothing but what its access opens", _runs),
    Rule("shapes", "what it makes has shape, type and finite numbers", _shapes),
    Rule("process", "global generators and flags are left alone", _process),
    Rule("lent", "images, copies and states that are lent stay as they are", _shapes),
    Rule("repeatable", "the same seed gives the same", _repeatable),
    Rule("alone", "an image is attacked alike alone and in a batch", _alone),
    Rule("identity", "the strength that changes nothing changes nothing", _identity),
    Rule("damage", "damage grows with strength", _damage),
    Rule("device", "it follows the device", _device),
)
