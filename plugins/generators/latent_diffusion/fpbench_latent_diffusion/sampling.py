"""Where latents come from when nothing draws them from noise: encoded photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fpbench.api import Conditions
from fpbench.nn.generator import ChainGenerator

__all__ = ["Photographs"]


class Photographs(ChainGenerator):
    """A chain whose latents are those of photographs, one chosen by each seed.

    Args:
        steps: the decoder, and what stands behind it.
        latents: (M, C, h, w) of the photographs.
        device: where the steps live.
    """

    def __init__(
        self, steps: Mapping[str, nn.Module], latents: Tensor, device: torch.device
    ) -> None:
        super().__init__(steps, 0, device)
        self._latents = latents

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Tensor:
        """(N, C, h, w) latents of the photographs that the seeds choose."""
        del conditions  # it takes none
        rows = [
            int(torch.randint(len(self._latents), (1,), generator=torch.Generator().manual_seed(s)))
            for s in seeds
        ]
        return self._latents[rows].to(self._device)

    def replace(
        self, name: str, step: nn.Module | None, *, after: str | None = None
    ) -> Photographs:
        """See `fpbench.api.Generator.replace`."""
        changed = super().replace(name, step, after=after)
        return Photographs(changed.steps, self._latents, self._device)
