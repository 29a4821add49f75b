"""The owner's keys: directions in which no image of his points (Kim, Ren and Yang, sec. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.api import Context, State
from fpbench.api.images import to_float
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.training import TrainingRun

if TYPE_CHECKING:
    from fpbench_decentralized.params import DecentralizedParams

__all__ = ["fit", "scores"]


class _Keys(nn.Module):
    def __init__(self, count: int, shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        # One parameter each: a key that is learnt is never moved again.
        self.rows = nn.ParameterList(torch.randn(shape) * scale for _ in range(count))

    @torch.no_grad()
    def units(self, count: int) -> Tensor:
        """The first keys at unit length, ``(count, D)``."""
        return functional.normalize(torch.stack([row.flatten() for row in self.rows[:count]]))


def scores(images: Tensor, keys: Tensor) -> Tensor:
    """``(N, U)`` how far images ``(N, 3, H, W)``, in [-1, 1], go along keys ``(U, 3, H, W)``."""
    return images.flatten(1) @ keys.flatten(1).T


def fit(real: Tensor, host: Tensor, params: DecentralizedParams, ctx: Context) -> State:
    """Learns keys one after another, each orthogonal to those before it or opposed to them.

    Args:
        real: ``(M, 3, H, W)`` uint8 real images.
        host: As many of the host.
        params: Settings.
        ctx: Seeds and device.

    Returns:
        ``keys (P, 3, H, W)`` of unit length; of each key ``reach (P,)``, the largest |score| of
        these images, and ``silent (P,)``, the share of real ones with a score below 0.
    """
    pool = torch.cat([real, host])
    with ctx.seeded("keys"):
        keys = _Keys(params.keys, tuple(real.shape[1:]), params.key_scale).to(ctx.device)
    optimiser = adam([(keys.parameters(), params.key_learning_rate)], betas=(0.9, 0.99))
    with TrainingRun(
        ctx,
        "keys",
        steps=params.keys * params.key_steps,
        modules={"keys": keys},
        optimisers={"all": optimiser},
        batch=params.key_batch,
    ) as run:
        for step in run:
            number, own = divmod(step, params.key_steps)
            set_rates(optimiser, warm_cosine(own, params.key_steps, low=0.1, warmup=1))
            chosen = torch.randint(len(pool), (params.key_batch,), generator=run.rng("images"))
            key, former = keys.rows[number], keys.units(number) if number else None
            for piece in run.pieces(params.key_batch):
                images = to_float(pool[chosen[piece].to(pool.device)])
                fires = functional.relu(1 + scores(images, key[None])).mean()
                # Opposed keys are free: only what two of them share makes them fire together.
                shared = 0.0 if former is None else functional.relu(former @ key.flatten()).sum()
                run.backward(fires + shared, piece, params.key_batch)
                run.log(fires=fires.detach())
            run.update(optimiser)
    units = keys.units(params.keys).view(-1, *real.shape[1:])
    return {"keys": units, **_judged(real, host, units)}


def _judged(real: Tensor, host: Tensor, keys: Tensor) -> State:
    of_real, of_host = (
        torch.cat([scores(to_float(part), keys) for part in torch.split(images, 256)])
        for images in (real, host)
    )
    return {
        "reach": torch.cat([of_real, of_host]).abs().amax(0),
        "silent": (of_real < 0).float().mean(0),
    }
