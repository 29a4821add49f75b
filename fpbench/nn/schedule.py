"""Optimisation with rates that are pure functions of the step: no scheduler state to lose."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.optim import Adam, Optimizer

__all__ = ["adam", "descend", "lazy_adam", "set_rates", "warm_cosine"]


def warm_cosine(step: int, steps: int, *, low: float, warmup: int = 30) -> float:
    """A factor for the learning rate: up over ``warmup`` steps, on a cosine from 1 to ``low``.

    Args:
        step: From 0 to ``steps`` - 1.
        steps: Length of the training.
        low: The factor at the end.
        warmup: Steps until Adam's second moments mean something.
    """
    cosine = low + (1 - low) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return cosine * min(1.0, (step + 1) / warmup)


def adam(
    groups: Sequence[tuple[Iterable[nn.Parameter], float]], *, betas: tuple[float, float]
) -> Adam:
    """Adam over groups of parameters, each with the learning rate it has at factor 1."""
    return Adam(
        [{"params": list(params), "lr": peak, "peak": peak} for params, peak in groups],
        betas=betas,
        fused=True,
    )


def lazy_adam(
    groups: Sequence[tuple[Iterable[nn.Parameter], float]],
    *,
    betas: tuple[float, float],
    every: int,
) -> Adam:
    """`adam` for a loss with one further step of a regulariser every so many steps.

    Rates and exponents are scaled by ``every / (every + 1)`` (Karras et al. 2020, app. B), so that
    the moments reach as far back as without it.
    """
    factor = every / (every + 1)
    scaled = [(params, peak * factor) for params, peak in groups]
    return adam(scaled, betas=(betas[0] ** factor, betas[1] ** factor))


def set_rates(optimiser: Optimizer, factor: float) -> None:
    """Set every group of an optimiser made by `adam` to its peak learning rate times ``factor``."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def descend(loss: Tensor, optimiser: Optimizer) -> None:
    """One step of the optimiser along the gradient of a scalar."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
