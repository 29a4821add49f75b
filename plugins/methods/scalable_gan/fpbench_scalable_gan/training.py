"""How the generator learns to make images and, in the same weights, to carry a code.

All four losses of Yu et al. (ICLR 2022): adversarial, reconstruction of the latent, reconstruction
of the code, and consistency of the images of one latent under two codes. A paired start, where it
is asked for, teaches images first, with the code switched off, as the host learned them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.api import Context, SampleStream, State
from fpbench.api.images import quantise, to_float, to_uint8
from fpbench.nn.discriminator import Discriminator
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.losses import (
    code_loss,
    diversity,
    l1g,
    nonsaturating_loss,
)
from fpbench.nn.pca import components_of, project
from fpbench.nn.schedule import adam, lazy_adam, set_rates, warm_cosine
from fpbench.nn.state import counted, filled, opened, part, placed, prefixed
from fpbench.nn.stylegan2 import ResidualTrunk, StyleSynthesis, stage_widths
from fpbench.nn.synthesis import SkipSynthesis
from fpbench.training import TrainingRun
from fpbench.training.gan import (
    PATH_EVERY,
    PENALTY_EVERY,
    fit_pairs,
    penalise_paths,
    some_of,
    teach_discriminator,
)
from fpbench_scalable_gan.immunising import perturbed
from fpbench_scalable_gan.networks import (
    CodeMapping,
    CompactEmbedding,
    CompactEntry,
    CompactReader,
    DenseEntry,
    FingerprintGenerator,
    TrunkReader,
    UserGenerator,
)

if TYPE_CHECKING:
    from fpbench_scalable_gan.params import ScalableGANParams

__all__ = [
    "build",
    "build_reader",
    "consistency_loss",
    "extract",
    "fit",
    "path_penalty",
    "restore",
    "unpack",
]

_SHOWN = 8

_RESTORED: dict[str, tuple[State, ScalableGANParams, torch.device, FingerprintGenerator]] = {}

CodeReader = CompactReader | TrunkReader


def build(image_size: int, latent_dim: int, params: ScalableGANParams) -> FingerprintGenerator:
    """The untrained generator."""
    width = params.embedding_dim
    if params.architecture == "compact":
        return FingerprintGenerator(
            CompactEntry(
                latent_dim=latent_dim, hidden_dim=params.hidden_dim, channels=params.channels
            ),
            CompactEmbedding(params.bits, width),
            SkipSynthesis(
                image_size=image_size,
                channels=params.channels,
                style_dim=width,
                style_gain=params.code_gain,
            ),
            width,
        )
    widths = _widths(image_size, params)
    return FingerprintGenerator(
        DenseEntry(latent_dim=latent_dim, channels=widths[0]),
        CodeMapping(params.bits, width, layers=params.mapping_layers),
        StyleSynthesis(image_size=image_size, widths=widths, style_dim=width),
        width,
    )


def build_reader(image_size: int, latent_dim: int, params: ScalableGANParams) -> CodeReader:
    """The untrained reader of latents and codes."""
    if params.architecture == "compact":
        return CompactReader(
            image_size=image_size,
            latent_dim=latent_dim,
            bits=params.bits,
            channels=params.reader_channels,
        )
    return TrunkReader(
        image_size=image_size,
        latent_dim=latent_dim,
        bits=params.bits,
        widths=_widths(image_size, params),
    )


def build_discriminator(image_size: int, params: ScalableGANParams) -> nn.Module:
    """The untrained discriminator: images in [-1, 1] to one logit each."""
    if params.architecture == "compact":
        return Discriminator(image_size=image_size)
    return ResidualTrunk(
        image_size=image_size, widths=_widths(image_size, params), outputs=1, group=4
    )


def consistency_loss(images: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference between images of the same latents under other codes, a scalar.

    *Minimised*: the code must not change what is shown (Yu et al. 2022).

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        others: The same latents, codes drawn anew.
    """
    return functional.mse_loss(images, others)


