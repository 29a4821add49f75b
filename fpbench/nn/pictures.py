"""A generator that shows finished pictures: what a host without a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fpbench.api import Conditions, Generator
from fpbench.api.images import to_float, to_uint8

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
        steps = dict(self._steps)
        if name not in steps and (step is None or after not in steps):
            raise KeyError(f"no step called {after or name!r}; this generator has {list(steps)}")
        if step is None:
            del steps[name]
        elif after is None:
            steps[name] = step
        else:
            order = [each for each in steps if each != name]
            order.insert(order.index(after) + 1, name)
            steps = {each: step if each == name else steps[each] for each in order}
        return PictureGenerator(steps, self._count, self._device)
