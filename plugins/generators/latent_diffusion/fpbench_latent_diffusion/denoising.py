"""An own denoiser of latents: a diffusion transformer that is trained by flow matching.

Networks after Peebles and Xie, ICCV 2023 (DiT, adaLN-Zero); the loss after Lipman et al., ICLR 2023
and Liu et al., ICLR 2023 (straight paths); times after Esser et al., ICML 2024 (logit-normal).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fpbench.api import Conditions, ContractError, Latents
from fpbench.nn.chains import channels_of
from fpbench.nn.channels import Channels, inputs, outputs, within
from fpbench.nn.generator import ChainGenerator

__all__ = ["Denoised", "Denoiser", "Transformer", "velocity_error"]

_FREQUENCIES = 128
_LONGEST = 1e4  # wave of a time's features, thousandths


class Transformer(nn.Module):
    """The velocity of latents (N, C, h, w) at times (N,) in [0, 1], of classes (N,) or none.

    Args:
        shape: (C, h, w).
        classes: how many there are; 0 for none.
        patch: side of what one token is made of, pixels of a latent.
        width: of a token.
        depth: blocks.
        heads: of attention.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        classes: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        channels, height, across = shape
        self._shape, self._patch = tuple(shape), patch
        tokens = (height // patch) * (across // patch)
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.place = nn.Parameter(torch.randn(1, tokens, width) * 0.02)
        self.time = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.classes = nn.Embedding(classes + 1, width) if classes else None
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.final = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, channels * patch * patch)
        # It begins with no velocity, each block as the identity: adaLN-Zero.
        for layer in (self.final, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, times: Tensor, classes: Tensor | None = None) -> Tensor:
        """See the class; a class of -1 means none."""
        about = self.time(_features(times))
        if self.classes is not None:
            none = self.classes.num_embeddings - 1
            known = torch.full_like(times, -1, dtype=torch.int64) if classes is None else classes
            about = about + self.classes(known.where(known >= 0, none))
        about = nn.functional.silu(about)
        y = self.embed(x).flatten(2).transpose(1, 2) + self.place
        for block in self.blocks:
            y = block(y, about)
        shift, scale = self.final(about)[:, None].chunk(2, dim=2)
        y = self.out(_normed(y) * (1 + scale) + shift)
        height, across = (side // self._patch for side in self._shape[1:])
        patches = y.transpose(1, 2).reshape(len(y), -1, height, across)
        return nn.functional.pixel_shuffle(patches, self._patch)

    def channels(self) -> tuple[Channels, ...]:
        """The hidden channels of each block's two layers on tokens; they only change places."""
        return tuple(
            group
            for i, block in enumerate(self.blocks)
            for group in within(f"blocks.{i}", channels_of("a block", block))
        )


class _Block(nn.Module):
    """Attention, then two layers on each token; both are shifted, scaled and gated by `about`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.grow = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)
        self.about = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.about.weight)
        nn.init.zeros_(self.about.bias)

    def forward(self, x: Tensor, about: Tensor) -> Tensor:
        """(N, T, D) tokens and (N, D) of time and class -> (N, T, D)."""
        shift, scale, gate, shift_2, scale_2, gate_2 = self.about(about)[:, None].chunk(6, dim=2)
        y = self.qkv(_normed(x) * (1 + scale) + shift)
        q, k, v = y.view(*x.shape[:2], 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + gate * self.join(y.transpose(1, 2).flatten(2))
        y = nn.functional.gelu(self.grow(_normed(x) * (1 + scale_2) + shift_2))
        z: Tensor = x + gate_2 * self.shrink(y)
        return z

    def channels(self) -> tuple[Channels, ...]:
        """Between its two layers on tokens."""
        axes = (*outputs("grow", self.grow), inputs("shrink"))
        return (Channels(self.grow.out_features, axes),)


def _normed(x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)


def _features(times: Tensor) -> Tensor:
    """(N, 2 F) sines and cosines of times (N,), as transformers have of places."""
    rates = torch.arange(_FREQUENCIES, device=times.device) * (-math.log(_LONGEST) / _FREQUENCIES)
    angles = 1000 * times[:, None] * rates.exp()
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def velocity_error(
    network: nn.Module, data: Tensor, noise: Tensor, times: Tensor, classes: Tensor | None
) -> Tensor:
    """Mean squared error of the velocity along straight paths x_t = (1 - t) noise + t data.

    Args:
        network: (x, t, classes) to velocities; the right one is data - noise on average.
        data: (N, C, h, w).
        noise: (N, C, h, w).
        times: (N,) in [0, 1].
        classes: (N,), -1 for none; None where there are none at all.
    """
    t = times.view(-1, 1, 1, 1)
    found: Tensor = network((1 - t) * noise + t * data, times, classes)
    return (found.float() - (data - noise)).square().mean()


class Denoiser(nn.Module):
    """Normal noise (N, C, h, w), or a dict of "noise" and "class" (N,), to latents (N, C, h, w).

    It follows the velocity from t = 0 to t = 1 in equal steps; differentiable.

    Args:
        network: the velocity of latents of mean 0 and deviation 1; see `Transformer`.
        spread: (2, C, h, w) mean and deviation that latents have.
        steps: how many.
        solver: "euler", or "heun" with two velocities a step.
        guidance: how far to go from the velocity of no class to that of the class; 1 = so far
            (Ho and Salimans 2022, with w = guidance - 1).
    """

    spread: Tensor

    def __init__(
        self, network: nn.Module, spread: Tensor, *, steps: int, solver: str, guidance: float
    ) -> None:
        super().__init__()
        self.network = network
        self._steps, self._solver, self._guidance = steps, solver, guidance
        # How it draws, no weights: see `Components`.
        self.register_buffer("spread", spread, persistent=False)

    def forward(self, latents: Tensor | Mapping[str, Tensor]) -> Tensor:
        """See the class."""
        if isinstance(latents, Mapping):
            x, classes = latents["noise"], latents["class"]
        else:
            x, classes = latents, None
        for i in range(self._steps):
            t, ahead = i / self._steps, (i + 1) / self._steps
            v = self._velocity(x, t, classes)
            if self._solver == "heun":
                v = (v + self._velocity(x + v / self._steps, ahead, classes)) / 2
            x = x + v / self._steps
        mean, deviation = self.spread
        made: Tensor = x * deviation + mean
        return made

    def _velocity(self, x: Tensor, t: float, classes: Tensor | None) -> Tensor:
        times = torch.full((len(x),), t, device=x.device)
        v: Tensor = self.network(x, times, classes)
        if classes is None or self._guidance == 1:
            return v
        plain: Tensor = self.network(x, times, torch.full_like(classes, -1))
        return plain + self._guidance * (v - plain)

    def channels(self) -> tuple[Channels, ...]:
        """Those of the network."""
        assert isinstance(self.network, Transformer)
        return within("network", self.network.channels())

    def get_extra_state(self) -> Tensor:
        """(2, C, h, w) mean and deviation."""
        return self.spread

    def set_extra_state(self, state: Tensor) -> None:
        """What `get_extra_state` gave."""
        self.spread = state.to(self.spread)


class Denoised(ChainGenerator):
    """A chain whose latents are normal noise, with a class where there are some.

    Args:
        steps: "denoiser", "decoder", and what stands behind.
        shape: (C, h, w) of latents.
        classes: how many there are; 0 for none.
        device: where the steps live.
    """

    def __init__(
        self,
        steps: Mapping[str, nn.Module],
        shape: Sequence[int],
        classes: int,
        device: torch.device,
    ) -> None:
        super().__init__(steps, 0, device)
        self._shape, self._classes = tuple(shape), classes

    def prior(self, seeds: Sequence[int], conditions: Conditions = ()) -> Latents:
        """Noise (N, C, h, w), or {"noise", "class" (N,)}; without conditions seeds choose these.

        Raises:
            ContractError: a class was never trained.
        """
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(self._shape, generator=rng) for rng in rngs])
        noise = noise.to(self._device)
        if not self._classes:
            return noise
        chosen = [int(c) for c in conditions] or [
            int(torch.randint(self._classes, (1,), generator=rng)) for rng in rngs
        ]
        if unknown := set(chosen) - set(range(self._classes)):
            raise ContractError(
                f"host latent-diffusion: expected classes from 0 to {self._classes - 1}, which it "
                f"was trained on, got {min(unknown)}; use a data set whose splits share classes"
            )
        return {"noise": noise, "class": torch.tensor(chosen, device=self._device)}

    def replace(self, name: str, step: nn.Module | None, *, after: str | None = None) -> Denoised:
        """See `fpbench.api.Generator.replace`."""
        changed = super().replace(name, step, after=after)
        return Denoised(changed.steps, self._shape, self._classes, self._device)
