"""A generator that shows finished pictures: what a host without a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fpbench.api import Conditions, Generator
from fpbench.api.images import to_float, to_uint8
from fpbench.nn.generator import replaced

__all__ = ["PictureGenerator", "Pictures"]


class Pictures(nn.Module):
    """The step "pictures": their numbers to themselves.

    Args:
        images: (P, 3, H, W) uint8.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.register_buffer("images", images)

    def forward(self, numbers: Tensor) -> Tensor:
        """(N,) int64 -> (N, 3, H, W) float in [-1, 1], to the bit as they are."""
        return to_float(self.get_buffer("images")[numbers])


class PictureGenerator(Generator):
    """Pictures by their numbers; a seed picks that of its remainder.

    Args:
        steps: "pictures", and what is put behind it.
        count: of the pictures.
        device: where they live.
    """

    def __init__(self, steps: Mapping[str, nn.Module], count: int, device: torch.device) -> None:
        self._steps = dict(steps)
        self._count = count
        self._device = device

    @classmethod
    def of(cls, images: Tensor, device: torch.device) -> PictureGenerator:
        """One that shows images (P, 3, H, W) uint8 and does nothing else."""
        return cls({"pictures": Pictures(images.to(device))}, len(images), device)

    @property
    def steps(self) -> Mapping[str, nn.Module]:
        """See `Generator.steps`."""
        return MappingProxyType(self._steps)

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Tensor:
        """(N,) int64 numbers of pictures."""
        del conditions  # they are what they are
        return torch.tensor([seed % self._count for seed in seeds], device=self._device)

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """See `Generator.sample`."""
        return to_uint8(self.run(latents))

    def replace(
        self, name: str, step: nn.Module | None, *, after: str | None = None
    ) -> PictureGenerator:
        """See `Generator.replace`."""
        steps = replaced(self._steps, name, step, after)
        return PictureGenerator(steps, self._count, self._device)
