"""The extractor: trained with an embedder that is thrown away, then whitened (paper, sec. 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fpbench.api import Context, SampleStream, State
from fpbench.api.images import quantise, to_float
from fpbench.nn.distortions import crop_resize, half_resize, jpeg
from fpbench.nn.draws import Draws, dealt
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.equalised import lifted
from fpbench.nn.losses import code_loss
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import filled, part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_stable_signature.networks import Embedder, Extractor

if TYPE_CHECKING:
    from fpbench_stable_signature.params import StableSignatureParams

__all__ = ["build", "distort", "extract", "fit", "restore", "whiten"]

_CHUNK = 256  # images read at a time


def build(params: StableSignatureParams) -> Extractor:
    """The untrained extractor."""
    return Extractor(
        bits=params.bits,
        channels=params.channels,
        depth=params.depth,
        patch=params.patch,
        places=params.places,
    )


def fit(images: SampleStream, params: StableSignatureParams, ctx: Context) -> State:
    """Trains embedder and extractor on photographs alone, then whitens the extractor.

    Args:
        images: the training split.
        params: settings.
        ctx: seeds, device and codes.

    Returns:
        ``extractor.*``.
    """
    with ctx.seeded("init"):
        embedder = Embedder(
            bits=params.bits,
            channels=params.channels,
            depth=params.embedder_depth,
            patch=params.patch,
            places=params.places,
            strength=params.strength,
        )
        extractor = build(params)
    embedder, extractor = placed(embedder, ctx.device), placed(extractor, ctx.device)
    learning = [*embedder.parameters(), *extractor.parameters()]
    optimiser = adam([(learning, params.learning_rate)], betas=(0.9, 0.99))
    modules: dict[str, nn.Module] = {"embedder": embedder, "extractor": extractor}
    average = Average(extractor)
    with TrainingRun(
        ctx,
        "extractor",
        steps=params.steps,
        modules=modules,
        optimisers={"all": optimiser},
        averages={"extractor": average},
        batch=params.batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.steps, low=0.05))
            chosen = torch.randint(len(images), (params.batch,), generator=run.rng("images"))
            covers = to_float(images.read(chosen.numpy()))
            codes = ctx.training_codes(params.batch, run.rng("codes"))
            right = []
            for piece in run.pieces(params.batch):
                with run.autocast():
                    marked = lifted(embedder(covers[piece], codes[piece]))
                    with run.autocast(exact=True):
                        draws = run.draws("distortion", piece, params.batch)
                        seen = distort(quantise(marked), draws)
                    logits = extractor(seen)
                    loss = code_loss(logits, codes[piece])
                run.backward(loss, piece, params.batch)
                right.append(((logits > 0) == codes[piece]).float().mean())
                run.log(reading=loss.detach(), change=(marked - covers[piece]).detach().std())
            run.update(optimiser)
            average.update(warmed_decay(0.98, step))
            accuracy = run.mean(right, params.batch)
            run.memory["accuracy"] = 0.95 * run.memory.get("accuracy", 0.5) + 0.05 * accuracy
            run.expect("the training codes' bit accuracy", run.memory["accuracy"], 0.6, after=0.5)
            run.log(accuracy=accuracy)
    chosen = torch.randperm(len(images), generator=ctx.rng("whitened"))[: params.whitened]
    read = (images.read(some.numpy()) for some in torch.split(chosen, _CHUNK))
    whiten(average.module, read)
    return prefixed({"extractor": average.module})


@torch.no_grad()
def whiten(extractor: Extractor, images: Iterable[Tensor]) -> None:
    """Makes logits of clean images centred, of unit variance and uncorrelated, in place.

    The whitening (paper, sec. 4.1, "Whitening of the watermark extractor") is linear, and becomes
    part of the last layer. Each component has the sign in which its largest entry is positive, so
    that one set of images gives one extractor.

    Args:
        extractor: in eval mode.
        images: uint8, in batches ``(N, 3, H, W)``; more images than bits.
    """
    logits = torch.cat([extractor(to_float(some)).double() for some in images])
    mean = logits.mean(0)
    centred = logits - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(logits))
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    components = vectors * peaks.sign() / values.clamp_min(1e-6 * values[-1]).sqrt()
    out = extractor.out
    out.weight.copy_(components.T @ out.weight.double())
    out.bias.copy_(components.T @ (out.bias.double() - mean))


def restore(state: State, params: StableSignatureParams, device: torch.device) -> Extractor:
    """The trained extractor, in eval mode; it learns no further."""
    return placed(filled(lambda: build(params), part(state, "extractor")), device)


def extract(state: State, images: Tensor, params: StableSignatureParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself."""
    with torch.no_grad():
        logits: Tensor = restore(state, params, images.device)(to_float(images))
    return logits


def distort(images: Tensor, draws: Draws) -> Tensor:
    """Identity, crop brought back to full size, resizing, JPEG: each takes a run of the batch.

    Args:
        images: marked, ``(N, 3, H, W)`` in [-1, 1].
        draws: of these images; on the CPU.
    """
    layers: list[Callable[[slice, Draws], Tensor]] = [
        lambda rows, _: images[rows],
        lambda rows, own: crop_resize(images[rows], own.uniform(0.7, 1.0), own),
        lambda rows, _: half_resize(images[rows]),
        lambda rows, own: jpeg(images[rows], own.uniform(50, 95)),
    ]
    return dealt(draws, [((draws.count + i) // 4, layer) for i, layer in enumerate(layers)])
