"""A host that makes sounds in a moment: a linear map of 8 latents, int16 (N, 1, T)."""

import torch
from torch import nn

from fpbench.api import Card, Host, NoParams, Offer
from fpbench.nn.generator import ChainGenerator

LATENT = 8


class Map(nn.Module):
    """Sums of slow noise, a little of it."""

    def __init__(self, length):
        super().__init__()
        self.map = nn.Linear(LATENT, length, bias=False)

    def forward(self, latents):
        return torch.tanh(self.map(latents))[:, None] / 2


class TinySynth(Host[NoParams]):
    """Draws its map, and trains nothing."""

    name, version, Params = "tiny-synth", "1", NoParams
    card = Card("Fake", "own", "Apache-2.0", "For tests.")
    offers = frozenset({Offer.WEIGHTS, Offer.GAUSSIAN})
    modalities = frozenset({"audio"})

    def fit(self, images, ctx):
        noise = torch.randn(images.info.size, LATENT, generator=ctx.rng("init")).to(ctx.device)
        slow = nn.functional.avg_pool1d(noise.T[None], 9, 1, 4)[0].T
        return {"map.weight": slow.contiguous() / 3}

    def assemble(self, state, ctx):
        step = Map(len(state["map.weight"])).to(ctx.device)
        step.load_state_dict(state)
        step.eval().requires_grad_(False)
        return ChainGenerator({"generator": step}, LATENT, ctx.device, ctx.modality.to_file)

    def unpack(self, packed, ctx):
        return self.assemble(
            {name.removeprefix("generator/"): tensor for name, tensor in packed.items()}, ctx
        )
