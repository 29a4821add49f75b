"""Embedder and extractor trained together, with noise layers between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, SampleStream, State
from fpbench.api.images import quantise, to_float, to_uint8
from fpbench.nn.distortions import blur, crop_resize, jpeg, paste
from fpbench.nn.draws import Draws, dealt
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.equalised import lifted
from fpbench.nn.image_quality import psnr
from fpbench.nn.losses import code_loss
from fpbench.nn.reader import Reader
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import opened, part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_hidden.networks import Embedder

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpbench_hidden.params import HiddenParams

_MEASURED = 128  # photographs by which loudness is set
_LOUDEST = 16.0

__all__ = ["build", "build_reader", "distort", "extract", "fit", "restore", "scale"]


def build(params: HiddenParams) -> Embedder:
    """The untrained embedder."""
    return Embedder(
        bits=params.bits,
        channels=params.channels,
        strength=params.strength,
        scaled=params.likeness_db is not None,
    )


def build_reader(image_size: int, params: HiddenParams) -> Reader:
    """The untrained extractor."""
    return Reader(image_size=image_size, outputs=params.bits, channels=params.reader_channels)


def fit(
    images: SampleStream,
    host: Callable[[int, torch.Generator], Tensor],
    params: HiddenParams,
    ctx: Context,
) -> State:
    """Trains on photographs and on what the host makes, half and half.

    Args:
        images: The training split.
        host: ``(count, rng) -> (count, 3, H, W)`` uint8 host images.
        params: Settings.
        ctx: Seeds, device and codes.

    Returns:
        Averaged weights: ``embedder.*``, ``reader.*``.
    """
    with ctx.seeded("init"):
        embedder = build(params)
        reader = build_reader(images.info.size, params)
    embedder = placed(embedder, ctx.device)
    reader = placed(reader, ctx.device)
    optimiser = adam(
        [([*embedder.parameters(), *reader.parameters()], params.learning_rate)], betas=(0.9, 0.99)
    )
    modules: dict[str, nn.Module] = {"embedder": embedder, "reader": reader}
    averages = {name: Average(module) for name, module in modules.items()}
    half = params.batch // 2
    with TrainingRun(
        ctx,
        "hidden",
        steps=params.steps,
        modules=modules,
        optimisers={"all": optimiser},
        averages=averages,
        batch=2 * half,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.steps, low=0.05))
            chosen = torch.randint(len(images), (half,), generator=run.rng("images")).numpy()
            # Photograph, host image, photograph, ...: every noise layer meets both kinds.
            kinds = [images.read(chosen), host(half, run.rng("host"))]
            covers = to_float(torch.stack(kinds, 1).flatten(0, 1))
            codes = ctx.training_codes(2 * half, run.rng("codes"))

            # First the code must be readable at all; then likeness is asked for, ever more firmly.
            known = run.memory.get("accuracy", 0.5)
            firmness = min(1.0, max(0.02, (known - 0.8) / 0.15))
            right = []
            for piece in run.pieces(2 * half):
                with run.autocast():
                    marked = lifted(embedder(covers[piece], codes[piece]))
                    with run.autocast(exact=True):
                        draws = run.draws("distortion", piece, 2 * half)
                        seen = distort(quantise(marked), covers[piece], draws)
                    logits = reader(seen)
                    reading = code_loss(logits, codes[piece])
                    likeness = (marked - covers[piece]).square().mean()
                    loss = reading + params.likeness_weight * firmness * likeness
                run.backward(loss, piece, 2 * half)
                right.append(((logits > 0) == codes[piece]).float().mean())
                run.log(reading=reading.detach(), likeness=likeness.detach())
            run.update(optimiser)
            accuracy = 0.95 * known + 0.05 * run.mean(right, 2 * half)
            run.memory["accuracy"] = accuracy
            for average in averages.values():
                average.update(warmed_decay(0.98, step))
            run.expect("the training codes' bit accuracy", accuracy, 0.6, after=0.5)
            run.log(accuracy=accuracy)

    if params.likeness_db is not None:
        trained = averages["embedder"].module
        assert isinstance(trained, Embedder)
        scale(trained, images, params.likeness_db, ctx)
    return prefixed({name: average.module for name, average in averages.items()})


@torch.no_grad()
def scale(embedder: Embedder, images: SampleStream, decibels: float, ctx: Context) -> None:
    """Sets `loudness` so that photographs, marked and rounded, have this PSNR on average.

    Args:
        embedder: in place; it has the buffer.
        images: the training split.
        decibels: wanted.
        ctx: seeds, device and training codes.
    """
    rng = ctx.rng("loudness")
    chosen = torch.randint(len(images), (_MEASURED,), generator=rng).numpy()
    covers = images.read(chosen)
    codes = ctx.training_codes(_MEASURED, rng)
    low, high = 0.0, _LOUDEST
    for _ in range(16):
        embedder.loudness.fill_((low + high) / 2)
        found = float(psnr(to_uint8(embedder(to_float(covers), codes)), covers).mean())
        middle = float(embedder.loudness)
        low, high = (middle, high) if found > decibels else (low, middle)


def restore(weights: State, params: HiddenParams, device: torch.device) -> Embedder:
    """The trained embedder of its weights.

    Raises:
        ContractError: they are of another one.
    """
    embedder = opened("method hidden: embedder", lambda: build(params), weights)
    return placed(embedder, device)


def extract(state: State, images: Tensor, params: HiddenParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself."""
    reader = build_reader(images.shape[-1], params)
    reader.load_state_dict(part(state, "reader"))
    reader = placed(reader, images.device).eval()
    with torch.no_grad():
        logits: Tensor = reader(to_float(images))
    return logits


def distort(images: Tensor, covers: Tensor, draws: Draws) -> Tensor:
    """The noise layers: each takes an equal run of the whole batch.

    Identity; dropout and cropout, which put the unmarked image back in places; crop, brought back
    to full size; blur; a real JPEG codec with the gradient of the identity.

    Args:
        images: Marked, ``(N, 3, H, W)`` in [-1, 1].
        covers: The same images unmarked.
        draws: Of these images; on the CPU.
    """

    def out(rows: slice, own: Draws, *, square: bool) -> Tensor:
        return paste(images[rows], covers[rows], own.uniform(0.5, 1.0), own, square=square)

    layers: list[Callable[[slice, Draws], Tensor]] = [
        lambda rows, _: images[rows],
        lambda rows, own: out(rows, own, square=False),
        lambda rows, own: out(rows, own, square=True),
        lambda rows, own: crop_resize(images[rows], own.uniform(0.8, 1.0), own),
        lambda rows, own: blur(images[rows], own.uniform(0.3, 1.0)),
        lambda rows, own: jpeg(images[rows], own.uniform(50, 95)),
    ]
    return dealt(draws, [((draws.count + i) // 6, layer) for i, layer in enumerate(layers)])
