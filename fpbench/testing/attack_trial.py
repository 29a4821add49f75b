"""An attack tried on images and copies of a method that is known, each call watched."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from fpbench.testing.fakes import Perfect
from fpbench.testing.method_trial import USERS, MethodTrial
from fpbench.testing.rules import Skip, Trial, under
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
        self.attack = attack
        self.marking = Perfect(Perfect.Params())
        self.victim = MethodTrial(self.marking, world)

    def setting(self, strength: float | None) -> Setting:
        """What the plan would ask about."""
        method = self.victim.method
        return Setting(method, self.world.host, USERS, CLEAN, strength, self.world.info)

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
