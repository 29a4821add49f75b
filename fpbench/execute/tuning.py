"""What an adversary finds out beforehand: which parameters serve him best against a method.

He tries every candidate on copies that are never reported, and keeps the one that at some strength
within the damage budget leaves the fewest right bits. Fixed parameters would flatter the methods
that happen to withstand them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fpbench import stats
from fpbench.api import Attack, ContractError, Evidence, Generator
from fpbench.execute import boundary
from fpbench.execute.checks import check_generator, check_images, check_logits
from fpbench.execute.process import call
from fpbench.plan import AttackPoint, Fit

if TYPE_CHECKING:
    from fpbench.execute.readings import GeneratorReader
    from fpbench.execute.session import Session


def tune(session: Session, fit: Fit, models: Sequence[AttackPoint]) -> Attack[Any]:
    """The candidate that serves the adversary best; tried once, then taken from the store."""
    attack = models[0].attack
    key = session.plan.tuning_key(fit, models)
    if not session.store.has(key):
        tried = [_try(session, fit, models, candidate) for candidate in attack.candidates]
        best = min(range(len(tried)), key=lambda i: min(_reached(session, tried[i])))
        session.store.put(key, {}, {"chosen": best, "tried": tried})
    chosen: int = session.store.meta(key)["chosen"]
    return attack.candidates[chosen]


def _reached(session: Session, points: Sequence[dict[str, float]]) -> list[float]:
    """Bit accuracies within the budget; 1, as if nothing was reached, where none is."""
    budget = session.suite.score.damage_budget
    return [p["bit_accuracy"] for p in points if p["ratio"] <= budget] or [1.0]


def _try(
    session: Session, fit: Fit, models: Sequence[AttackPoint], candidate: Attack[Any]
) -> list[dict[str, float]]:
    """Bit accuracy and damage of a candidate at every strength, over the tuning copies."""
    right: dict[AttackPoint, list[float]] = {model: [] for model in models}
    seen: dict[AttackPoint, list[np.ndarray]] = {model: [] for model in models}
    own: list[np.ndarray] = []
    for user in session.plan.tuning_users():
        reader = session.copy_reader(fit, user)
        seeds = session.latent_seeds(user, session.plan.images(models[0]))
        latents, untouched = boundary.drawn_from(reader.subject, seeds)
        own.append(session.features(untouched).cpu().numpy())
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
            seen[model].append(session.features(images).cpu().numpy())
    real = stats.moments(session.store.get(session.plan.reference_key).arrays["features"])
    clean = stats.frechet(*stats.moments(np.concatenate(own)), *real)
    return [
        {
            "strength": float(model.strength or 0),
            "bit_accuracy": float(np.mean(right[model])),
            "ratio": stats.frechet(*stats.moments(np.concatenate(seen[model])), *real) / clean,
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
