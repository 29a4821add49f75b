"""Reading sounds that may have been played at another speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpbench.nn.sound_distortions import speed

__all__ = ["SPEEDS", "surest"]

SPEEDS = tuple(round(0.88 + 0.01 * i, 2) for i in range(26))
"""Of 0.88 to 1.13, at which sounds are tried; 1 is among them."""


def surest(eye: nn.Module, sounds: Tensor) -> Tensor:
    """Logits (N, K) at the speed at which the reader is surest: of the largest mean size.

    It looks so at whatever it is shown, so that the search is part of what false accusations are
    counted with.

    Args:
        eye: reads sounds.
        sounds: (N, C, T) in [-1, 1].
    """
    found = torch.stack([eye(speed(sounds, torch.full((len(sounds),), f))) for f in SPEEDS])
    best = found.abs().mean(2).argmax(0)
    return found[best, torch.arange(len(sounds), device=sounds.device)]
