"""Rules that attacks keep, tried on images and copies of a method that is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fpbench.api import (
    Access,
    Attack,
    CoalitionAttack,
    ContractError,
    ForgeryAttack,
    ModelAttack,
    PipelineAttack,
    Refusal,
    SampleAttack,
    Setting,
    State,
    Surface,
)
from fpbench.api.samples import check_samples
from fpbench.api.types import Strength
from fpbench.stages import boundary
from fpbench.stages.checks import check_generator, check_state
from fpbench.testing.fakes import Blind, Perfect
from fpbench.testing.method_rules import USERS, MethodTrial, differing
from fpbench.testing.rules import Rule, Skip, Trial, under, undisturbed
from fpbench.testing.shared_rules import OF_COMPONENTS, pure
from fpbench.testing.world import IMAGES, World

CLEAN = 16
_STEPS = 20
"""Training steps that an attack may spend here at its strongest."""


class AttackTrial(Trial):
    """An attack, and what its access opens.

    Args:
        attack: with parameters small enough to be tried.
        world: what it is tried in.
    """

    def __init__(self, attack: Attack[Any], world: World) -> None:
        super().__init__(f"attack {attack.name}", attack, world)
        self.component = self.attack = attack
        self.marking = Perfect(Perfect.Params())
        self.victim = MethodTrial(self.marking, world)

    def setting(self, strength: float | None) -> Setting:
        """What the plan would ask about."""
        method = self.victim.method
        return Setting(method, self.world.host, USERS, CLEAN, strength)

    def strengths(self) -> list[float | None]:
        """Those that are tried, from weakest to strongest."""
        knob = self.attack.strength
        if knob is None:
            return [None]
        grid = [float(s) for s in knob.grid]
        if isinstance(self.attack, CoalitionAttack):
            grid = [s for s in grid if s <= USERS]
        if self.refusal(grid[-1]) is None and self.attack.steps(self.setting(grid[-1])) > _STEPS:
            # The least marks of a trajectory tell as much as those that take hours.
            grid = sorted({_next(knob, grid[0], 1), _next(knob, grid[0], 2)})
        return [*grid]

    def refusal(self, strength: float | None) -> Refusal | None:
        """Why it has no meaning here."""
        return self.attack.refuse(self.setting(strength))

    def refused(self) -> None:
        """Raise `Skip` where the attack has no meaning here."""
        missing = self.attack.asks - self.world.host.offers
        if missing:
            host = self.world.host.name
            raise Skip(f"the host {host} does not offer {min(missing)}; name another with --host")
        if self.attack.modalities is not None and self.world.info.modality not in (
            self.attack.modalities
        ):
            raise Skip(f"it is not for {self.world.info.modality}; name --dataset")
        if said := self.refusal(self.strengths()[-1]):
            raise Skip(f"it refuses: {said.reason}")

    def surface(self, *, fitting: bool = False) -> Surface:
        """What its access opens."""
        victim, copies = self.victim, [self.victim.copy(user) for user in range(USERS)]
        several = Access.COPIES in self.attack.access
        lent = [boundary.Lent(copy) for copy in (copies if several else copies[:1])]
        return Surface(
            opened=self.attack.access,
            attack=self.attack.name,
            _copies=() if fitting else lent,
            _clean_images=self.world.some(CLEAN, first=IMAGES),
            _public_host=self.world.lent(),
            _trainer=victim.method,
            _target_images=lambda count: _several(victim.drawn(1), count),
            _target_code=victim.users[1].code.clone(),
            _embed=self._embed,
            _bits=victim.method.bits,
            _marked_images=(lambda count: _several(victim.drawn(2), count)) if fitting else None,
        )

    def _embed(self, images: Tensor, code: Tensor) -> Tensor:
        from fpbench.api.images import to_float, to_uint8

        embedder = self.marking.embedder(self.victim.state(), self.world.context("embed"))
        codes = code.expand(len(images), -1)
        with torch.no_grad():
            return to_uint8(embedder(to_float(images), codes))

    def fitted(self, chance: int = 1) -> State:
        """What it learnt first."""
        return self.once(f"fit {chance}", lambda: self._fitted(chance))

    def _fitted(self, chance: int) -> State:
        if type(self.attack).fit is Attack.fit:
            return {}
        self.refused()
        surface, ctx = self.surface(fitting=True), self.world.context("attack fit")
        made = self.called(
            "fit", lambda: self.attack.fit(surface, ctx), self.world.loan, chance=chance
        )
        with under("shapes"):
            return boundary.cloned(check_state(f"{self.who}: fit", made))

    def attacked(self, chance: int = 1, seed: int = 0) -> list[Tensor]:
        """Samples under each strength: attacked ones, or those of attacked copies."""
        return self.once(
            f"attacked {chance} {seed}", lambda: self.at(self.strengths(), chance, seed)
        )

    def at(self, strengths: Sequence[float | None], chance: int = 1, seed: int = 0) -> list[Tensor]:
        """Samples under some strengths."""
        self.refused()
        learnt = boundary.Loan("what it learnt", self.fitted())
        ctx = self.world.context("attack", seed=seed, fitted=learnt.lent(), bits=self._bits())
        attack, loans = self.attack, (self.world.loan, learnt)
        if isinstance(attack, SampleAttack):
            return [
                self.images(range(IMAGES), float(s or 0.0), ctx, chance=chance) for s in strengths
            ]
        if isinstance(attack, ForgeryAttack):
            return [self._forged(s, ctx, loans, chance) for s in strengths]
        made: list[object]
        if isinstance(attack, ModelAttack):
            pairs = self.called(
                "apply",
                lambda: list(attack.apply(self.surface(), tuple(strengths), ctx)),
                *loans,
                chance=chance,
            )
            with under("shapes"):
                self._check_order([s for s, _ in pairs], strengths)
            made = [copy for _, copy in pairs]
        else:
            assert isinstance(attack, CoalitionAttack | PipelineAttack)
            made = [
                self.called(
                    "apply", lambda: attack.apply(self.surface(), ctx), *loans, chance=chance
                )
                for _ in strengths[:1]
            ]
        return [self._samples(copy) for copy in made]

    def _bits(self) -> int:
        return self.victim.method.bits if Access.TRAINER in self.attack.access else 0

    def images(
        self, numbers: Sequence[int], strength: float, ctx: Any, *, chance: int = 1
    ) -> Tensor:
        """Attacked samples of some numbers, by an attack on samples."""
        attack, given = self.attack, self.world.some()[list(numbers)]
        assert isinstance(attack, SampleAttack)
        seen = boundary.Loan("the images", {"images": given})
        made = self.called(
            "apply",
            lambda: attack.apply(seen.lent()["images"], list(numbers), strength, ctx),
            self.world.loan,
            seen,
            chance=chance,
        )
        with under("shapes"):
            found = check_samples(self.who, "images", made, len(given), self.world.info)
            return found.clone()

    def _forged(
        self, strength: float | None, ctx: Any, loans: Sequence[boundary.Loan], chance: int
    ) -> Tensor:
        attack, clean = self.attack, self.world.some()
        assert isinstance(attack, ForgeryAttack)
        seen = boundary.Loan("the images", {"images": clean})
        made = self.called(
            "apply",
            lambda: attack.apply(self.surface(), seen.lent()["images"], strength, ctx),
            *loans,
            seen,
            chance=chance,
        )
        with under("shapes"):
            return check_samples(self.who, "images", made, len(clean), self.world.info).clone()

    def _check_order(self, got: Sequence[float | None], expected: Sequence[float | None]) -> None:
        if list(got) != list(expected):
            raise ContractError(
                f"{self.who}: expected a copy for each strength, weakest first, {list(expected)}, "
                f"got those of {list(got)}; yield (strength, copy) for each"
            )

    def _samples(self, made: object) -> Tensor:
        with under("shapes"):
            copy = check_generator(self.who, boundary.returned(made))
        latents = self.world.latents(copy, range(IMAGES))
        drawn = self.called("sample", lambda: boundary.drawn(copy, latents))
        with under("shapes"):
            return check_samples(f"{self.who}: its copy", "images", drawn, IMAGES, self.world.info)

    def untouched(self) -> Tensor:
        """What is compared with what the attack makes."""
        if isinstance(self.attack, SampleAttack | ForgeryAttack):
            return self.world.some()
        return self.victim.drawn(0)


def _several(images: Tensor, count: int) -> Tensor:
    return images[torch.arange(count) % len(images)]


def _next(knob: Strength, start: float, times: int) -> float:
    """A strength that many least steps from one on, as whole ones go."""
    for step in range(1, 100):
        value = (knob.low if math.isfinite(knob.low) else start) + step * times
        if knob.allows(value):
            return value
    return start


# -- the rules -------------------------------------------------------------------------------------


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
                    setting = Setting(method, world.host, copies, clean, strength)
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
