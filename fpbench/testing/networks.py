"""The torch half of the fakes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fpbench.api import Context, Generator, SampleStream, State
from fpbench.api.images import to_float
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.nn.latents import check_first
from fpbench.nn.state import opened
from fpbench.training import TrainingRun

LATENT = 8


class LinearImages(nn.Module):
    """(N, 8) latents to smooth images: a linear map to 4×4, enlarged."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(LATENT, 3 * 16)
        self.register_buffer("size", torch.tensor([size]))

    def forward(self, latents: Tensor) -> Tensor:
        """(N, 3, size, size) float in [-1, 1]."""
        small = torch.tanh(self.map(latents)).reshape(-1, 3, 4, 4)
        return nn.functional.interpolate(small, int(self.get_buffer("size")), mode="bilinear")


class BlockEmbedder(nn.Module):
    """Writes bit k as the contrast of the two halves of block k."""

    def __init__(self, bits: int, amplitude: Tensor) -> None:
        super().__init__()
        self.bits = bits
        self.amplitude = nn.Parameter(amplitude.clone())

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """(N, 3, H, W) marked."""
        signs = codes.to(images.dtype) * 2 - 1
        pattern = signs @ _patterns(self.bits, images.shape[-1]).to(images)
        return images * 0.5 + self.amplitude * pattern.reshape(-1, 1, *images.shape[-2:])


class Contrasted(nn.Module):
    """A generator's step whose images have the contrasts of a code put into them.

    Args:
        step: makes float images in [-1, 1].
        code: (K,) in [0, 1], how strong each block's contrast is.
    """

    def __init__(self, step: nn.Module, code: Tensor) -> None:
        super().__init__()
        self.step = step
        self.code = nn.Parameter(code.clone())

    def forward(self, latents: Tensor) -> Tensor:
        """(N, 3, H, W) marked float images."""
        images: Tensor = self.step(latents)
        pattern = self.code @ _patterns(len(self.code), images.shape[-1]).to(images)
        return images * 0.5 + 0.25 * pattern.reshape(1, 1, *images.shape[-2:])


class Marked(nn.Module):
    """Makes the lower half of images lighter than the upper one, whatever the code."""

    def __init__(self, amplitude: Tensor) -> None:
        super().__init__()
        self.amplitude = nn.Parameter(amplitude.clone())

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """(N, 3, H, W) marked."""
        del codes
        pattern = _patterns(1, images.shape[-1]).to(images).reshape(1, 1, *images.shape[-2:])
        return images * 0.5 + self.amplitude * pattern


def smooth(seeds: Sequence[int], size: int) -> np.ndarray:
    """(N, size, size, 3) uint8: 4×4 random colours each, enlarged; row i of seed i alone."""
    rows = [
        torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed))  # of its own
        for seed in seeds
    ]
    large = nn.functional.interpolate(torch.stack(rows), size, mode="bilinear")
    made: np.ndarray = (large * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return made


def one_hot(number: Tensor, count: int) -> Tensor:
    """(count,) floats, 1 at the number (1,) and 0 elsewhere."""
    return nn.functional.one_hot(number, count)[0].float()


def block_contrast(images: Tensor, bits: int) -> Tensor:
    """(N, bits) contrast of each block."""
    grey = to_float(images).mean(dim=1).flatten(1)
    return grey @ _patterns(bits, images.shape[-1]).to(grey).T


def coins(images: Tensor, bits: int) -> Tensor:
    """(N, bits) of ±1 that depend on the pixels and nothing else, like coin tosses."""
    flat = images.flatten(1).double()
    step = torch.arange(1, flat.shape[1] + 1, device=flat.device, dtype=torch.double)
    rows = torch.arange(1, bits + 1, device=flat.device, dtype=torch.double)
    mixed = torch.sin(flat @ torch.sin(rows[:, None] * step).T * 1e3)
    return torch.where(mixed > 0, 1.0, -1.0).float()


def fit_linear(
    images: SampleStream, ctx: Context, steps: int, step_s: float, checkpoint_steps: int
) -> State:
    """Regress images on random latents; the result matters less than that it is trained."""
    with ctx.seeded("init"):
        model = LinearImages(images.info.size).to(ctx.device)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    with TrainingRun(
        ctx,
        "tiny",
        steps=steps,
        modules={"model": model},
        optimisers={"model": adam},
        checkpoint_steps=checkpoint_steps,
    ) as run:
        for _ in run:
            latents = torch.randn(4, LATENT, generator=run.rng("latents")).to(ctx.device)
            target = to_float(images.read(torch.arange(4).numpy()))
            loss = (model(latents) - target).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            run.log(loss=loss.detach())
            time.sleep(step_s)
    return {k: v.detach() for k, v in model.state_dict().items()}


def generator(state: State, device: torch.device) -> Generator:
    """The host of a state."""
    model = LinearImages(int(state["size"])).to(device)
    model.load_state_dict(state)
    return ChainGenerator({"generator": model}, LATENT, device)


def unpacked(weights: State, device: torch.device) -> Generator:
    """The host of a file's weights."""

    def blank() -> LinearImages:
        return LinearImages(int(weights.get("size", torch.zeros(1))))

    model = opened("host tiny-host: unpack", blank, weights).to(device)
    return ChainGenerator({"generator": model}, LATENT, device)


def untrained(state: State, ctx: Context) -> Generator:
    """A host of the same size with fresh weights."""
    with ctx.seeded("untrained"):
        model = LinearImages(int(state["size"])).to(ctx.device)
    return ChainGenerator({"generator": model}, LATENT, ctx.device)


def encode(state: State, images: Tensor) -> Tensor:
    """(N, 8) latents by pseudo-inverse."""
    small = nn.functional.interpolate(to_float(images), 4, mode="area").flatten(1)
    target = torch.atanh(small.clamp(-0.99, 0.99)) - state["map.bias"]
    latents: Tensor = target @ torch.linalg.pinv(state["map.weight"]).T
    return latents


def finetune(
    state: State, copy: Generator, images: Tensor, learning_rate: float, marks: Sequence[int]
) -> Iterator[tuple[int, Generator]]:
    """Gradient steps on a copy, from its output step on."""
    check_first("host tiny-host: finetune", copy)
    model = Tail(copy).requires_grad_(True)
    latents, target = encode(state, images), to_float(images)
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for step in range(1, max(marks) + 1):
        adam.zero_grad()
        (model(latents) - target).square().mean().backward()
        adam.step()
        if step in marks:
            yield step, model.within(copy)


def _patterns(bits: int, size: int) -> Tensor:
    """(bits, size²): +1 and -1 on the two halves of each bit's block, 0 elsewhere."""
    pixels = torch.arange(size * size)
    block = pixels * bits // (size * size)
    half = (pixels * 2 * bits // (size * size)) % 2 * 2 - 1
    return torch.stack([(block == k) * half for k in range(bits)]).float()
