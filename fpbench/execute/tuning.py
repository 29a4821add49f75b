"""What an adversary finds out beforehand: which parameters serve him best against a method.

He tries every candidate on copies that are never reported, and keeps the one that at some strength
within the damage budget leaves the least information: bits that are all wrong tell as much as bits
that are all right. Fixed parameters would flatter the methods that happen to withstand them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import Attack, ContractError, Evidence, Generator
from fpbench.execute import boundary
from fpbench.execute.checks import check_generator, check_images, check_logits
from fpbench.execute.process import call
from fpbench.plan import AttackPoint, Fit, PlannedBackbone
from fpbench.stats.frechet import Reference, frechet_to, moments, reference

if TYPE_CHECKING:
    from fpbench.execute.readings import GeneratorReader
    from fpbench.execute.session import Session


def tune(session: Session, fit: Fit, models: Sequence[AttackPoint]) -> Attack[Any]:
    """The candidate that serves the adversary best; tried once, then taken from the store."""
    attack = models[0].attack
    key = session.plan.tuning_key(fit, models)
    if not session.store.has(key):
        judge = session.plan.judge
        yardstick = _Yardstick(session, judge, session.plan.images(models[0]))
        tried = [_try(session, yardstick, fit, models, c) for c in attack.candidates]
        best = min(range(len(tried)), key=lambda i: min(_reached(session, tried[i])))
        judged_by = judge.name if judge is not None else "frechet-proxy"
        session.store.put(key, {}, {"chosen": best, "tried": tried, "judged_by": judged_by})
    chosen: int = session.store.meta(key)["chosen"]
    return attack.candidates[chosen]


def _reached(session: Session, points: Sequence[dict[str, float]]) -> list[float]:
    """What is left of the code within the budget; all of it where no strength is within."""
    budget = session.suite.score.damage_budget
    return [_left(p["bit_accuracy"]) for p in points if p["damage"] <= budget] or [1.0]


def _left(accuracy: float) -> float:
    """Bit accuracy of a reader who knows whether bits come out right or inverted, 1/2 to 1."""
    return abs(accuracy - 0.5) + 0.5


class _Yardstick:
    """Fréchet distances to real images as the suite measures damage, all at equal counts.

    Args:
        session: what the stages share.
        judge: the network; None = the one that comes with fpbench.
        images: drawn from each tuning copy.
    """

    def __init__(self, session: Session, judge: PlannedBackbone | None, images: int) -> None:
        plan = session.plan
        if judge is None:
            self._network: Callable[[Tensor], Tensor] = session.features
            features = session.store.get(plan.reference_key).arrays["features"]
            self._real = reference(features)
        else:
            self._network = session.network(judge)
            known = session.store.get(plan.backbone_key(judge)).arrays
            self._real = Reference(known["mean"], known["covariance"], known["root"])
        host = session.host.generator
        latents = [session.latent_seeds(user, images) for user in plan.tuning_users()]
        self.host = self.distance([self.seen(host.sample(host.prior(s))) for s in latents])

    def seen(self, images: Tensor) -> np.ndarray:
        """Features of uint8 images (N, 3, H, W)."""
        features: np.ndarray = self._network(images).cpu().numpy()
        return features

    def distance(self, features: Sequence[np.ndarray]) -> float:
        """Of images, by copy, to real ones."""
        return frechet_to(self._real, *moments(np.concatenate(features)))


def _try(
    session: Session,
    yardstick: _Yardstick,
    fit: Fit,
    models: Sequence[AttackPoint],
    candidate: Attack[Any],
) -> list[dict[str, float]]:
    """Bit accuracy and damage of a candidate at every strength, over the tuning copies."""
    right: dict[AttackPoint, list[float]] = {model: [] for model in models}
    seen: dict[AttackPoint, list[np.ndarray]] = {model: [] for model in models}
    own: list[np.ndarray] = []
    for user in session.plan.tuning_users():
        reader = session.copy_reader(fit, user)
        seeds = session.latent_seeds(user, session.plan.images(models[0]))
        latents = reader.subject.prior(seeds)
        own.append(yardstick.seen(boundary.drawn(reader.subject, latents)))
        for model, generator in _trajectory(reader, models, candidate):
            size = session.suite.dataset.info().size
            who = f"attack {model.attack.label}"
            method, loan = fit.method.component, session.fit_loan(fit)
            reading = f"{fit.method.label}: extract"
            with boundary.unharmed(reading, session.host_loan, loan), torch.no_grad():
                images = check_images(who, boundary.drawn(generator, latents), len(latents), size)
                evidence, ctx = Evidence(images.clone()), session.context("extract")
                host = session.lent_host()
                logits = call(method.extract, loan.lent(), host, evidence, ctx)
            check_logits(reading, logits, len(images), method.bits)
            code = session.code(fit, user)
            right[model].append(float(((logits > 0) == code).float().mean()))
            seen[model].append(yardstick.seen(images))
    clean = yardstick.distance(own)
    return [
        {
            "strength": float(model.strength or 0),
            "bit_accuracy": float(np.mean(right[model])),
            "damage": (yardstick.distance(seen[model]) - clean) / max(yardstick.host, 1e-12),
        }
        for model in models
    ]


def _trajectory(
    reader: GeneratorReader, models: Sequence[AttackPoint], candidate: Attack[Any]
) -> Iterator[tuple[AttackPoint, Generator]]:
    found = 0
    with closing(reader.attacked(models, candidate)) as attacked:
        for model, generator in attacked:
            found += 1
            yield model, check_generator(f"attack {model.attack.label}", generator)
    if found != len(models):
        raise ContractError(
            f"attack {models[0].attack.label}: expected {len(models)} attacked copies, one for "
            f"each strength, got {found}"
        )