def fit(images: SampleStream, params: ScalableGANParams, ctx: Context) -> State:
    """Trains images and code together; with ``pair_steps`` first images, the code switched off.

    Pairs are images and their whitened principal components, as of a paired host.

    Args:
        images: The training split.
        params: Settings.
        ctx: Seeds, device and codes.

    Returns:
        Weights ``generator.*`` and ``reader.*``, and the sizes needed to build them again.
    """
    latent_dim = params.latent_dim
    encode = _encoder(images, latent_dim) if params.pair_steps else _no_pairs
    with ctx.seeded("init"):
        generator = build(images.info.size, latent_dim, params)
        discriminator = build_discriminator(images.info.size, params)
        reader = build_reader(images.info.size, latent_dim, params)
    generator = placed(generator, ctx.device)
    discriminator = placed(discriminator, ctx.device)
    reader = placed(reader, ctx.device)
    average = Average(generator)
    if params.pair_steps:
        fit_pairs(
            generator,
            generator.without_code,
            average,
            images,
            encode,
            ctx,
            steps=params.pair_steps,
            batch=params.batch,
            learning_rate=params.pair_learning_rate,
        )
    return _fit_jointly(
        generator, discriminator, reader, average, images, encode, latent_dim, params, ctx
    )


def _encoder(images: SampleStream, latent_dim: int) -> Callable[[Tensor], Tensor]:
    mean, basis = components_of(images, latent_dim)
    return lambda some: project(some, mean, basis)


def _no_pairs(images: Tensor) -> Tensor:
    raise AssertionError("pairs are asked for with pair_steps alone")


