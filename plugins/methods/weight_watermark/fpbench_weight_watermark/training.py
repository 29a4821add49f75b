"""How a user's code gets into the kernel: a few steps that keep the host's images."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from fpbench.api import Context, Generator
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.weights import Place, unit
from fpbench.training import TrainingRun
from fpbench_weight_watermark.networks import read

if TYPE_CHECKING:
    from fpbench_weight_watermark.params import WeightWatermarkParams

__all__ = ["embed"]


def embed(
    host: Generator,
    place: Place,
    key: Tensor,
    code: Tensor,
    params: WeightWatermarkParams,
    ctx: Context,
) -> Tensor:
    """The kernel at `place` with a user's code in it; all other weights stay the host's.

    ``|G'(z) - G(z)|^2 + lambda * sum_j BCE(b_j, sigmoid(X w)_j)``: the task is to draw what the
    host draws, so that no photographs are needed.

    Args:
        host: its generator; not changed.
        place: of the kernel.
        key: X ``(K, M)``.
        code: ``(K,)`` bool.
        params: settings.
        ctx: seeds and device.

    Returns:
        ``(O, C, k, k)``.
    """
    step, name = place
    network = copy.deepcopy(host.steps[step]).requires_grad_(False)
    before = network.get_parameter(name)
    kernel = nn.Parameter(before.detach().clone())
    rate = params.learning_rate * float(unit(before))
    optimiser = adam([([kernel], rate)], betas=(0.9, 0.99))
    with TrainingRun(
        ctx,
        "embed",
        steps=params.steps,
        modules={"carrier": nn.ParameterDict({"kernel": kernel})},
        optimisers={"all": optimiser},
        batch=params.batch,
    ) as run:
        for index in run:
            set_rates(optimiser, warm_cosine(index, params.steps, low=0.1))
            seeds = torch.randint(2**62, (params.batch,), generator=run.rng("latents")).tolist()
            for piece in run.pieces(params.batch):
                with run.autocast():
                    with torch.no_grad():
                        inputs = host.run(host.prior(seeds[piece]), until=step)
                        expected = network(inputs)
                    made = functional_call(network, {name: kernel}, (inputs,))
                    likeness = (made - expected).square().mean()
                logits = read(key, kernel)[0]
                wrong = functional.binary_cross_entropy_with_logits(
                    logits, code.to(logits), reduction="sum"
                )
                run.backward(likeness + params.weight * wrong, piece, params.batch)
                right = ((logits > 0) == code).float().mean()
                run.log(likeness=likeness.detach(), reading=wrong.detach(), accuracy=right)
            run.update(optimiser)
    return kernel.detach()
