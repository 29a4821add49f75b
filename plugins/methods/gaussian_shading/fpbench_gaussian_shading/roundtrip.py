"""What is left of latents when a host encodes the images that it has drawn of them."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.api import Context, ContractError, State, TrainedHost
from fpbench_gaussian_shading.params import GaussianShadingParams
from fpbench_gaussian_shading.shading import decode, encrypted, shaded, slopes

__all__ = ["encoded", "fit"]

_CHUNK = 256


def fit(host: TrainedHost, params: GaussianShadingParams, ctx: Context) -> State:
    """The owner's pads, and what the round trip does to each latent.

    Returns:
        "pads" (R, D) bool, "slopes" (D,) of the log-odds, "right" (D,) shares of signs that come
        back right, "accuracy" (1,) of bits in marked images of training codes.

    Raises:
        ContractError: there are more bits than latents, or the round trip loses them.
    """
    shape = host.generator.prior([0]).shape[1:]
    size = shape.numel()
    if params.bits > size:
        raise ContractError(
            f"method gaussian-shading: expected at least one latent for each of {params.bits} "
            f"bits, got a host with {size}; set bits to {size} or less"
        )

    def drawn(purpose: str) -> Tensor:
        rows = torch.randn(params.measured, size, generator=ctx.rng(purpose))
        return rows.to(ctx.device)

    def returned(latents: Tensor) -> Tensor:
        parts = [part.view(-1, *shape) for part in torch.split(latents, _CHUNK)]
        return torch.cat([encoded(host, host.generator.sample(part), ctx) for part in parts])

    latents = drawn("latents")
    back = returned(latents)
    slope = slopes(latents, back)
    right = ((latents > 0) == (back > 0)).float().mean(0)

    coins = torch.randint(0, 2, (params.streams, size), generator=ctx.rng("pads"))
    pads = coins.bool().to(ctx.device)
    codes = ctx.training_codes(params.measured, ctx.rng("codes"))
    own = pads[torch.arange(params.measured, device=ctx.device) % params.streams]
    marked = shaded(drawn("marked"), encrypted(codes, own))
    logits = decode(returned(marked) * slope, pads, params.bits)
    accuracy = ((logits > 0) == codes).float().mean()
    if accuracy < params.least_accuracy:
        raise ContractError(
            f"method gaussian-shading: expected a round trip through the host's `encode` that "
            f"leaves a bit accuracy of {params.least_accuracy:g}, got {float(accuracy):.3f} for "
            f"{params.bits} bits in {params.streams} streams ({float(right.mean()):.2f} of the "
            f"latents' signs come back right); take fewer bits or streams, or a host that inverts "
            "its images better, or lower least_accuracy"
        )
    return {"pads": pads, "slopes": slope, "right": right, "accuracy": accuracy[None]}


def encoded(host: TrainedHost, images: Tensor, ctx: Context) -> Tensor:
    """``(N, D)`` latents that the host finds in uint8 images ``(N, 3, H, W)``.

    Raises:
        ContractError: they are not finite.
    """
    latents: Tensor = host.encode(images, ctx).flatten(1)
    if not bool(torch.isfinite(latents).all()):
        raise ContractError(
            f"host {host.component.name}: expected finite latents of images, got NaN or infinity; "
            "mend `encode`, or take `Offer.ENCODE` out of `offers`"
        )
    return latents
