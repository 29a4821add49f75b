"""How a copy of the host learns its user's code (Fernandez et al., ICCV 2023, sec. 4.2)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import AdamW

from fpbench.api import Context, Generator, Latents, Offer, SampleStream, State, TrainedHost
from fpbench.api.generator import PRIOR
from fpbench.api.images import quantise
from fpbench.nn.latents import drawn, rows
from fpbench.nn.losses import code_loss
from fpbench.nn.schedule import set_rates, warm_cosine
from fpbench.nn.state import part, prefixed
from fpbench.training import TrainingRun

if TYPE_CHECKING:
    from fpbench.nn.extractor import Extractor
    from fpbench_stable_signature.params import StableSignatureParams

__all__ = ["assemble", "entries", "issue"]


def issue(
    host: TrainedHost,
    extractor: Extractor,
    code: Tensor,
    samples: SampleStream,
    params: StableSignatureParams,
    ctx: Context,
) -> State:
    """One user's copy of the host's output step.

    Args:
        host: its output step is copied and learns; what stands around it runs as it is.
        extractor: does not learn.
        code: ``(K,)`` bool.
        samples: the data set, for images to encode, or conditions where the host takes some.
        params: settings.
        ctx: seeds and device.

    Returns:
        ``step.*``, the weights of the step.
    """
    generator = host.generator
    output = generator.output
    step = copy.deepcopy(generator.steps[output]).eval().requires_grad_(True)
    marked = generator.replace(output, step)
    rate, batch = params.tuning_learning_rate, params.tuning_batch
    learning = {"params": list(step.parameters()), "lr": rate, "peak": rate}
    optimiser = AdamW([learning], fused=True)
    with TrainingRun(
        ctx,
        "copy",
        steps=params.tuning_steps,
        modules={"step": step},
        optimisers={"all": optimiser},
        batch=batch,
    ) as run:
        for number in run:
            factor = warm_cosine(number, params.tuning_steps, low=0.0, warmup=params.warmup)
            set_rates(optimiser, factor)
            with torch.no_grad():
                entry = entries(host, batch, samples, run.rng("latents"), ctx)
            for piece in run.pieces(batch):
                with run.autocast():
                    with torch.no_grad():
                        target = generator.run(rows(entry, piece), first=output)
                    images = marked.run(rows(entry, piece), first=output)
                    logits = extractor(quantise(images))
                    reading = code_loss(logits, code.expand(len(logits), -1))
                    likeness = (images.float() - target.float()).square().mean()
                run.backward(reading + params.likeness_weight * likeness, piece, batch)
                right = ((logits > 0) == code).float().mean()
                run.log(reading=reading.detach(), likeness=likeness.detach(), accuracy=right)
            run.update(optimiser)
    return prefixed({"step": step})


def assemble(host: Generator, issued: State) -> Generator:
    """The host with the copy's step in the place of its own."""
    step = copy.deepcopy(host.steps[host.output])
    step.load_state_dict(part(issued, "step"))
    return host.replace(host.output, step.eval().requires_grad_(False))


def entries(
    host: TrainedHost, count: int, samples: SampleStream, rng: torch.Generator, ctx: Context
) -> Latents:
    """What goes into the host's output step: latents of images, as the paper has them.

    Where the host encodes nothing, or its output step takes what the prior draws, they are drawn.
    """
    generator = host.generator
    first = next(name for name in generator.steps if name != PRIOR)
    if first == generator.output or Offer.ENCODE not in host.component.offers:
        latents = drawn(host, count, samples, rng, ctx.device)
        return generator.run(latents, until=generator.output)
    chosen = torch.randint(len(samples), (count,), generator=rng)
    return host.encode(samples.read(chosen.numpy()), ctx, generator.output)
