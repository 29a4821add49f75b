"""Fitting the sampler, finding latents of images, going on with the decoder's training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, ContractError, Generator, SampleStream, State
from fpbench.api.images import to_float
from fpbench.api.packing import alone, taken
from fpbench.nn.autoencoders.layout import Files
from fpbench.nn.autoencoders.opening import (
    decoder_of,
    encoder_of,
    fresh_decoder,
    opened_decoder,
    read,
)
from fpbench.nn.components import Components, fit_components
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.nn.schedule import adam, descend
from fpbench.nn.state import part, placed
from fpbench_latent_diffusion import parts, prompting
from fpbench_latent_diffusion.denoising import Denoised
from fpbench_latent_diffusion.fitting import classes_of, opened_denoiser, trained_denoiser
from fpbench_latent_diffusion.hub import place_of
from fpbench_latent_diffusion.sampling import Photographs

if TYPE_CHECKING:
    from fpbench_latent_diffusion.params import LatentDiffusionParams

__all__ = ["assemble", "encode", "finetune", "fit", "unpacked", "untrained"]

_CHUNK = 32
DECODER = "decoder"
COMPONENTS = "components"
_FROM_NOISE = {"denoiser._extra_state", "pipeline.files"}
DENOISER = "denoiser"


def fit(
    who: str, files: Files, images: SampleStream, p: LatentDiffusionParams, ctx: Context
) -> State:
    """The autoencoder as it is, and a sampler of latents fitted to encoded photographs.

    Returns:
        ``encoder.*``, ``decoder.*``, ``about``, and ``components.mean`` (C, h, w) with
        ``components.basis`` (Z, C, h, w), or ``latents`` (M, C, h, w), or ``denoiser.*``, or
        ``pipeline.files`` (32,) uint8, the digest of what stays in its folder, and
        ``pipeline.latent`` (3,).
    """
    state = {key: tensor.to(ctx.device) for key, tensor in read(who, files).items()}
    if p.sampler == "pipeline":
        latent = torch.tensor(files.latent(images.info.size), device=ctx.device)
        parts.check(who, _folder(who, p), p.scheduler)
        digest = prompting.files_of(_folder(who, p)).to(ctx.device)
        return state | {"pipeline.files": digest, "pipeline.latent": latent}
    count = min(p.images, len(images))
    starts = range(0, count, _CHUNK)
    photographs = (images.read(range(start, min(start + _CHUNK, count))) for start in starts)
    latents = _encoded(state, photographs, ctx)
    if p.sampler == "photographs":
        return state | {"latents": latents}
    if p.sampler == "denoiser":
        return _with_denoiser(state, latents, _classes(images, count, ctx), p, ctx)
    mean, basis = fit_components(latents, p.components)
    shape = latents.shape[1:]
    return state | {
        "components.mean": mean.view(shape),
        "components.basis": (p.temperature * basis).view(-1, *shape),
    }


def assemble(state: State, p: LatentDiffusionParams, ctx: Context) -> Generator:
    """The host's steps: where latents come from, and the decoder."""
    return _generator(state, decoder_of(state, ctx.device), p, ctx)


def untrained(state: State, p: LatentDiffusionParams, ctx: Context) -> Generator:
    """The same with a decoder that is not trained."""
    with ctx.seeded("untrained"):
        decoder = fresh_decoder(state)
    return _generator(state, placed(decoder, ctx.device), p, ctx)


def unpacked(
    who: str, packed: State, files: Files, p: LatentDiffusionParams, ctx: Context
) -> Generator:
    """The host's steps again, of a file.

    Raises:
        ContractError: the file is of another host, or holds more.
    """
    if p.sampler == "photographs":
        raise ContractError(
            f"{who}: expected a copy that draws its own latents, got one for the latents of "
            "photographs, which are no part of it; set host.sampler to gaussian"
        )
    weights, rest = taken(who, packed, DECODER)
    decoder = placed(opened_decoder(who, weights, files), ctx.device)
    if p.sampler == "denoiser":
        own = alone(who, rest, DENOISER)
        return _denoised(who, {n: t.to(ctx.device) for n, t in own.items()}, decoder, p, ctx)
    if p.sampler == "pipeline":
        own = alone(who, rest, DENOISER)
        return prompting.reopened(who, own, _folder(who, p), decoder, p, ctx)
    found = alone(who, rest, COMPONENTS).get("_extra_state")
    if found is None or len(rest) > 1:
        raise ContractError(
            f"{who}: expected mean and basis of the step {COMPONENTS!r}, got {sorted(rest)}; open "
            "it with the host that it is of"
        )
    found = found.to(ctx.device)
    return _chain(found[0], found[1:], decoder, ctx.device)


