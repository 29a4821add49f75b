"""Images through an autoencoder and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fpbench.api import Context, ContractError, State
from fpbench.api.images import to_float, to_uint8
from fpbench.nn.autoencoders.layout import Files
from fpbench.nn.autoencoders.opening import decoder_of, encoder_of, read
from fpbench.nn.batches import alike
from fpbench_regeneration.learning import opened_own

__all__ = ["Coder", "noise_like", "opened", "passed", "read_files"]


@dataclass(frozen=True)
class Coder:
    """An autoencoder.

    Attributes:
        encode: images (N, 3, H, W) in [-1, 1] to latents (N, C, h, w).
        decode: and back.
        factor: pixels of an image along a latent's pixel.
    """

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]
    factor: int


def read_files(who: str, files: Files, digest: str, ctx: Context) -> State:
    """An autoencoder as a state: ``encoder.*``, ``decoder.*``, ``about``, ``factor``, ``files``."""
    state = {name: tensor.to(ctx.device) for name, tensor in read(who, files).items()}
    content = list(bytes.fromhex(digest))
    return state | {
        "factor": torch.tensor([files.factor()], device=ctx.device),
        "files": torch.tensor(content, dtype=torch.uint8, device=ctx.device),
    }


def opened(ctx: Context) -> Coder:
    """What `ctx.fitted` holds; a published one, which may be large, once a process."""
    state, factor = ctx.fitted, int(ctx.fitted["factor"])
    if "files" not in state:
        own = opened_own(state, ctx.device)
        return Coder(own.encode, own.decode, factor)
    content = bytes(state["files"].tolist()).hex()
    return ctx.once(
        f"regenerate {content} {ctx.device}",
        lambda: Coder(encoder_of(state, ctx.device), decoder_of(state, ctx.device), factor),
    )


@torch.no_grad()
def passed(
    images: Tensor, coder: Coder, passes: int, sigma: float, indices: Sequence[int], ctx: Context
) -> Tensor:
    """Images after so many passes, (N, 3, H, W) uint8.

    Sides that are no multiple of the factor are mirrored to the next one, right and below, and cut
    back.

    Args:
        images: (N, 3, H, W) uint8, at least one.
        coder: the autoencoder.
        passes: at least one.
        sigma: of the noise on an image's latents, in units of their standard deviation.
        indices: image numbers.
        ctx: for the draws.

    Raises:
        ContractError: the images are too small to be mirrored so far.
    """
    height, width = images.shape[2:]
    room = -width % coder.factor, -height % coder.factor
    if room[0] >= width or room[1] >= height:
        raise ContractError(
            f"attack regenerate: expected images of more than {coder.factor // 2} pixels for an "
            f"autoencoder of the factor {coder.factor}, got {height} by {width}; name another one"
        )
    draws = [ctx.image_rng(index) for index in indices] if sigma else []
    for _ in range(passes):
        whole = pad(to_float(images), (0, room[0], 0, room[1]), mode="reflect")
        latents = alike(coder.encode, whole)
        if draws:
            latents = latents + sigma * noise_like(latents, draws)
        images = to_uint8(alike(coder.decode, latents)[..., :height, :width])
    return images


def noise_like(latents: Tensor, draws: Sequence[np.random.Generator]) -> Tensor:
    """Normal noise with the standard deviation of each sample's latents, (N, C, h, w)."""
    shape = tuple(latents.shape[1:])
    drawn = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in draws])
    spread = latents.flatten(1).std(dim=1, correction=0)
    return torch.from_numpy(drawn).to(latents) * spread[:, None, None, None]
