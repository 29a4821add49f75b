"""Exponential moving averages of weights."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Average", "warmed_decay"]

M = TypeVar("M", bound=nn.Module)


class Average(Generic[M]):
    """A running average of a module's parameters and buffers, itself a module in eval mode.

    Attributes:
        module: The averaged copy. It needs no gradient.
    """

    def __init__(self, source: M) -> None:
        self.source = source
        self.module: M = copy.deepcopy(source).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Sets the average to ``decay * average + (1 - decay) * source``."""
        averaged: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(self.source.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mine, theirs in zip(self.module.buffers(), self.source.buffers(), strict=True):
            mine.copy_(theirs)


def warmed_decay(decay: float, step: int) -> float:
    """The decay after ``step`` updates, small at first to forget the initialisation."""
    return min(decay, (1 + step) / (10 + step))
