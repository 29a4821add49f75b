"""What host and methods share of a GAN's training: paired start, discriminator, R1, path lengths.

Karras et al., CVPR 2020, sec. 3.2 and app. B: both regularisers are *lazy*, a step of their own
every so many steps, weighted by how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fpbench.api import Context, SampleStream
from fpbench.api.images import to_float
from fpbench.nn.draws import Draws
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.losses import discriminator_loss, gradient_penalty, l1g
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.stylegan2 import path_lengths
from fpbench.training.run import TrainingRun

__all__ = [
    "PATH_EVERY",
    "PENALTY_EVERY",
    "fit_pairs",
    "penalise_paths",
    "some_of",
    "teach_discriminator",
]

M = TypeVar("M", bound=nn.Module)

PENALTY_EVERY = 16
PATH_EVERY = 4
_PATH_DECAY = 0.01


def some_of(images: SampleStream, count: int, rng: torch.Generator) -> Tensor:
    """(count, 3, H, W) uint8 images of a stream, drawn with replacement."""
    return images.read(torch.randint(len(images), (count,), generator=rng).numpy())


def fit_pairs(
    generator: M,
    draw: Callable[[Tensor, Draws], Tensor],
    average: Average[M],
    images: SampleStream,
    encode: Callable[[Tensor], Tensor],
    ctx: Context,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
) -> None:
    """A paired start: regress from what an image encodes to, to the image.

    Args:
        generator: what learns.
        draw: latents (N, D) and noise inputs -> images in [-1, 1], by the generator.
        average: of the generator; it follows.
        images: to learn.
        encode: (N, 3, H, W) uint8 -> latents.
        ctx: of the training.
        steps: of the phase "pairs".
        batch: images of a step.
        learning_rate: at its highest.
    """
    optimiser = adam([(generator.parameters(), learning_rate)], betas=(0.9, 0.99))
    with TrainingRun(
        ctx,
        "pairs",
        steps=steps,
        modules={"generator": generator},
        optimisers={"generator": optimiser},
        averages={"generator": average},
        batch=batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, steps, low=0.15))
            real = some_of(images, batch, run.rng("images"))
            latents = encode(real)
            for piece in run.pieces(batch):
                noise = run.draws("noise", piece, batch, on_device=True)
                with run.autocast():
                    loss = l1g(draw(latents[piece], noise), to_float(real[piece]))
                run.backward(loss, piece, batch)
                run.log(pairs=loss.detach())
            run.update(optimiser)
            average.update(warmed_decay(0.99, step))


def teach_discriminator(
    run: TrainingRun,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    made: Sequence[Tensor],
    *,
    step: int,
    penalty_weight: float,
) -> None:
    """One step of the logistic loss, and in one step of 16 another one of R1.

    Args:
        run: the training.
        discriminator: images in [-1, 1] to logits.
        optimiser: its own.
        real: (N, 3, H, W) uint8.
        made: as many drawn images, without gradient, piece by piece.
        step: of the training.
        penalty_weight: gamma of R1, whose loss is gamma / 2 times the mean squared gradient.
    """
    discriminator.requires_grad_(True)
    for piece, fakes in zip(run.pieces(len(real)), made, strict=True):
        with run.autocast():
            judged = discriminator_loss(discriminator(to_float(real[piece])), discriminator(fakes))
        run.backward(judged, piece, len(real))
        run.log(discriminator=judged.detach())
    run.update(optimiser)
    if penalty_weight and step % PENALTY_EVERY == 0:
        for piece in run.pieces(len(real)):
            with run.autocast(exact=True):
                penalty = gradient_penalty(discriminator, to_float(real[piece]))
            run.backward(penalty_weight * PENALTY_EVERY * penalty, piece, len(real))
        run.update(optimiser)


def penalise_paths(
    run: TrainingRun,
    embed: Callable[[slice], Tensor],
    draw: Callable[[slice, Tensor], Tensor],
    count: int,
    weight: float,
) -> None:
    """Add the gradient of path-length regularisation (Karras et al. 2020, eq. 4).

    Args:
        run: the training, at one of the steps that regularise.
        embed: a piece -> its embeddings (N, L, D), along which lengths are taken.
        draw: a piece and its embeddings -> images.
        count: images.
        weight: of the penalty.
    """
    mean, seen = run.memory.get("path_length", 0.0), []
    for piece in run.pieces(count):
        with run.autocast(exact=True):
            w = embed(piece)
            images = draw(piece, w)
            directions = run.draws("path directions", piece, count, on_device=True)
            lengths = path_lengths(images, w, directions.normal(images.shape[1:]))
            # The running mean already knows this step, as the authors' does.
            running = mean + _PATH_DECAY * (lengths.mean() - mean)
            loss = weight * PATH_EVERY * (lengths - running).square().mean()
        seen.append(running)
        run.backward(loss, piece, count)
    run.memory["path_length"] = run.mean(seen, count)
