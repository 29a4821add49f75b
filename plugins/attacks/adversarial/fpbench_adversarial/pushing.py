"""Projected gradient descent on 8-bit images, within levels of a pixel and above a PSNR."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["Aim", "Objective", "erased", "flipped", "push", "unseen"]

Objective = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) in [-1, 1] to what is to become small, (N,)."""
Aim = Callable[[Tensor], Objective]
"""Images as they are at first to what is wanted of them."""

_REACH = 2.5  # times the budget that all steps together can go (Madry et al. 2018)


def push(images: Tensor, aim: Aim, budget: float, steps: int, psnr: float) -> Tensor:
    """Images whose objective is smaller, no pixel further from its own than the budget.

    Each step follows the sign of the gradient. What is left of a level is rounded, and where an
    image would fall below the PSNR, its change is scaled down and rounded towards nothing.

    Args:
        images: (N, 3, H, W) uint8.
        aim: what is wanted of them.
        budget: levels of 255; a whole number.
        steps: how many.
        psnr: the least, decibels; 0 = any.

    Returns:
        (N, 3, H, W) uint8.
    """
    levels = images.float()
    objective = aim(_seen(levels))
    change, rate = torch.zeros_like(levels), _REACH * budget / steps
    for _ in range(steps):
        with torch.enable_grad():
            moved = (levels + change).requires_grad_()
            (gradient,) = torch.autograd.grad(objective(_seen(moved)).sum(), moved)
        change = (change - rate * gradient.sign()).clamp(-budget, budget)
        change = (levels + change).clamp(0, 255) - levels
    pushed = levels + _floored(change, psnr)
    return pushed.to(torch.uint8, memory_format=torch.channels_last)


def unseen(network: nn.Module) -> Aim:
    """A detector (N, 1), above 0 where it sees a mark, sees none."""

    def aim(images: Tensor) -> Objective:
        del images
        return lambda moved: network(moved)[:, 0]

    return aim


def flipped(network: nn.Module) -> Aim:
    """A reader (N, K) reads the opposite of each bit that it reads at first."""

    def aim(images: Tensor) -> Objective:
        with torch.no_grad():
            signs = network(images).sign()
        # Bits that are over already hardly pull.
        return lambda moved: softplus(network(moved) * signs).sum(1)

    return aim


def erased(network: nn.Module) -> Aim:
    """A reader (N, K) reads nothing."""

    def aim(images: Tensor) -> Objective:
        del images
        return lambda moved: network(moved).square().sum(1)

    return aim


def _seen(levels: Tensor) -> Tensor:
    return levels.mul(2 / 255).sub(1)


def _floored(change: Tensor, psnr: float) -> Tensor:
    """(N, 3, H, W) whole levels of a change."""
    rounded = change.round()
    if not psnr:
        return rounded
    error = rounded.square().mean((1, 2, 3), keepdim=True)
    most = 255.0**2 / 10 ** (psnr / 10)
    scale = (most / error.clamp_min(1e-12)).sqrt()
    return torch.where(error > most, (rounded * scale).trunc(), rounded)
