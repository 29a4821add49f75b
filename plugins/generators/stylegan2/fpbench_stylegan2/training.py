"""How the host is trained, and how anyone may go on training it.

Two ways that share their steps. *From noise*: the logistic loss with R1, path lengths and style
mixing (Karras et al., CVPR 2020). *Paired*: first a regression from whitened principal components
of an image to that image; the components are near N(0, 1), so the generator can then be fed fresh
normal latents, and an adversarial phase on such latents sharpens what the regression never saw.
That is no GAN that learned from noise, and the record of a run and the card say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, ContractError, SampleStream, State
from fpbench.api.images import to_float, to_uint8
from fpbench.nn.discriminator import Discriminator
from fpbench.nn.ema import Average
from fpbench.nn.losses import (
    discriminator_loss,
    diversity,
    l1g,
    nonsaturating_loss,
)
from fpbench.nn.pca import components_of, project
from fpbench.nn.schedule import adam, descend, lazy_adam, set_rates, warm_cosine
from fpbench.nn.state import counted, opened, part, placed, prefixed
from fpbench.nn.stylegan2 import ResidualTrunk, stage_widths
from fpbench.training import TrainingRun
from fpbench.training.gan import (
    PATH_EVERY,
    PENALTY_EVERY,
    fit_pairs,
    penalise_paths,
    some_of,
    teach_discriminator,
)
from fpbench_stylegan2.networks import CompactGenerator, StyleGAN2Generator

if TYPE_CHECKING:
    from fpbench_stylegan2.params import StyleGAN2Params

__all__ = ["build", "build_discriminator", "encode", "finetune", "fit", "restore", "unpack"]

_SHOWN = 8

Host = CompactGenerator | StyleGAN2Generator


def build(params: StyleGAN2Params, image_size: int) -> Host:
    """The untrained generator of a parameter set."""
    if params.architecture == "compact":
        return CompactGenerator(
            image_size=image_size,
            latent_dim=params.latent_dim,
            channels=params.channels,
            embedding_dim=params.embedding_dim,
        )
    return StyleGAN2Generator(
        image_size=image_size,
        latent_dim=params.latent_dim,
        widths=stage_widths(image_size, base=params.channel_base, most=params.channels),
        embedding_dim=params.embedding_dim,
        mapping_layers=params.mapping_layers,
        # The radius of a paired latent says something of its image.
        normalise=not params.pair_steps,
    )


def build_discriminator(params: StyleGAN2Params, image_size: int) -> nn.Module:
    """The untrained discriminator: images in [-1, 1] to one logit each."""
    if params.architecture == "compact":
        return Discriminator(image_size=image_size)
    widths = stage_widths(image_size, base=params.channel_base, most=params.channels)
    return ResidualTrunk(image_size=image_size, widths=widths, outputs=1, group=4)


def restore(state: State, params: StyleGAN2Params, device: torch.device) -> Host:
    """The trained network of a state, ready to sample."""
    network = build(params, int(state["image_size"]))
    network.load_state_dict(part(state, "generator"))
    return placed(network, device).eval().requires_grad_(False)


def unpack(weights: State, params: StyleGAN2Params, device: torch.device) -> Host:
    """A network with these weights, its own, ready to sample.

    Raises:
        ContractError: they are of another network.
    """
    # Every side doubles that of the stage before; the compact network shuffles the last to twice.
    last = 2 if params.architecture == "compact" else 1
    image_size = 2 ** (counted(weights, "synthesis.rgbs") + last)
    network = opened("host stylegan2: unpack", lambda: build(params, image_size), weights)
    return placed(network, device)


def fit(images: SampleStream, params: StyleGAN2Params, ctx: Context) -> State:
    """The trained generator, as one state.

    Keys: ``generator.*`` (averaged weights), ``image_size``; of a paired training also ``pca.mean``
    and ``pca.basis``, of one from noise ``discriminator.*``, with which anyone may go on.
    """
    with ctx.seeded("init"):
        generator = placed(build(params, images.info.size), ctx.device)
        discriminator = placed(build_discriminator(params, images.info.size), ctx.device)
    average = Average(generator)
    state: State = {"image_size": torch.tensor(images.info.size)}
    encode: Callable[[Tensor], Tensor] | None = None
    if params.pair_steps:
        mean, basis = components_of(images, params.latent_dim)
        state |= {"pca.mean": mean, "pca.basis": basis}

        def encode(some: Tensor) -> Tensor:
            return project(some, mean, basis)

        fit_pairs(
            generator,
            lambda latents, noise: generator.images(generator.styles(latents), noise),
            average,
            images,
            encode,
            ctx,
            steps=params.pair_steps,
            batch=params.batch,
            learning_rate=params.learning_rate,
        )

    def whole() -> State:
        judge = {"discriminator": discriminator} if encode is None else {}
        return state | prefixed({"generator": average.module, **judge})

    _fit_adversarial(generator, discriminator, average, images, encode, whole, params, ctx)
    return whole()


def _fit_adversarial(
    generator: Host,
    discriminator: nn.Module,
    average: Average[Host],
    images: SampleStream,
    encode: Callable[[Tensor], Tensor] | None,
    whole: Callable[[], State],
    params: StyleGAN2Params,
    ctx: Context,
) -> None:
    optimiser, judge = _optimisers(generator, discriminator, params)
    batch = params.batch
    # One half keeps what the regression learned, the other meets fresh latents.
    paired = 0 if encode is None else batch // 2
    shown = torch.randn(_SHOWN, params.latent_dim, generator=ctx.rng("shown")).to(ctx.device)
    with TrainingRun(
        ctx,
        "adversarial",
        steps=params.adversarial_steps,
        modules={"generator": generator, "discriminator": discriminator},
        optimisers={"generator": optimiser, "discriminator": judge},
        averages={"generator": average},
        batch=batch,
    ) as run:
        for step in run:
            if params.pair_steps:  # new moments on weights that work already
                warmth = warm_cosine(step, params.adversarial_steps, low=1.0, warmup=100)
                set_rates(optimiser, warmth)
            real = some_of(images, batch, run.rng("images"))
            rng = run.rng("latents")
            latents = torch.randn(batch - paired, params.latent_dim, generator=rng).to(ctx.device)
            if encode is not None:
                latents = torch.cat([encode(real[:paired]), latents])
            styles = _Mixed(generator, latents, params.style_mixing, rng)

            made = []
            discriminator.requires_grad_(False)
            for piece in run.pieces(batch):
                noise = run.draws("noise", piece, batch, on_device=True)
                with run.autocast():
                    fakes = generator.images(styles(piece), noise)
                    made.append(fakes.detach())
                    adversarial = nonsaturating_loss(discriminator(fakes))
                    loss = params.adversarial_weight * adversarial
                    mine = slice(piece.start, max(piece.start, min(piece.stop, paired)))
                    if own := mine.stop - mine.start:
                        share = own / paired * batch / len(fakes)
                        pairs = l1g(fakes[:own], to_float(real[mine]))
                        loss = share * pairs + loss
                        run.log(pairs=pairs.detach())
                run.backward(loss, piece, batch)
                run.log(adversarial=adversarial.detach())
            run.update(optimiser)

            if params.path_weight and step % PATH_EVERY == 0:
                shape = (batch // 2, params.latent_dim)
                fresh = torch.randn(shape, generator=run.rng("paths")).to(ctx.device)
                _regularise(run, generator, fresh, params.path_weight)
                run.update(optimiser)

            teach_discriminator(
                run,
                discriminator,
                judge,
                real,
                made,
                step=step,
                penalty_weight=params.penalty_weight,
            )
            average.update(params.average_decay)
            run.snapshot(whole)
            spread = run.mean([diversity(fakes, to_float(real)) for fakes in made], batch)
            run.expect("the diversity of samples over that of images", spread, 0.1, after=0.25)
            run.sheet(lambda: to_uint8(average.module(shown)))
            run.log(diversity=spread)


class _Mixed:
    """Embeddings of parts of a batch, some with those of a second latent from some layer on.

    Args:
        generator: whose embeddings.
        latents: ``(N, Z)``.
        share: of images that are mixed (Karras et al., CVPR 2019, sec. 3.1); 0 for none.
        rng: on the CPU.
    """

    def __init__(
        self, generator: Host, latents: Tensor, share: float, rng: torch.Generator
    ) -> None:
        self._generator = generator
        self._latents = latents
        self._others: Tensor | None = None
        if share and isinstance(generator, StyleGAN2Generator):
            count, layers = len(latents), generator.synthesis.layers
            self._others = torch.randn(latents.shape, generator=rng).to(latents.device)
            cuts = torch.randint(1, layers, (count,), generator=rng)
            mixed = torch.rand(count, generator=rng) < share
            cuts = torch.where(mixed, cuts, layers).to(latents.device)
            self._from = torch.arange(layers, device=latents.device)[None] >= cuts[:, None]

    def __call__(self, piece: slice) -> Tensor:
        w = self._generator.styles(self._latents[piece])
        if self._others is None:
            return w
        other = self._generator.styles(self._others[piece])
        return torch.where(self._from[piece][..., None], other, w)


def _regularise(run: TrainingRun, generator: Host, latents: Tensor, weight: float) -> None:
    penalise_paths(
        run,
        lambda piece: generator.styles(latents[piece]),
        lambda piece, w: generator.images(
            w, run.draws("path noise", piece, len(latents), on_device=True)
        ),
        len(latents),
        weight,
    )


def _optimisers(
    generator: nn.Module, discriminator: nn.Module, params: StyleGAN2Params
) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    generators = [(generator.parameters(), params.adversarial_learning_rate)]
    judges = [(discriminator.parameters(), params.discriminator_learning_rate)]
    if params.architecture == "compact":
        return adam(generators, betas=(0.0, 0.99)), adam(judges, betas=(0.5, 0.99))
    if params.path_weight:
        first = lazy_adam(generators, betas=(0.0, 0.99), every=PATH_EVERY)
    else:
        first = adam(generators, betas=(0.0, 0.99))
    return first, lazy_adam(judges, betas=(0.0, 0.99), every=PENALTY_EVERY)


def encode(state: State, images: Tensor) -> Tensor:
    """Latents ``(N, Z)`` of uint8 images ``(N, 3, H, W)``: their whitened principal components.

    Raises:
        ContractError: the host learned from noise and has no latent for an image.
    """
    if "pca.mean" not in state:
        raise ContractError(
            "host stylegan2: expected a host with pair_steps > 0 to find latents of images, got "
            "one that learned from noise; set pair_steps of the host, or of the method to 0"
        )
    return project(
        images, state["pca.mean"].to(images.device), state["pca.basis"].to(images.device)
    )


def finetune(
    tuned: nn.Module,
    state: State,
    images: Tensor,
    params: StyleGAN2Params,
    learning_rate: float,
    marks: Sequence[int],
    ctx: Context,
    *,
    batch: int = 32,
) -> Iterator[int]:
    """Go on with the host's public objective on clean images.

    Of a paired host: ``l1g`` between what is drawn for the code of an image and that image,
    without an adversary. Of one from noise: the logistic loss against the public discriminator,
    which goes on learning too.

    Args:
        tuned: Any module from latents ``(N, Z)`` to float images; it learns in place.
        state: The public host's.
        images: ``(M, 3, H, W)`` uint8.
        params: The public host's.
        learning_rate: Adam's, constant.
        marks: Rising step counts.
        ctx: Seeds and device.
        batch: Images per step.

    Yields:
        Each mark, when that many steps are done.
    """
    tuned.train().requires_grad_(True)
    objective = _paired if "pca.mean" in state else _adversarial
    advance = objective(tuned, state, images, params, learning_rate)
    for index in range(max(marks, default=0)):
        rng = ctx.rng("finetune", index)
        chosen = torch.randint(len(images), (batch,), generator=rng).to(images.device)
        # Noise inputs, where there are any, are drawn by the modules.
        with ctx.seeded("finetune", index):
            advance(chosen, rng)
        if index + 1 in marks:
            yield index + 1


Advance = Callable[[Tensor, torch.Generator], None]
"""One step on the images of these indices."""


def _paired(
    tuned: nn.Module, state: State, images: Tensor, params: StyleGAN2Params, learning_rate: float
) -> Advance:
    del params
    optimiser = adam([(tuned.parameters(), learning_rate)], betas=(0.9, 0.99))
    latents = encode(state, images)

    def advance(chosen: Tensor, rng: torch.Generator) -> None:
        del rng
        descend(l1g(tuned(latents[chosen]), to_float(images[chosen])), optimiser)

    return advance


def _adversarial(
    tuned: nn.Module, state: State, images: Tensor, params: StyleGAN2Params, learning_rate: float
) -> Advance:
    discriminator = placed(build_discriminator(params, images.shape[-1]), images.device)
    discriminator.load_state_dict(part(state, "discriminator"))
    optimiser = adam([(tuned.parameters(), learning_rate)], betas=(0.0, 0.99))
    judge = adam([(discriminator.parameters(), learning_rate)], betas=(0.0, 0.99))

    def advance(chosen: Tensor, rng: torch.Generator) -> None:
        latents = torch.randn(len(chosen), params.latent_dim, generator=rng).to(images.device)
        fakes = tuned(latents)
        descend(nonsaturating_loss(discriminator(fakes)), optimiser)
        real = discriminator(to_float(images[chosen]))
        descend(discriminator_loss(real, discriminator(fakes.detach())), judge)

    return advance
