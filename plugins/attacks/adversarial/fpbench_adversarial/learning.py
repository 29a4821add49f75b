"""Networks that adversaries train: detectors of marked images, readers of codes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, leaky_relu
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from fpbench.api import Context, State, Surface
from fpbench.api.images import to_float
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import filled, placed
from fpbench.training import TrainingRun
from fpbench_adversarial.params import EmbedderLeakParams, PushParams

__all__ = ["Detector", "fit_detector", "fit_reader", "opened"]

_BATCH = 32
_RATE = 2e-3
_GRID = 4
_GROUPS = 8
_KERNELS = ((5, 2), (3, 2), (3, 2), (3, 1))  # side and stride

Batch = Callable[[torch.Generator], tuple[Tensor, Tensor]]
"""Draws images (N, 3, H, W) uint8 and what is to be read in them, (N, outputs) bool."""


class Detector(nn.Module):
    """Four convolutions, the first three of which halve the side, and one linear layer.

    It sees where in an image something is, on a grid of 4 by 4, and each image alone.

    Args:
        outputs: numbers read per image.
        channels: of the first convolution; later ones have twice and three times as many.
    """

    def __init__(self, outputs: int, channels: int) -> None:
        super().__init__()
        widths = [3, *(_GROUPS * -(-channels * k // _GROUPS) for k in (1, 2, 3, 3))]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, side, stride, padding=side // 2, bias=False)
            for (a, b), (side, stride) in zip(itertools.pairwise(widths), _KERNELS, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(_GROUPS, width) for width in widths[1:])
        self.out = nn.Linear(_GRID**2 * widths[-1], outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Readings (N, outputs) of images (N, 3, H, W) in [-1, 1]."""
        x = images
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = leaky_relu(norm(conv(x)), 0.2)
        readings: Tensor = self.out(adaptive_avg_pool2d(x, _GRID).flatten(1))
        return readings


def fit_detector(marked: Tensor, clean: Tensor, p: PushParams, ctx: Context) -> State:
    """A detector, above 0 where it takes an image for marked.

    Args:
        marked: (M, 3, H, W) uint8.
        clean: (M', 3, H, W) uint8.
        p: how it is trained.
        ctx: seeds and device.
    """
    half = _BATCH // 2
    wanted = torch.arange(_BATCH, device=ctx.device)[:, None] < half

    def batch(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        parts = [images[_chosen(len(images), half, rng, images)] for images in (marked, clean)]
        return torch.cat(parts), wanted

    return _fitted(batch, 1, p, ctx)


def fit_reader(surface: Surface, p: EmbedderLeakParams, ctx: Context) -> State:
    """A reader of codes, above 0 where it reads a 1, of an embedder and clean images."""
    clean, rng = surface.clean_images, ctx.rng("codes")
    count = min(p.codes, p.marked)
    codes = torch.randint(0, 2, (count, surface.bits), generator=rng).bool().to(ctx.device)
    owners = torch.arange(p.marked) * count // p.marked  # of each image, the codes in order
    images = []
    for number, code in enumerate(codes):
        own = (owners == number).nonzero()[:, 0].to(clean.device)
        images.append(surface.embed(clean[own % len(clean)], code))
    marked, wanted = torch.cat(images), codes[owners.to(ctx.device)]

    def batch(rng: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = _chosen(len(marked), _BATCH, rng, marked)
        return marked[chosen], wanted[chosen]

    return _fitted(batch, surface.bits, p, ctx)


def opened(state: State, outputs: int, channels: int, ctx: Context) -> nn.Module:
    """The network of a state that was fitted here."""
    return placed(filled(lambda: Detector(outputs, channels), state), ctx.device)


def _chosen(among: int, count: int, rng: torch.Generator, images: Tensor) -> Tensor:
    return torch.randint(among, (count,), generator=rng).to(images.device)


def _fitted(batch: Batch, outputs: int, p: PushParams, ctx: Context) -> State:
    with ctx.seeded("detector"):
        network = placed(Detector(outputs, p.channels), ctx.device)
    optimiser = adam([(network.parameters(), _RATE)], betas=(0.9, 0.99))
    modules, optimisers = {"network": network}, {"network": optimiser}
    with TrainingRun(ctx, "detector", steps=p.steps, modules=modules, optimisers=optimisers) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, p.steps, low=0.02))
            images, wanted = batch(run.rng("batch"))
            for piece in run.pieces(_BATCH):
                loss = cross_entropy(network(to_float(images[piece])), wanted[piece].float())
                run.backward(loss, piece, _BATCH)
                run.log(loss=loss.detach())
            run.update(optimiser)
    return {name: tensor.detach() for name, tensor in network.state_dict().items()}