def encode(state: State, samples: Tensor, ctx: Context, step: str | None) -> Tensor:
    """Latents of uint8 images (N, 3, H, W): what goes into the decoder, or into `components`.

    Raises:
        ContractError: there is no such step, or it takes noise.
    """
    if state.keys() & _FROM_NOISE and step != DECODER:
        raise ContractError(
            f"host latent-diffusion: expected to encode for the step {DECODER!r}, got {step!r}: "
            f"what goes into {DENOISER!r} is noise, and that of an image is not known; ask for "
            f"{DECODER!r}"
        )
    first = COMPONENTS if "components.mean" in state else DECODER
    if step not in (None, first, DECODER):
        raise ContractError(
            f"host latent-diffusion: expected to encode for the step {first!r} or {DECODER!r}, got "
            f"{step!r}; ask for one of these"
        )
    latents = _encoded(state, torch.split(samples, _CHUNK), ctx)
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
    # Of a copy whose steps were made one by an adversary, what the first of them takes.
    latents = encode(state, images, ctx, generator.output)
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
def _encoded(state: State, images: Iterable[Tensor], ctx: Context) -> Tensor:
    """Latents of uint8 images, which come a few at a time."""
    encoder = encoder_of(state, ctx.device)
    return torch.cat([encoder(to_float(some.to(ctx.device))).contiguous() for some in images])


def _classes(images: SampleStream, count: int, ctx: Context) -> Tensor | None:
    if images.info.conditions != "classes":
        return None
    return torch.tensor([int(c) for c in images.conditions(range(count))], device=ctx.device)


def _with_denoiser(
    state: State, latents: Tensor, classes: Tensor | None, p: LatentDiffusionParams, ctx: Context
) -> State:
    def whole(own: State) -> State:
        return state | {f"{DENOISER}.{name}": tensor for name, tensor in own.items()}

    decoder = decoder_of(state, ctx.device)
    return whole(trained_denoiser(latents, classes, decoder, p, ctx, whole))


def _generator(
    state: State, decoder: nn.Module, p: LatentDiffusionParams, ctx: Context
) -> Generator:
    if "latents" in state:
        return Photographs({DECODER: decoder.eval()}, state["latents"], ctx.device)
    if own := part(state, "pipeline"):
        who = "host latent-diffusion"
        return prompting.assembled(who, own, _folder(who, p), decoder, p, ctx)
    if own := part(state, DENOISER):
        return _denoised("host latent-diffusion", own, decoder, p, ctx)
    return _chain(state["components.mean"], state["components.basis"], decoder, ctx.device)


def _folder(who: str, p: LatentDiffusionParams) -> Path:
    return Path(place_of(who, p.autoencoder, p.hub, p.revision))


def _denoised(
    who: str, own: State, decoder: nn.Module, p: LatentDiffusionParams, ctx: Context
) -> Generator:
    steps = {DENOISER: opened_denoiser(who, own, p), DECODER: decoder}
    return Denoised(steps, own["_extra_state"].shape[1:], classes_of(own), ctx.device)


def _chain(mean: Tensor, basis: Tensor, decoder: nn.Module, device: torch.device) -> Generator:
    step = Components(mean.flatten(), basis.flatten(1), mean.shape).to(device)
    return ChainGenerator({COMPONENTS: step, DECODER: decoder}, len(basis), device)


def _components(state: State, device: torch.device) -> Components:
    mean, basis = state["components.mean"], state["components.basis"]
    return Components(mean.flatten(), basis.flatten(1), mean.shape).to(device)
