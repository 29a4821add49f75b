"""Fitting the sampler, finding latents of images, going on with the decoder's training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, ContractError, Generator, SampleStream, State
from fpbench.api.images import to_float
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.nn.schedule import adam, descend
from fpbench.nn.state import placed
from fpbench_latent_diffusion.autoencoder import decoder_of, encoder_of, fresh_decoder, read
from fpbench_latent_diffusion.layout import Files
from fpbench_latent_diffusion.sampling import Components, Photographs, fit_components

if TYPE_CHECKING:
    from fpbench_latent_diffusion.params import LatentDiffusionParams

__all__ = ["assemble", "encode", "finetune", "fit", "untrained"]

_CHUNK = 32
DECODER = "decoder"
COMPONENTS = "components"


def fit(
    who: str, files: Files, images: SampleStream, p: LatentDiffusionParams, ctx: Context
) -> State:
    """The autoencoder as it is, and a sampler of latents fitted to encoded photographs.

    Returns:
        ``encoder.*``, ``decoder.*``, ``about``, and ``components.mean`` (C, h, w) with
        ``components.basis`` (Z, C, h, w), or ``latents`` (M, C, h, w).
    """
    state = {key: tensor.to(ctx.device) for key, tensor in read(who, files).items()}
    count = min(p.images, len(images))
    latents = torch.cat(
        [
            _encoded(state, images.read(range(start, min(start + _CHUNK, count))), ctx)
            for start in range(0, count, _CHUNK)
        ]
    )
    if p.sampler == "photographs":
        return state | {"latents": latents}
    components = min(p.components, count - 1, latents[0].numel())
    if components < p.components:
        raise ContractError(
            f"{who}: expected more than {p.components} photographs and numbers in a latent for "
            f"{p.components} components, got {count} and {latents[0].numel()}; set "
            f"components = {components} or fewer"
        )
    mean, basis = fit_components(latents, components)
    shape = latents.shape[1:]
    return state | {
        "components.mean": mean.view(shape),
        "components.basis": (p.temperature * basis).view(-1, *shape),
    }


def assemble(state: State, device: torch.device) -> Generator:
    """The host's steps: where latents come from, and the decoder."""
    return _generator(state, decoder_of(state, device), device)


def untrained(state: State, ctx: Context) -> Generator:
    """The same with a decoder that is not trained."""
    with ctx.seeded("untrained"):
        decoder = fresh_decoder(state)
    return _generator(state, placed(decoder, ctx.device), ctx.device)


def unpacked(sampler: Tensor | None, decoder: nn.Module, device: torch.device) -> Generator:
    """The host's steps again, of a file: `sampler` is the extra state of the components."""
    if sampler is None:
        return ChainGenerator({DECODER: decoder}, 0, device)
    sampler = sampler.to(device)
    return _chain(sampler[0], sampler[1:], decoder, device)


def encode(state: State, samples: Tensor, ctx: Context, step: str | None) -> Tensor:
    """Latents of uint8 images (N, 3, H, W): what goes into the decoder, or into `components`.

    Raises:
        ContractError: there is no such step.
    """
    first = COMPONENTS if "components.mean" in state else DECODER
    if step not in (None, first, DECODER):
        raise ContractError(
            f"host latent-diffusion: expected to encode for the step {first!r} or {DECODER!r}, got "
            f"{step!r}; ask for one of these"
        )
    latents = torch.cat([_encoded(state, part, ctx) for part in torch.split(samples, _CHUNK)])
    if (step or first) == DECODER:
        return latents
    with torch.no_grad():
        return _components(state, ctx.device).weights_of(latents)


def finetune(
    state: State,
    generator: Generator,
    images: Tensor,
    learning_rate: float,
    marks: Sequence[int],
    batch: int,
    ctx: Context,
) -> Iterator[tuple[int, Generator]]:
    """Go on with the decoder's training: squared error to photographs from their latents.

    Published decoders learn with a perceptual and an adversarial loss, too; those networks are not
    part of what is published.
    """
    tail = Tail(generator).train().requires_grad_(True)
    latents = encode(state, images, ctx, DECODER)
    optimiser = adam([(tail.parameters(), learning_rate)], betas=(0.9, 0.999))
    for index in range(max(marks, default=0)):
        rng = ctx.rng("finetune", index)
        chosen = torch.randint(len(images), (batch,), generator=rng).to(images.device)
        with ctx.seeded("finetune", index):
            error = (tail(latents[chosen]) - to_float(images[chosen])).square().mean()
        descend(error, optimiser)
        if index + 1 in marks:
            yield index + 1, tail.within(generator)


@torch.no_grad()
def _encoded(state: State, images: Tensor, ctx: Context) -> Tensor:
    latents: Tensor = encoder_of(state, ctx.device)(to_float(images.to(ctx.device)))
    return latents.contiguous()


def _generator(state: State, decoder: nn.Module, device: torch.device) -> Generator:
    if "latents" in state:
        return Photographs({DECODER: decoder.eval()}, state["latents"], device)
    return _chain(state["components.mean"], state["components.basis"], decoder, device)


def _chain(mean: Tensor, basis: Tensor, decoder: nn.Module, device: torch.device) -> Generator:
    step = Components(mean.flatten(), basis.flatten(1), mean.shape).to(device)
    return ChainGenerator({COMPONENTS: step, DECODER: decoder}, len(basis), device)


def _components(state: State, device: torch.device) -> Components:
    mean, basis = state["components.mean"], state["components.basis"]
    return Components(mean.flatten(), basis.flatten(1), mean.shape).to(device)
