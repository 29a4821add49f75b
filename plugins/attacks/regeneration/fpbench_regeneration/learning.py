"""A small autoencoder that an adversary trains on clean images of his own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpbench.api import Context, State
from fpbench.api.images import to_float
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import filled, part, placed, prefixed
from fpbench.training import TrainingRun

__all__ = ["FACTOR", "SmallAutoencoder", "fit", "opened_own"]

FACTOR = 4
_WIDTH = 16
_BATCH = 16
_RATE = 2e-3


class SmallAutoencoder(nn.Module):
    """Two halvings of the side, and back; fully convolutional.

    Args:
        channels: of the latents.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 2 * _WIDTH
        self.encode = nn.Sequential(
            nn.Conv2d(3, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, inner, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 3, padding=1),
        )
        self.decode = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inner, 4 * inner, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(inner, 4 * _WIDTH, 3, padding=1),
            nn.PixelShuffle(2),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, 3, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1], sides multiples of 4, to images near them."""
        drawn: Tensor = self.decode(self.encode(images))
        return drawn


def fit(images: Tensor, channels: int, steps: int, ctx: Context) -> State:
    """Train one on (M, 3, H, W) uint8 images: ``coder.*``, ``channels`` and ``factor``.

    Sides that are no multiple of 4 are cut in the training, which is of no consequence to a network
    that is the same everywhere.
    """
    with ctx.seeded("autoencoder"):
        coder = placed(SmallAutoencoder(channels), ctx.device)
    optimiser = adam([(coder.parameters(), _RATE)], betas=(0.9, 0.99))
    height, width = (side - side % FACTOR for side in images.shape[2:])
    cut = images[..., :height, :width]
    modules, optimisers = {"coder": coder}, {"coder": optimiser}
    with TrainingRun(
        ctx, "autoencoder", steps=steps, modules=modules, optimisers=optimisers
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, steps, low=0.02))
            chosen = torch.randint(len(cut), (_BATCH,), generator=run.rng("images"))
            shown = to_float(cut[chosen.to(cut.device)])
            for piece in run.pieces(_BATCH):
                loss = (coder(shown[piece]) - shown[piece]).abs().mean()
                run.backward(loss, piece, _BATCH)
                run.log(loss=loss.detach())
            run.update(optimiser)
    about = {"channels": channels, "factor": FACTOR}
    tensors = {name: torch.tensor([value], device=ctx.device) for name, value in about.items()}
    return {name: t.detach() for name, t in prefixed({"coder": coder}).items()} | tensors


def opened_own(state: State, device: torch.device) -> SmallAutoencoder:
    """The autoencoder of a state that `fit` gave."""
    channels = int(state["channels"])
    return placed(filled(lambda: SmallAutoencoder(channels), part(state, "coder")), device)
