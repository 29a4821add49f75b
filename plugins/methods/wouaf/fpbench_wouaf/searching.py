"""Reading sounds that may have been played at another speed."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn

__all__ = ["SPEEDS", "played", "surest"]

SPEEDS = tuple(range(88, 113, 2))
"""Percent of a sound's speed at which it is tried; 100 is among them.

A robust reader bears a speed that is 1 % off, so that no speed in between is missed.
"""
_TAPS = 16  # samples on either side that an interpolated one is made of
_BLOCK = 100  # samples after which, at whole percents, places lie as they did


def surest(eye: nn.Module, sounds: Tensor) -> Tensor:
    """Logits (N, K) at the speed at which the reader is surest: of the largest mean size.

    It looks so at whatever it is shown, so that the search is part of what false accusations are
    counted with.

    Args:
        eye: reads sounds.
        sounds: (N, C, T) in [-1, 1].
    """
    found = torch.stack([eye(played(sounds, percent)) for percent in SPEEDS])
    best = found.abs().mean(2).argmax(0)
    return found[best, torch.arange(len(sounds), device=sounds.device)]


def played(sounds: Tensor, percent: int) -> Tensor:
    """Sounds (N, C, T) at so many percent of their speed: above 100 shorter and higher.

    As `fpbench.nn.sound_distortions.speed` does it, a hundred samples at a time by one matrix,
    which is forty times as fast.
    """
    weights = _weights(percent).to(sounds)
    length = sounds.shape[-1]
    blocks = -(-length // _BLOCK)
    behind = (blocks - 1) * percent + len(weights) - length
    padded = nn.functional.pad(sounds, (_TAPS - 1, max(0, behind)))
    frames = padded.unfold(-1, len(weights), percent)[..., :blocks, :]
    return (frames @ weights).flatten(-2)[..., :length]


@cache
def _weights(percent: int) -> Tensor:
    """(L, 100) what the samples around a block have in each of its own."""
    faster = percent / 100
    places = torch.arange(_BLOCK, dtype=torch.float64) * faster
    taken = torch.arange(percent + 2 * _TAPS)[:, None] - (_TAPS - 1)
    away = places - taken
    cutoff = min(1.0, 1 / faster)
    weights = cutoff * torch.sinc(away * cutoff) * torch.cos(away / _TAPS * math.pi / 2) ** 2
    first = places.floor() - _TAPS + 1
    return torch.where((taken >= first) & (taken < first + 2 * _TAPS), weights, 0.0)
