"""A reader that comes first: it learns beside an embedder of marks, before any network carries one.

Fernandez et al., ICCV 2023 (Stable Signature), sec. 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from fpbench.api import Context, SampleStream
from fpbench.api.images import quantise, to_float
from fpbench.nn.distortions import crop_resize, half_resize, jpeg
from fpbench.nn.draws import Draws, dealt
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.equalised import lifted
from fpbench.nn.extractor import Embedder, Extractor
from fpbench.nn.losses import code_loss
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.training.run import TrainingRun

__all__ = ["codes_of", "distort", "fit_extractor", "photographs", "whiten"]

_CHUNK = 256  # images read at a time


def fit_extractor(
    extractor: Extractor,
    embedder: Embedder,
    images: SampleStream,
    ctx: Context,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
) -> Extractor:
    """Both learn until codes that one puts on photographs are read by the other.

    Args:
        extractor: logits (N, K) of images in [-1, 1]; K may be more than the bits of a code.
        embedder: marked images of images in [-1, 1] and codes (N, K); it is of no use later.
        images: the training split.
        ctx: seeds, device and codes.
        steps: of training.
        batch: images of a step.
        learning_rate: Adam's.

    Returns:
        The extractor with its averaged weights, in eval mode; not yet whitened.
    """
    learning = [*embedder.parameters(), *extractor.parameters()]
    optimiser = adam([(learning, learning_rate)], betas=(0.9, 0.99))
    modules: dict[str, nn.Module] = {"embedder": embedder, "extractor": extractor}
    average = Average(extractor)
    with TrainingRun(
        ctx,
        "extractor",
        steps=steps,
        modules=modules,
        optimisers={"all": optimiser},
        averages={"extractor": average},
        batch=batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, steps, low=0.05))
            chosen = torch.randint(len(images), (batch,), generator=run.rng("images"))
            covers = to_float(images.read(chosen.numpy()))
            codes = codes_of(batch, extractor.out.out_features, run.rng("codes"), ctx)
            right = []
            for piece in run.pieces(batch):
                with run.autocast():
                    marked = lifted(embedder(covers[piece], codes[piece]))
                    with run.autocast(exact=True):
                        draws = run.draws("distortion", piece, batch)
                        seen = distort(quantise(marked), draws)
                    logits = extractor(seen)
                    loss = code_loss(logits, codes[piece])
                run.backward(loss, piece, batch)
                right.append(((logits > 0) == codes[piece]).float().mean())
                run.log(reading=loss.detach(), change=(marked - covers[piece]).detach().std())
            run.update(optimiser)
            average.update(warmed_decay(0.98, step))
            accuracy = run.mean(right, batch)
            run.memory["accuracy"] = 0.95 * run.memory.get("accuracy", 0.5) + 0.05 * accuracy
            run.expect("the training codes' bit accuracy", run.memory["accuracy"], 0.6, after=0.5)
            run.log(accuracy=accuracy)
    return average.module


def photographs(images: SampleStream, count: int, ctx: Context) -> Iterator[Tensor]:
    """So many uint8 images at most, drawn without replacement, in batches, to whiten on."""
    chosen = torch.randperm(len(images), generator=ctx.rng("whitened"))[:count]
    return (images.read(some.numpy()) for some in torch.split(chosen, _CHUNK))


@torch.no_grad()
def whiten(extractor: Extractor, images: Iterable[Tensor], kept: slice = slice(None)) -> None:
    """Makes logits of clean images centred, of unit variance and uncorrelated, in place.

    The whitening (paper, sec. 4.1, "Whitening of the watermark extractor") is linear, and becomes
    part of the last layer. Each component has the sign in which its largest entry is positive, so
    that one set of images gives one extractor.

    Args:
        extractor: in eval mode.
        images: uint8, in batches ``(N, 3, H, W)``; more images than outputs.
        kept: of the components, from the one along which images vary least to that along which
            they vary most; the others are no outputs any longer.
    """
    logits = torch.cat([extractor(to_float(some)).double() for some in images])
    mean = logits.mean(0)
    centred = logits - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(logits))
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    components = vectors * peaks.sign() / values.clamp_min(1e-6 * values[-1]).sqrt()
    components = components[:, kept]
    out, learns = extractor.out, extractor.out.weight.requires_grad
    weight = components.T @ out.weight.double()
    bias = components.T @ (out.bias.double() - mean)
    out.weight = nn.Parameter(weight.to(out.weight), requires_grad=learns)
    out.bias = nn.Parameter(bias.to(out.bias), requires_grad=learns)
    out.out_features = len(weight)


def codes_of(count: int, bits: int, rng: torch.Generator, ctx: Context) -> Tensor:
    """(count, bits) bool: training codes, side by side where one is too short."""
    codes = ctx.training_codes(count, rng)
    while codes.shape[1] < bits:
        codes = torch.cat([codes, ctx.training_codes(count, rng)], 1)
    return codes[:, :bits]


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
