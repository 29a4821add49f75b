"""A classifier of where images come from, and its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fpbench.api import Context, State
from fpbench.api.images import quantise, to_float
from fpbench.nn.distortions import blur, jpeg
from fpbench.nn.draws import Draws
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.equalised import lifted
from fpbench.nn.reader import Reader
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import placed
from fpbench.training import TrainingRun

if TYPE_CHECKING:
    from fpbench_passive.params import DetectorParams

__all__ = ["Source", "augmented", "fit", "log_odds"]

Source = Callable[[int, torch.Generator], Tensor]
"""``(count, rng) -> (count, 3, H, W)`` uint8 images of one class."""


def fit(sources: Sequence[Source], size: int, params: DetectorParams, ctx: Context) -> State:
    """Learn to tell sources apart, by softmax cross-entropy over batches of all in turn.

    Args:
        sources: One a class.
        size: Side of the images, pixels.
        params: Settings.
        ctx: Seeds and device.

    Returns:
        Averaged weights.
    """
    with ctx.seeded("init"):
        reader = Reader(image_size=size, outputs=len(sources), channels=params.channels)
    reader = placed(reader, ctx.device)
    optimiser = adam([(reader.parameters(), params.learning_rate)], betas=(0.9, 0.99))
    average = Average(reader)
    with TrainingRun(
        ctx,
        "classifier",
        steps=params.steps,
        modules={"reader": reader},
        optimisers={"reader": optimiser},
        averages={"reader": average},
        batch=params.batch,
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, params.steps, low=0.01))
            images, labels = _batch(sources, step, params.batch, run.rng("sources"), ctx)
            for piece in run.pieces(params.batch):
                draws = run.draws("augmentation", piece, params.batch)
                seen = augmented(to_float(images[piece]), params, draws)
                with run.autocast():
                    logits = lifted(reader(seen))
                loss = cross_entropy(logits, labels[piece])
                run.backward(loss, piece, params.batch)
                right = (logits.argmax(1) == labels[piece]).float().mean()
                run.log(loss=loss.detach(), accuracy=right)
            run.update(optimiser)
            average.update(warmed_decay(0.98, step))
    return average.module.state_dict()


def _batch(
    sources: Sequence[Source], step: int, count: int, rng: torch.Generator, ctx: Context
) -> tuple[Tensor, Tensor]:
    """Images ``(count, 3, H, W)`` uint8 and their classes ``(count,)``, sorted.

    Steps go on through the classes: over several of them all are met equally often.
    """
    classes = torch.arange(step * count, (step + 1) * count) % len(sources)
    counts = classes.bincount(minlength=len(sources))
    drawn = [source(n, rng) for source, n in zip(sources, counts.tolist(), strict=True) if n]
    return torch.cat(drawn), classes.sort().values.to(ctx.device)


def augmented(images: Tensor, params: DetectorParams, draws: Draws) -> Tensor:
    """Images blurred or not, then through a JPEG codec or not, each by a draw of its own.

    Args:
        images: ``(N, 3, H, W)`` in [-1, 1].
        params: Probability and ranges.
        draws: Of these images; on the CPU.
    """
    sigma = draws.uniform(0, params.blur) * (draws.uniform() < params.augment)
    quality = draws.uniform(params.quality, 100)
    coded = (draws.uniform() < params.augment).nonzero()[:, 0]
    images = quantise(blur(images, sigma))  # a deviation of 0 leaves an image as it is
    images[coded.to(images.device)] = jpeg(images[coded.to(images.device)], quality[coded])
    return images


def log_odds(state: State, images: Tensor, params: DetectorParams) -> Tensor:
    """How much likelier each class is than all others together; above 0 for one class at most.

    Args:
        state: From `fit`.
        images: ``(N, 3, H, W)`` uint8; each is read by itself.
        params: Settings.

    Returns:
        ``(N, C)``: the logit of a class less the log-sum-exp of all others'.
    """
    classes = len(state["out.bias"])
    reader = Reader(image_size=images.shape[-1], outputs=classes, channels=params.channels)
    reader.load_state_dict(state)
    reader = placed(reader, images.device).eval()
    with torch.no_grad():
        logits: Tensor = reader(to_float(images))
    own = torch.eye(classes, dtype=torch.bool, device=logits.device)
    return logits - logits[:, None].masked_fill(own, -torch.inf).logsumexp(2)
