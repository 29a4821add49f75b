"""Latents whatever they are: a tensor, or a tuple or dict of tensors with one row a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from fpbench.api import ContractError, Generator, Latents, Offer, SampleStream, TrainedHost
from fpbench.api.generator import PRIOR

__all__ = ["check_first", "drawn", "rows", "shapes"]


def drawn(
    host: TrainedHost,
    count: int,
    samples: SampleStream,
    rng: torch.Generator,
    device: torch.device,
) -> Latents:
    """Ever new latents of a host: standard normal where it says so, else those of its prior.

    Args:
        host: any.
        count: how many.
        samples: of the data set, for conditions where it has some.
        rng: of the draw.
        device: where they go.
    """
    if Offer.GAUSSIAN in host.component.offers:
        shape = host.generator.prior([0]).shape[1:]
        return torch.randn(count, *shape, generator=rng).to(device)
    seeds = torch.randint(2**62, (count,), generator=rng).tolist()
    chosen = torch.randint(len(samples), (count,), generator=rng).numpy()
    return host.generator.prior(seeds, samples.conditions(chosen))


def rows(latents: Latents, piece: slice) -> Latents:
    """Some rows of latents, in all that they are made of."""
    return _mapped(lambda tensor: tensor[piece], latents)


def shapes(latents: Latents) -> object:
    """The shapes of a row, in all that latents are made of; equal where latents are of a kind."""
    return _mapped(lambda tensor: tuple(tensor.shape[1:]), latents)


def check_first(who: str, generator: Generator) -> None:
    """That latents go into the output step itself.

    Raises:
        ContractError: there are steps before it.
    """
    first = next(name for name in generator.steps if name != PRIOR)
    if first != generator.output:
        raise ContractError(
            f"{who}: expected a copy whose step {generator.output!r} takes the host's latents, got "
            f"{first!r} before it; put what is added behind that step, or into it"
        )


def _mapped(of_tensor: Callable[[Tensor], object], latents: Latents) -> object:
    if isinstance(latents, Tensor):
        return of_tensor(latents)
    if isinstance(latents, Mapping):
        return {name: _mapped(of_tensor, part) for name, part in latents.items()}
    return tuple(_mapped(of_tensor, part) for part in latents)
