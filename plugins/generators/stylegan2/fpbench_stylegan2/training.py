"""How the host is trained, and how anyone may go on training it.

This is not a GAN that learned from noise. Most of the training is a regression from whitened
principal components of an image to that image; the components are near N(0, 1), so the generator
can then be fed fresh normal latents, and a short adversarial phase on such latents sharpens what
the regression never saw. The record of a run and the card say so.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fpbench.api import Context, ImageStream, State
from fpbench.nn.discriminator import Discriminator
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.images import to_float
from fpbench.nn.losses import discriminator_loss, gradient_penalty, l1g, nonsaturating_loss
from fpbench.nn.pca import fit_pca, project
from fpbench.nn.schedule import adam, descend, set_rates, warm_cosine
from fpbench.nn.state import part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_stylegan2.networks import HostGenerator

if TYPE_CHECKING:
    from fpbench_stylegan2.plugin import StyleGAN2Params

__all__ = ["build", "encode", "finetune", "fit", "restore"]

_GRADIENT_PENALTY_EVERY = 16
_PCA_IMAGES = 10_000


def build(params: StyleGAN2Params, image_size: int) -> HostGenerator:
    """The untrained network of a parameter set."""
    return HostGenerator(
        image_size=image_size,
        latent_dim=params.latent_dim,
        channels=params.channels,
        embedding_dim=params.embedding_dim,
    )


def restore(state: State, params: StyleGAN2Params, device: torch.device) -> HostGenerator:
    """The trained network of a state, ready to sample."""
    network = build(params, int(state["image_size"]))
    network.load_state_dict(part(state, "generator"))
    return placed(network, device).eval().requires_grad_(False)


def fit(images: ImageStream, params: StyleGAN2Params, ctx: Context) -> State:
    """The trained generator and the basis of its latents, as one state.

    Keys: ``generator.*`` (averaged weights), ``pca.mean``, ``pca.basis``, ``image_size``. The
    discriminator is not kept: no method builds on it.
    """
    count = len(images)
    head = torch.cat([images.read(part) for part in _parts(min(count, _PCA_IMAGES))])
    mean, basis = fit_pca(head, params.latent_dim)
    with ctx.seeded("init"):
        generator = build(params, images.size)
        discriminator = Discriminator(image_size=images.size)
    generator = placed(generator, ctx.device)
    discriminator = placed(discriminator, ctx.device)

    average = Average(generator)
    optimiser = adam([(generator.parameters(), params.learning_rate)], betas=(0.9, 0.99))
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
            real = images.read(_draw(count, params.batch, run.rng("images")))
            loss = l1g(generator(project(real, mean, basis)), to_float(real))
            descend(loss, optimiser)
            average.update(warmed_decay(0.99, step))
            run.log(pairs=loss.detach())

    generator_optimiser = adam(
        [(generator.parameters(), params.adversarial_learning_rate)], betas=(0.0, 0.99)
    )
    discriminator_optimiser = adam([(discriminator.parameters(), 1e-3)], betas=(0.5, 0.99))
    half = params.batch // 2
    with TrainingRun(
        ctx,
        "adversarial",
        steps=params.adversarial_steps,
        modules={"generator": generator, "discriminator": discriminator},
        optimisers={"generator": generator_optimiser, "discriminator": discriminator_optimiser},
        averages={"generator": average},
    ) as run:
        for step in run:
            set_rates(
                generator_optimiser,
                warm_cosine(step, params.adversarial_steps, low=1.0, warmup=100),
            )
            rng = run.rng("images")
            real = images.read(_draw(count, params.batch, rng))
            latents = torch.randn(half, params.latent_dim, generator=run.rng("latents")).to(
                ctx.device
            )
            # One half keeps what the regression learned, the other meets fresh latents.
            latents = torch.cat([project(real[:half], mean, basis), latents])
            fakes = generator(latents)

            discriminator.requires_grad_(False)
            pairs = l1g(fakes[:half], to_float(real[:half]))
            adversarial = nonsaturating_loss(discriminator(fakes))
            descend(pairs + params.adversarial_weight * adversarial, generator_optimiser)

            discriminator.requires_grad_(True)
            judged = discriminator_loss(
                discriminator(to_float(real)), discriminator(fakes.detach())
            )
            loss = judged
            if step % _GRADIENT_PENALTY_EVERY == 0:
                penalty = gradient_penalty(discriminator, to_float(real[:half]))
                loss = judged + params.penalty_weight * _GRADIENT_PENALTY_EVERY * penalty
            descend(loss, discriminator_optimiser)

            average.update(0.98)
            run.log(
                pairs=pairs.detach(),
                adversarial=adversarial.detach(),
                discriminator=judged.detach(),
            )

    state = prefixed({"generator": average.module})
    state |= {"pca.mean": mean, "pca.basis": basis, "image_size": torch.tensor(images.size)}
    return state


def encode(state: State, images: Tensor) -> Tensor:
    """Latents ``(N, Z)`` of uint8 images ``(N, 3, H, W)``: their whitened principal components."""
    return project(
        images, state["pca.mean"].to(images.device), state["pca.basis"].to(images.device)
    )


def finetune(
    step: nn.Module,
    state: State,
    images: Tensor,
    learning_rate: float,
    marks: Sequence[int],
    ctx: Context,
    *,
    batch: int = 32,
) -> Iterator[tuple[int, nn.Module]]:
    """Go on with the paired objective, without an adversary, on clean images.

    The loss is the one most of the host's training used: ``l1g`` between the step's output for the
    code of an image and that image. It needs no discriminator, which a leaked copy does not
    contain.

    Args:
        step: Any module from latents ``(N, Z)`` to float images; it is copied, not changed.
        state: The public host's, for the basis of the latents.
        images: ``(M, 3, H, W)`` uint8.
        learning_rate: Adam's, constant.
        marks: Rising step counts.
        ctx: Seeds and device.
        batch: Images per step.

    Yields:
        ``(mark, a copy of the module after that many steps)``.
    """
    tuned = copy.deepcopy(step).train().requires_grad_(True)
    optimiser = adam([(tuned.parameters(), learning_rate)], betas=(0.9, 0.99))
    latents = encode(state, images)
    for index in range(max(marks, default=0)):
        chosen = torch.from_numpy(_draw(len(images), batch, ctx.rng("finetune", index))).to(
            images.device
        )
        loss = l1g(tuned(latents[chosen]), to_float(images[chosen]))
        descend(loss, optimiser)
        if index + 1 in marks:
            yield index + 1, copy.deepcopy(tuned).eval().requires_grad_(False)


def _parts(count: int) -> list[np.ndarray]:
    return np.array_split(np.arange(count), -(-count // 1024))


def _draw(count: int, size: int, rng: torch.Generator) -> np.ndarray:
    return torch.randint(count, (size,), generator=rng).numpy()
