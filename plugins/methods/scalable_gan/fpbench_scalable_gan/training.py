"""How the generator learns to make images and, in the same weights, to carry a code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fpbench.api import Context, ImageStream, State
from fpbench.nn.discriminator import Discriminator
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.images import to_float
from fpbench.nn.losses import (
    code_loss,
    discriminator_loss,
    gradient_penalty,
    l1g,
    nonsaturating_loss,
)
from fpbench.nn.reader import Reader
from fpbench.nn.schedule import adam, descend, set_rates, warm_cosine
from fpbench.nn.state import part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_scalable_gan.networks import FingerprintGenerator

if TYPE_CHECKING:
    from fpbench_scalable_gan.plugin import ScalableGANParams

__all__ = ["build", "build_reader", "consistency_loss", "extract", "fit", "restore"]

_GRADIENT_PENALTY_EVERY = 16


def build(image_size: int, latent_dim: int, params: ScalableGANParams) -> FingerprintGenerator:
    """The untrained generator."""
    return FingerprintGenerator(
        image_size=image_size,
        latent_dim=latent_dim,
        hidden_dim=params.hidden_dim,
        bits=params.bits,
        embedding_dim=params.embedding_dim,
        channels=params.channels,
        code_gain=params.code_gain,
    )


def build_reader(image_size: int, params: ScalableGANParams) -> Reader:
    """The untrained reader of codes."""
    return Reader(image_size=image_size, outputs=params.bits, channels=params.reader_channels)


def consistency_loss(images: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference between images of the same latents under other codes, a scalar.

    *Minimised*: the code must not change what is shown (Yu et al. 2022).

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        others: The same latents, codes drawn anew.
    """
    return functional.mse_loss(images, others)


def fit(
    images: ImageStream,
    encode: Callable[[Tensor], Tensor],
    latent_dim: int,
    params: ScalableGANParams,
    ctx: Context,
) -> State:
    """Trains first the images, with the code switched off, then images and code together.

    Args:
        images: The training split.
        encode: Uint8 images to latents ``(N, Z)`` near N(0, 1), to pair images with latents.
        latent_dim: Z.
        params: Settings.
        ctx: Seeds, device and codes.

    Returns:
        Averaged weights ``generator.*`` and ``reader.*``, and the sizes needed to build them again.
    """
    with ctx.seeded("init"):
        generator = build(images.size, latent_dim, params)
        discriminator = Discriminator(image_size=images.size)
        reader = build_reader(images.size, params)
        latent_reader = Reader(
            image_size=images.size, outputs=latent_dim, channels=params.reader_channels
        )
    generator = placed(generator, ctx.device)
    discriminator = placed(discriminator, ctx.device)
    reader = placed(reader, ctx.device)
    latent_reader = placed(latent_reader, ctx.device)
    average = Average(generator)

    optimiser = adam([(generator.parameters(), params.pair_learning_rate)], betas=(0.9, 0.99))
    with TrainingRun(
        ctx,
        "pairs",
        steps=params.pair_steps,
        modules={"generator": generator},
        optimisers={"generator": optimiser},
        averages={"generator": average},
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.pair_steps, low=0.15))
            real = images.read(_draw(len(images), params.batch, run.rng("images")))
            loss = l1g(generator.without_code(encode(real)), to_float(real))
            descend(loss, optimiser)
            average.update(warmed_decay(0.99, step))
            run.log(pairs=loss.detach())

    readers = [*reader.parameters(), *latent_reader.parameters()]
    optimiser = adam(
        [
            (generator.image_parameters(), params.image_learning_rate),
            ([*generator.code_parameters(), *readers], params.code_learning_rate),
        ],
        betas=(0.5, 0.99),
    )
    discriminator_optimiser = adam(
        [(discriminator.parameters(), params.discriminator_learning_rate)], betas=(0.0, 0.99)
    )
    reader_average = Average(reader)
    # Every latent appears twice, under two codes. Three latents of four belong to real images:
    # they hold the generator to what it has learnt while the code finds its place.
    count = params.batch // 2
    paired = 3 * count // 4
    with TrainingRun(
        ctx,
        "joint",
        steps=params.joint_steps,
        modules={
            "generator": generator,
            "discriminator": discriminator,
            "reader": reader,
            "latent_reader": latent_reader,
        },
        optimisers={"generator": optimiser, "discriminator": discriminator_optimiser},
        averages={"generator": average, "reader": reader_average},
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.joint_steps, low=0.1))
            real = images.read(_draw(len(images), count, run.rng("images")))
            fresh = torch.randn(count - paired, latent_dim, generator=run.rng("latents"))
            latents = torch.cat([encode(real[:paired]), fresh.to(ctx.device)])
            codes = ctx.training_codes(2 * count, run.rng("codes"))
            fakes = generator(latents.repeat(2, 1), codes)
            first, second = fakes.chunk(2)

            discriminator.requires_grad_(False)
            seen = fakes.clamp(-1, 1)
            logits = reader(seen)
            reading = code_loss(logits, codes)
            latent = functional.mse_loss(latent_reader(seen), latents.repeat(2, 1))
            consistency = consistency_loss(first, second)
            adversarial = nonsaturating_loss(discriminator(first))
            target = to_float(real[:paired])
            pairs = (l1g(first[:paired], target) + l1g(second[:paired], target)) / 2
            # First the code must be readable at all; then likeness is asked for, ever more firmly.
            accuracy = float(((logits > 0) == codes).float().mean())
            accuracy = 0.9 * run.memory.get("accuracy", 0.5) + 0.1 * accuracy
            run.memory["accuracy"] = accuracy
            firmness = min(1.0, max(0.2, 0.2 + 0.8 * (accuracy - 0.85) / 0.13))
            loss = (
                reading
                + params.latent_weight * latent
                + params.adversarial_weight * adversarial
                + firmness * params.consistency_weight * consistency
                + firmness * params.pair_weight * pairs
            )
            descend(loss, optimiser)

            discriminator.requires_grad_(True)
            judged = discriminator_loss(
                discriminator(to_float(real)), discriminator(first.detach())
            )
            total = judged
            if step % _GRADIENT_PENALTY_EVERY == 0:
                penalty = gradient_penalty(discriminator, to_float(real))
                total = judged + params.penalty_weight * _GRADIENT_PENALTY_EVERY * penalty
            descend(total, discriminator_optimiser)

            average.update(0.98)
            reader_average.update(warmed_decay(0.98, step))
            run.log(
                reading=reading.detach(),
                consistency=consistency.detach(),
                latent=latent.detach(),
                adversarial=adversarial.detach(),
                pairs=pairs.detach(),
                discriminator=judged.detach(),
                accuracy=accuracy,
            )

    state = prefixed({"generator": average.module, "reader": reader_average.module})
    state |= {"image_size": torch.tensor(images.size), "latent_dim": torch.tensor(latent_dim)}
    return state


def restore(state: State, params: ScalableGANParams, device: torch.device) -> FingerprintGenerator:
    """The trained generator of a state."""
    network = build(int(state["image_size"]), int(state["latent_dim"]), params)
    network.load_state_dict(part(state, "generator"))
    return placed(network, device).eval().requires_grad_(False)


def extract(state: State, images: Tensor, params: ScalableGANParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself."""
    reader = build_reader(images.shape[-1], params)
    reader.load_state_dict(part(state, "reader"))
    reader = placed(reader, images.device).eval()
    with torch.no_grad():
        logits: Tensor = reader(to_float(images))
    return logits


def _draw(count: int, size: int, rng: torch.Generator) -> np.ndarray:
    return torch.randint(count, (size,), generator=rng).numpy()