def _fit_jointly(
    generator: FingerprintGenerator,
    discriminator: nn.Module,
    reader: CodeReader,
    average: Average[FingerprintGenerator],
    images: SampleStream,
    encode: Callable[[Tensor], Tensor],
    latent_dim: int,
    params: ScalableGANParams,
    ctx: Context,
) -> State:
    """The joint training."""
    optimiser, judge = _optimisers(generator, discriminator, reader, params)
    reader_average = Average(reader)
    kept = reader_average.module if params.average_reader else reader

    def whole() -> State:
        sizes = {
            "image_size": torch.tensor(images.info.size),
            "latent_dim": torch.tensor(latent_dim),
        }
        return prefixed({"generator": average.module, "reader": kept}) | sizes

    # Every latent appears twice, under two codes. Of a paired training three latents of four belong
    # to real images: they hold the generator to what it has learnt while the code finds its place.
    count = params.batch // 2
    paired = 3 * count // 4 if params.pair_steps else 0
    shown = torch.randn(_SHOWN, latent_dim, generator=ctx.rng("shown")).to(ctx.device)
    shown_codes = ctx.training_codes(_SHOWN, ctx.rng("shown codes"))
    codes_of = _Codes(ctx, params.code_pool)
    with TrainingRun(
        ctx,
        "joint",
        steps=params.joint_steps,
        modules={"generator": generator, "discriminator": discriminator, "reader": reader},
        optimisers={"generator": optimiser, "discriminator": judge},
        averages={"generator": average, "reader": reader_average},
        batch=params.batch,
    ) as run:
        for step in run:
            _set_rates(optimiser, params, step)
            real = some_of(images, count, run.rng("images"))
            fresh = torch.randn(count - paired, latent_dim, generator=run.rng("latents"))
            latents = fresh.to(ctx.device)
            if paired:
                latents = torch.cat([encode(real[:paired]), latents])
            codes = codes_of(2 * count, run.rng("codes"))
            known = run.memory.get("accuracy", 0.5)
            firmness = _firmness(known, params.least_firmness)
            if known >= params.immunise_from or 2 * step >= params.joint_steps:
                run.memory["immune"] = 1.0
            family = params.immunise if run.memory.get("immune") else ""

            made, right = [], []
            discriminator.requires_grad_(False)
            for piece in run.pieces(count):
                places = torch.arange(2 * count).view(2, count)[:, piece].flatten()
                mine = torch.cat([codes[:count][piece], codes[count:][piece]])
                noise = run.draws("noise", places, 2 * count, on_device=True)
                with run.autocast():
                    fakes = generator(latents[piece].repeat(2, 1), mine, noise)
                    first, second = fakes.chunk(2)
                    made.append(first.detach())
                    with run.autocast(exact=True):
                        seen = quantise(fakes)  # what a file could carry
                        if family:
                            draws = run.draws("perturbation", places, 2 * count)
                            seen = perturbed(seen, family, draws)
                    latent, logits = reader(seen)
                    parts = {
                        "reading": params.code_weight * code_loss(logits, mine),
                        "latent": params.latent_weight
                        * functional.mse_loss(latent, latents[piece].repeat(2, 1)),
                        "adversarial": params.adversarial_weight
                        * nonsaturating_loss(discriminator(first)),
                        "consistency": firmness
                        * params.consistency_weight
                        * consistency_loss(first, second),
                    }
                    held = slice(piece.start, max(piece.start, min(piece.stop, paired)))
                    if own := held.stop - held.start:
                        target = to_float(real[held])
                        pairs = (l1g(first[:own], target) + l1g(second[:own], target)) / 2
                        share = own / paired * count / len(first)
                        parts["pairs"] = share * firmness * params.pair_weight * pairs
                    loss = torch.stack(list(parts.values())).sum()
                run.backward(loss, piece, count)
                right.append(((logits > 0) == mine).float().mean())
                run.log(**{name: value.detach() for name, value in parts.items()})
            run.update(optimiser)
            accuracy = 0.9 * known + 0.1 * run.mean(right, count)
            run.memory["accuracy"] = accuracy

            if params.path_weight and step % PATH_EVERY == 0:
                _regularise(run, generator, codes_of, (count // 2, latent_dim), params)
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
            reader_average.update(warmed_decay(params.average_decay, step))
            run.snapshot(whole)
            spread = run.mean([diversity(fakes, to_float(real)) for fakes in made], count)
            run.expect("the training codes' bit accuracy", accuracy, 0.6, after=0.5)
            run.expect("the diversity of samples over that of images", spread, 0.1, after=0.25)
            run.sheet(lambda: to_uint8(average.module(shown, shown_codes)))
            immunised = {"immunised": float(bool(family))} if params.immunise else {}
            run.log(accuracy=accuracy, diversity=spread, **immunised)
    return whole()


def _set_rates(optimiser: torch.optim.Adam, params: ScalableGANParams, step: int) -> None:
    # Moments begin anew on weights that work already, or with weights that do not matter yet.
    warmup = 30 if params.pair_steps else 1
    factor = warm_cosine(step, params.joint_steps, low=params.rate_floor, warmup=warmup)
    set_rates(optimiser, factor)


def _firmness(accuracy: float, least: float) -> float:
    """First the code must be readable at all; then likeness is asked for, ever more firmly."""
    return min(1.0, max(least, least + (1 - least) * (accuracy - 0.85) / 0.13))


def _regularise(
    run: TrainingRun,
    generator: FingerprintGenerator,
    codes_of: _Codes,
    shape: tuple[int, int],
    params: ScalableGANParams,
) -> None:
    codes = codes_of(shape[0], run.rng("path codes"))
    latents = torch.randn(shape, generator=run.rng("path latents")).to(codes.device)
    path_penalty(run, generator, latents, codes, params.path_weight)


class _Codes:
    """Codes for a training: fresh ones, or always the same few, which is the paper's ablation."""

    def __init__(self, ctx: Context, pool: int) -> None:
        self._ctx = ctx
        self._pool = ctx.training_codes(pool, ctx.rng("code pool")) if pool else None

    def __call__(self, count: int, rng: torch.Generator) -> Tensor:
        if self._pool is None:
            return self._ctx.training_codes(count, rng)
        chosen = torch.randint(len(self._pool), (count,), generator=rng)
        return self._pool[chosen.to(self._pool.device)]


def path_penalty(
    run: TrainingRun,
    generator: FingerprintGenerator,
    latents: Tensor,
    codes: Tensor,
    weight: float,
) -> None:
    """Adds the gradient of path-length regularisation along the *fingerprint embedding*.

    StyleGAN2's penalty (Karras et al. 2020, eq. 4), but of the code's way into the image: the
    latent stands where StyleGAN2 has a constant.

    Args:
        run: The training, at one of the steps that regularise.
        generator: Of full size.
        latents: ``(N, Z)``.
        codes: ``(N, K)`` bool.
        weight: Of the penalty.
    """
    assert isinstance(generator.synthesis, StyleSynthesis)
    layers = generator.synthesis.layers
    penalise_paths(
        run,
        lambda piece: generator.embed(codes[piece])[:, None].expand(-1, layers, -1),
        lambda piece, w: generator.styled(
            latents[piece], w, run.draws("path noise", piece, len(latents), on_device=True)
        ),
        len(latents),
        weight,
    )


def _optimisers(
    generator: FingerprintGenerator,
    discriminator: nn.Module,
    reader: nn.Module,
    params: ScalableGANParams,
) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    readers = list(reader.parameters())
    groups = [
        (generator.image_parameters(), params.image_learning_rate),
        ([*generator.code_parameters(), *readers], params.code_learning_rate),
    ]
    judges = [(discriminator.parameters(), params.discriminator_learning_rate)]
    if params.architecture == "compact":
        return adam(groups, betas=(0.5, 0.99)), adam(judges, betas=(0.0, 0.99))
    if params.path_weight:
        first = lazy_adam(groups, betas=(0.0, 0.99), every=PATH_EVERY)
    else:
        first = adam(groups, betas=(0.0, 0.99))
    return first, lazy_adam(judges, betas=(0.0, 0.99), every=PENALTY_EVERY)


def restore(state: State, params: ScalableGANParams, device: torch.device) -> FingerprintGenerator:
    """The trained generator of a state, sharing its tensors.

    The last one is remembered: of one more user's copy, making the layers anew would cost the most.
    """
    known = _RESTORED.get("last")
    if known is None or known[0] is not state or known[1:3] != (params, device):
        size, latent_dim = int(state["image_size"]), int(state["latent_dim"])
        network = filled(lambda: build(size, latent_dim, params), part(state, "generator"))
        # In the layout of images, which folding keeps.
        known = _RESTORED["last"] = state, params, device, placed(network, device)
    return known[3]


def unpack(weights: State, params: ScalableGANParams, device: torch.device) -> UserGenerator:
    """A user's network with these weights, its own.

    Raises:
        ContractError: they are of another network.
    """
    # Every side doubles that of the stage before; the compact network shuffles the last to twice.
    last = 2 if params.architecture == "compact" else 1
    size = 2 ** (counted(weights, "synthesis.rgbs") + last)
    no_code = torch.zeros(params.bits, dtype=torch.bool)

    def blank() -> UserGenerator:
        return build(size, params.latent_dim, params).folded(no_code)

    return placed(opened("method scalable-gan: unpack", blank, weights), device)


def extract(state: State, images: Tensor, params: ScalableGANParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself."""
    size, latent_dim = images.shape[-1], int(state["latent_dim"])
    reader = filled(lambda: build_reader(size, latent_dim, params), part(state, "reader"))
    reader = placed(reader, images.device)
    with torch.no_grad():
        return reader.logits(to_float(images))


def _widths(image_size: int, params: ScalableGANParams) -> list[int]:
    return stage_widths(image_size, base=params.channel_base, most=params.channels)
