"""Generators made of steps: what every in-tree host and copy is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fpbench.api import Conditions, ContractError, Generator, Latents
from fpbench.api.generator import PRIOR
from fpbench.api.images import to_uint8

__all__ = ["ChainGenerator", "Tail", "replaced"]


def replaced(
    steps: Mapping[str, nn.Module], name: str, step: nn.Module | None, after: str | None
) -> dict[str, nn.Module]:
    """Steps with one exchanged, dropped or put in; see `fpbench.api.Generator.replace`.

    Raises:
        KeyError: there is no step of that name, or none called `after`.
    """
    found = dict(steps)
    missing = name if after is None else after
    if missing not in found and (step is None or name != PRIOR):
        raise KeyError(f"no step called {missing!r}; this generator has {list(found)}")
    if step is None:
        del found[name]
    elif name == PRIOR:
        found = {PRIOR: step, **{key: value for key, value in found.items() if key != PRIOR}}
    elif after is None:
        found[name] = step
    else:
        order = [key for key in found if key != name]
        order.insert(order.index(after) + 1, name)
        found = {key: step if key == name else found[key] for key in order}
    return found


class ChainGenerator(Generator):
    """Standard normal latents through a chain of modules; the last one makes the images.

    Args:
        steps: modules in the order they run; the output of the last is float samples in [-1, 1]
            or samples as a file carries them. One called "prior" marks latents as they are drawn:
            it is called with standard normal ones (N, latent_dim) and their seeds (N,) int64.
        latent_dim: length of a latent.
        device: where the steps live.
        to_file: floats (N, ...) as a file carries them; of other samples than images
            `ctx.modality.to_file`.
    """

    def __init__(
        self,
        steps: Mapping[str, nn.Module],
        latent_dim: int,
        device: torch.device,
        to_file: Callable[[Tensor], Tensor] = to_uint8,
    ) -> None:
        self._steps = dict(steps)
        self._latent_dim = latent_dim
        self._device = device
        self._to_file = to_file
        for step in self._steps.values():
            step.eval()

    @property
    def steps(self) -> Mapping[str, nn.Module]:
        """The modules by name, in order."""
        return MappingProxyType(self._steps)

    @torch.no_grad()
    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Tensor:
        """(N, latent_dim) standard normal, or marked; row i is a function of seed i alone."""
        del conditions  # it takes none
        rows = [
            torch.randn(self._latent_dim, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        latents = torch.stack(rows).to(self._device)
        if PRIOR not in self._steps:
            return latents
        marked: Tensor = self._steps[PRIOR](latents, torch.tensor(seeds, dtype=torch.int64))
        return marked

    @torch.no_grad()
    def sample(self, latents: Latents) -> Tensor:
        """(N, 3, H, W) uint8 images, or other samples, of what goes into the first step."""
        samples: Tensor = self.run(latents)
        return self._to_file(samples) if samples.is_floating_point() else samples

    def replace(
        self, name: str, step: nn.Module | None, *, after: str | None = None
    ) -> ChainGenerator:
        """See `fpbench.api.Generator.replace`."""
        steps = replaced(self._steps, name, step, after)
        return ChainGenerator(steps, self._latent_dim, self._device, self._to_file)


class Tail(nn.Module):
    """What fine-tuning trains of a copy: its steps from `output` on, up to before an opaque one.

    Args:
        generator: the copy; its steps are copied, not changed.

    Raises:
        ContractError: the output step is opaque.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        names = list(generator.steps)
        names = names[names.index(generator.output) :]
        names = list(takewhile(lambda name: name not in generator.opaque, names))
        if not names:
            raise ContractError(
                f"fine-tuning: expected to train the step {generator.output!r}, got an opaque one; "
                "set `opaque = True` on the method, too"
            )
        self._names = names
        self.learning = nn.ModuleList(copy.deepcopy(generator.steps[name]) for name in names)

    def forward(self, latents: Tensor) -> Tensor:
        """(N, 3, H, W) float images in [-1, 1] from what goes into the output step.

        Raises:
            ContractError: no gradient comes through.
        """
        x = latents
        for step in self.learning:
            x = step(x)
        if torch.is_grad_enabled() and not x.requires_grad:
            raise ContractError(
                f"fine-tuning: expected gradients through the steps {self._names}, got none; "
                "round with fpbench.api.images.quantise, or set `opaque = True` on the step that "
                "ends them"
            )
        return x

    def within(self, generator: Generator) -> Generator:
        """The generator with copies of these steps, as they are now, in the place of its own."""
        for name, step in zip(self._names, self.learning, strict=True):
            learnt = copy.deepcopy(step).eval().requires_grad_(False)
            generator = generator.replace(name, learnt)
        return generator
