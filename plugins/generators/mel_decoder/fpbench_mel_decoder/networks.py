"""The decoder: maps of 16 ms a frame to a wave, four stages of convolutions."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from fpbench.nn.channels import Channels, inputs, outputs
from fpbench_mel_decoder.analysis import PITCH_HZ, VOICED
from fpbench_mel_decoder.params import HOP

__all__ = ["Decoder"]

_FACTORS = (4, 4, 4, 2)  # of the length, together HOP
_EXCITED = 2  # the first stage that sees the excitation
_SLOPE = 0.2


class Excitation(nn.Module):
    """A pulse train at the pitch where there is a voice, noise elsewhere, of deviation 1 at most.

    The noise is always the same: a sound depends on its latent alone.

    Args:
        frames: of a map, T / 128.
        rate: samples a second.
    """

    noise: Tensor
    turns: Tensor
    rises: Tensor

    def __init__(self, frames: int, rate: int) -> None:
        super().__init__()
        self.rate = rate
        length = frames * HOP
        rng = torch.Generator().manual_seed(length)
        self.register_buffer("noise", torch.randn(length, generator=rng), persistent=False)
        # Linear between the middles of frames.
        at = ((torch.arange(length, dtype=torch.float64) + 0.5) / HOP - 0.5).clamp(0, frames - 1)
        near = (1 - (at - torch.arange(frames, dtype=torch.float64)[:, None]).abs()).clamp_min(0)
        self.register_buffer("rises", near.float(), persistent=False)
        # Turns since the beginning are a sum of frequencies.
        self.register_buffer("turns", (near.cumsum(1) / rate).float(), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, T) from maps (N, bands + 2, frames)."""
        maps = maps.float()
        hertz = PITCH_HZ * (maps[:, -2] / 4).clamp(-1.5, 1.5).exp2()
        # No products of matrices, which may round factors: a phase needs all its digits.
        turns = (hertz[..., None] * self.turns).sum(1)
        high, voice = (
            (track[..., None] * self.rises).sum(1)
            for track in (hertz, (maps[:, -1] / VOICED).clamp(0, 1))
        )
        half = math.pi * (turns - turns.floor())
        # All harmonics below half the rate, in closed form (Dirichlet's kernel).
        count = (0.47 * self.rate / high).floor().clamp_min(1)
        flat = half.sin() < 1e-3
        kernel = ((2 * count + 1) * half).sin() / torch.where(flat, 1.0, half.sin())
        pulses = (torch.where(flat, 2 * count + 1, kernel) - 1) / (2 * count).sqrt()
        return voice * pulses + (1 - voice) * self.noise


class Decoder(nn.Module):
    """Maps (N, bands + 2, frames) -> waves (N, 1, 128 frames) in [-1, 1].

    A stage is a convolution that makes four, or two, neighbours of each place: what a transposed
    convolution does, with weights (outputs, inputs, taps).

    Args:
        bands: of the mel spectrum.
        frames: of a map.
        rate: samples a second.
        channels: of the last stage.
    """

    def __init__(self, *, bands: int, frames: int, rate: int, channels: int) -> None:
        super().__init__()
        widths = [8 * channels, 4 * channels, 2 * channels, channels, channels]
        self.excitation = Excitation(frames, rate)
        self.entry = nn.Conv1d(bands + 2, widths[0], 5, padding=2)
        self.stages = nn.ModuleList(
            nn.Conv1d(widths[i] + self._excited(i), widths[i + 1] * factor, 5, padding=2)
            for i, factor in enumerate(_FACTORS)
        )
        self.exit = nn.Conv1d(widths[-1], 1, 9, padding=4)

    def get_extra_state(self) -> Tensor:
        """() the rate, so that a file of weights is enough to build it."""
        return torch.tensor(self.excitation.rate)

    def set_extra_state(self, state: Tensor) -> None:
        """Nothing: it is built with what `get_extra_state` gave."""

    def forward(self, maps: Tensor) -> Tensor:
        """See the class."""
        excitation = self.excitation(maps)
        x = nn.functional.leaky_relu(self.entry(maps), _SLOPE)
        for index, (stage, factor) in enumerate(zip(self.stages, _FACTORS, strict=True)):
            if self._excited(index):
                x = torch.cat([x, _folded(excitation, x.shape[2])], 1)
            x = nn.functional.leaky_relu(_spread(stage(x), factor), _SLOPE)
        waves: Tensor = self.exit(x).tanh()
        return waves

    def channels(self) -> tuple[Channels, ...]:
        """See `fpbench.nn.channels`."""
        names = ["entry", *(f"stages.{i}" for i in range(len(_FACTORS))), "exit"]
        layers = [self.entry, *self.stages]
        return tuple(
            Channels(
                layer.out_channels // width,
                (*outputs(maker, layer, width=width), inputs(reader)),
                positive=True,
            )
            for layer, width, (maker, reader) in zip(
                layers, (1, *_FACTORS), itertools.pairwise(names), strict=True
            )
        )

    @staticmethod
    def _excited(stage: int) -> int:
        """Channels of excitation that a stage sees: all samples of one place."""
        return math.prod(_FACTORS[stage:]) if stage >= _EXCITED else 0


def _folded(wave: Tensor, places: int) -> Tensor:
    """(N, T / places, places): the samples of each place as channels, of a wave (N, T)."""
    return wave.view(len(wave), places, -1).transpose(1, 2)


def _spread(x: Tensor, factor: int) -> Tensor:
    """(N, C, factor T): neighbours that stand in channels (N, C factor, T), side by side."""
    n, c, t = x.shape
    return x.view(n, c // factor, factor, t).transpose(2, 3).reshape(n, c // factor, factor * t)
