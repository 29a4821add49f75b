"""Generators made of steps: what every in-tree host and copy is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fpbench.api import Generator
from fpbench.nn.images import to_float, to_uint8


class ChainGenerator(Generator):
    """Standard normal latents through a chain of modules; the last one makes the images.

    Args:
        steps: modules in the order they run; the output of the last is float images in [-1, 1]
            or uint8 images, (N, 3, H, W).
        latent_dim: length of a latent.
        device: where the steps live.
    """

    def __init__(
        self, steps: Mapping[str, nn.Module], latent_dim: int, device: torch.device
    ) -> None:
        self._steps = dict(steps)
        self._latent_dim = latent_dim
        self._device = device
        for step in self._steps.values():
            step.eval()

    @property
    def steps(self) -> Mapping[str, nn.Module]:
        """The modules by name, in order."""
        return MappingProxyType(self._steps)

    def prior(self, seeds: Sequence[int]) -> Tensor:
        """(N, latent_dim) standard normal; row i is a function of seed i alone."""
        rows = [
            torch.randn(self._latent_dim, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        return torch.stack(rows).to(self._device)

    @torch.no_grad()
    def sample(self, latents: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 images of (N, latent_dim) latents."""
        x = latents
        for step in self._steps.values():
            x = step(x)
        return _eight_bit(x)

    def replace(
        self, name: str, step: nn.Module | None, *, after: str | None = None
    ) -> ChainGenerator:
        """See `fpbench.api.Generator.replace`."""
        steps = dict(self._steps)
        if step is None:
            del steps[name]
        elif after is None:
            if name not in steps:
                raise KeyError(f"no step called {name!r}; this generator has {list(steps)}")
            steps[name] = step
        else:
            order = list(steps)
            order.insert(order.index(after) + 1, name)
            steps = {key: step if key == name else steps[key] for key in order}
        return ChainGenerator(steps, self._latent_dim, self._device)


class PostStep(nn.Module):
    """A post-hoc embedder with one user's code: 8-bit images in, 8-bit images out.

    Args:
        embedder: (images float in [-1, 1], codes bool (N, K)) -> images float.
        code: (K,) bool.
    """

    def __init__(self, embedder: nn.Module, code: Tensor) -> None:
        super().__init__()
        self.embedder = embedder.eval()
        self.register_buffer("code", code.bool())

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W) uint8; the host's image is quantised before marking."""
        images = _eight_bit(images)
        codes = self.get_buffer("code").expand(len(images), -1)
        return to_uint8(self.embedder(to_float(images), codes))


def _eight_bit(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else to_uint8(images)
