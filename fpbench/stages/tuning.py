"""What an adversary finds out beforehand: which parameters serve him best against a method.

He tries every candidate on copies that are never reported, and keeps the one that at some strength
within the damage budget leaves the least information: bits that are all wrong tell as much as bits
that are all right. Fixed parameters would flatter the methods that happen to withstand them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import (
    Attack,
    ContractError,
    Evidence,
    Generator,
    Gives,
    NoSpace,
    Reads,
)
from fpbench.plan import AttackPoint, Fit, PlannedBackbone, Stage
from fpbench.plan.points import TUNING_COPIES
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, images_of
from fpbench.stages.checks import check_generator, check_reading, reading_shape
from fpbench.stages.enrol import enrolled
from fpbench.stages.process import call
from fpbench.stages.reading import GeneratorReader, copy_reader
from fpbench.stats.frechet import Reference, frechet_to, moments, reference


def tune(stage: Stage, bench: Bench) -> None:
    """Tune an attack; what fails, fails again where copies are read, whose cells say so."""
    fit = stage.of_fit
    for models in bench.plan.tuned_attacks(fit).values():
        if bench.plan.tuning_key(fit, models) == stage.key:
            try:
                tuned(bench, fit, models)
            except NoSpace:
                raise
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way
                del error


def tuned(bench: Bench, fit: Fit, models: Sequence[AttackPoint]) -> Attack[Any]:
    """The attack of these points, with the parameters that serve best where it is tuned."""
    attack = models[0].attack
    if not attack.candidates:
        return attack.component
    return _best(bench, fit, bench.plan.tuned_attacks(fit)[attack.label])


def _best(bench: Bench, fit: Fit, models: Sequence[AttackPoint]) -> Attack[Any]:
    """The candidate that serves the adversary best; tried once, then taken from the store."""
    attack = models[0].attack
    key = bench.plan.tuning_key(fit, models)
    if not bench.store.has(key):
        judge = bench.plan.judge
        yardstick = _Yardstick(bench, fit, judge, bench.plan.images(models[0]))
        known = enrolled(bench, fit, bench.plan.tuning_users(fit)) if fit.enrols else {}
        registry = boundary.Loan("the registry", known)
        tried = [_try(bench, yardstick, fit, registry, models, c) for c in attack.candidates]
        best = min(range(len(tried)), key=lambda i: min(_reached(bench, tried[i])))
        judged_by = judge.name if judge is not None else "frechet-proxy"
        bench.store.put(key, {}, {"chosen": best, "tried": tried, "judged_by": judged_by})
    chosen: int = bench.store.meta(key)["chosen"]
    return attack.candidates[chosen]


def _reached(bench: Bench, points: Sequence[dict[str, float]]) -> list[float]:
    """What is left of the code within the budget; all of it where no strength is within."""
    budget = bench.suite.score.damage_budget
    return [_left(p["bit_accuracy"]) for p in points if p["damage"] <= budget] or [1.0]


def _left(accuracy: float) -> float:
    """Bit accuracy of a reader who knows whether bits come out right or inverted, 1/2 to 1."""
    return abs(accuracy - 0.5) + 0.5


class _Yardstick:
    """Fréchet distances to real images as the suite measures damage, all at equal counts.

    Args:
        bench: what the stages share.
        fit: whose tuning copies are judged.
        judge: the network; None = the one that comes with fpbench.
        images: drawn from each tuning copy.
    """

    def __init__(self, bench: Bench, fit: Fit, judge: PlannedBackbone | None, images: int) -> None:
        plan = bench.plan
        if judge is None:
            self._network: Callable[[Tensor], Tensor] = bench.features
            features = bench.store.get(plan.reference_key).arrays["features"]
            self._real = reference(features)
        else:
            self._network = bench.network(judge)
            known = bench.store.get(plan.backbone_key(judge)).arrays
            self._real = Reference(known["mean"], known["covariance"], known["root"])
        host = bench.host.generator
        wanted = [images_of(user, images) for user in plan.tuning_users(fit)]
        seen = [self.seen(host.sample(bench.latents(host, each))) for each in wanted]
        self.host = self.distance(seen)

    def seen(self, images: Tensor) -> np.ndarray:
        """Features of samples (N, ...)."""
        features: np.ndarray = self._network(images).cpu().numpy()
        return features

    def distance(self, features: Sequence[np.ndarray]) -> float:
        """Of images, by copy, to real ones."""
        return frechet_to(self._real, *moments(np.concatenate(features)))


def _try(
    bench: Bench,
    yardstick: _Yardstick,
    fit: Fit,
    registry: boundary.Loan,
    models: Sequence[AttackPoint],
    candidate: Attack[Any],
) -> list[dict[str, float]]:
    """Bit accuracy and damage of a candidate at every strength, over the tuning copies.

    Where there are no bits, accuracy is 1/2 and half of the share of images that the method itself
    says yes to; whoever enrols has enrolled the tuning users for it, and nobody else.
    """
    method = fit.method.component
    weights = method.reads is Reads.WEIGHTS
    right: dict[AttackPoint, list[float]] = {model: [] for model in models}
    seen: dict[AttackPoint, list[np.ndarray]] = {model: [] for model in models}
    own: list[np.ndarray] = []
    for user in bench.plan.tuning_users(fit):
        reader = copy_reader(bench, fit, user, lambda _: candidate)
        wanted = images_of(user, bench.plan.images(models[0]))
        latents = bench.latents(reader.subject, wanted)
        own.append(yardstick.seen(boundary.drawn(reader.subject, latents)))
        for model, generator in _trajectory(reader, models, candidate):
            who, loan = f"attack {model.attack.label}", bench.fit_loan(fit)
            reading = f"{fit.method.label}: extract"
            loans = (bench.host_loan, loan, registry)
            with boundary.unharmed(reading, *loans), torch.no_grad():
                drawn = boundary.drawn(generator, latents)
                images = bench.modality.check(who, drawn, len(wanted), bench.info)
                shown = None if weights else images.clone()
                held = boundary.Lent(generator) if weights else None
                evidence, ctx = Evidence(shown, held, registry.lent()), bench.context("extract")
                host = bench.lent_host()
                logits = call(method.extract, loan.lent(), host, evidence, ctx)
            shape = reading_shape(method, 1 if weights else len(images), TUNING_COPIES)
            check_reading(reading, logits, shape)
            right[model].append(_accuracy(bench, fit, user, logits))
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


def _accuracy(bench: Bench, fit: Fit, user: int, reading: Tensor) -> float:
    if fit.method.component.gives is Gives.BITS:
        return float(((reading > 0) == bench.code(fit, user)).float().mean())
    if fit.method.component.gives is Gives.SCORES:
        reading = reading[:, user - bench.plan.tuning_users(fit).start]
    return 0.5 + float((reading > 0).float().mean()) / 2


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
