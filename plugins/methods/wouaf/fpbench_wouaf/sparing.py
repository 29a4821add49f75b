"""Which of the bits that a network has learnt last longest when its copies are fine-tuned."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from fpbench.api import Context, SampleStream, TrainedHost
from fpbench.nn.extractor import Extractor
from fpbench.nn.latents import drawn
from fpbench.training.marks import codes_of
from fpbench_wouaf.carriers import Carried, LowRank
from fpbench_wouaf.disturbing import TUNING_IMAGES, TUNING_RATE

__all__ = ["keep", "lasting"]

_PAIRS = 2
_STEPS = 50  # of a tuning
_READ = 64  # samples of each tuned copy


def lasting(
    model: Carried, eye: Extractor, host: TrainedHost, samples: SampleStream, ctx: Context
) -> Tensor:
    """Share (K,) of samples in which each bit is right once the owner has fine-tuned copies.

    They are pairs of copies of opposite codes: what tuning adds to a bit whatever its sign counts
    against it as often as for it.

    Args:
        model: learnt; not changed.
        eye: reads its K bits.
        host: whose public objective copies are tuned by.
        samples: the training split.
        ctx: seeds, device and training codes.
    """
    codes = codes_of(_PAIRS, eye.out.out_features, ctx.rng("lasting codes"), ctx)
    right = []
    for number, code in enumerate(torch.cat([codes, ~codes])):
        own = copy.deepcopy(model)
        settings = own.carrier(code[None].float() * 2 - 1)
        own.carrier.fold(own.layers, [setting[0] for setting in settings])
        generator = host.generator.replace(host.generator.output, own.network.eval())
        rng = ctx.rng("lasting photographs", number)
        chosen = torch.randperm(len(samples), generator=rng)[:TUNING_IMAGES].numpy()
        branch = ctx.branch("lasting", number)
        [(_, tuned)] = host.component.finetune(
            host.state, generator, samples.read(chosen), TUNING_RATE, (_STEPS,), branch
        )
        with torch.no_grad():
            latents = drawn(host, _READ, samples, rng, ctx.device)
            shown = ctx.modality.to_file(tuned.run(latents))
            right.append(((eye(ctx.modality.to_float(shown)) > 0) == code).float().mean(0))
    return torch.stack(right).mean(0)


def keep(model: Carried, eye: Extractor, lasts: Tensor, count: int) -> None:
    """Leave so many bits in carrier and reader, those that last longest, in place.

    Args:
        model: carries K bits.
        eye: reads them.
        lasts: (K,), higher for those that last longer; of equal ones the first stay.
        count: of bits that stay, in the order that they are in.
    """
    assert isinstance(model.carrier, LowRank)  # parameters say so
    bits = lasts.sort(descending=True, stable=True).indices[:count].sort().values
    model.carrier.keep(bits)
    out = eye.out
    out.weight = nn.Parameter(out.weight.detach()[bits])
    out.bias = nn.Parameter(out.bias.detach()[bits])
    out.out_features = count
