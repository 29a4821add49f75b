"""What sounds are told apart by: log-mel spectra, whatever their rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fpbench.api.sounds import to_float

__all__ = ["LogMel", "SoundStatistics", "mel_bank"]

_WINDOW, _HOP = 256, 128


def mel_bank(rate: int, window: int, bands: int, highest: float | None = None) -> Tensor:
    """(F, bands) float32, F = window // 2 + 1: triangles at equal distances in mel.

    O'Shaughnessy's mel, 2595 log10(1 + f / 700); each triangle sums to 1.

    Args:
        rate: of the sound, hertz.
        window: samples of the spectrum's window.
        bands: number of triangles.
        highest: frequency where the last ends, hertz; None = half of the rate.
    """
    top = rate / 2 if highest is None else highest
    mels = torch.linspace(0, 2595 * math.log10(1 + top / 700), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp_min(0)
    # A triangle narrower than a bin takes the bin nearest to its middle.
    nearest = (bins - edges[1:-1]).abs().argmin(dim=0)
    empty = bank.sum(dim=0) == 0
    bank[nearest[empty], empty.nonzero()[:, 0]] = 1
    return (bank / bank.sum(dim=0)).float()


class LogMel(nn.Module):
    """(N, T) float in [-1, 1] -> (N, bands, frames): log10 of the power in bands.

    Args:
        rate: of the sound, hertz.
        bands: number of bands.
        window: samples of the Hann window.
        hop: samples from one window to the next.
        floor: power that is added, of a full-scale sine's about window^2 / 16.
    """

    def __init__(
        self, rate: int, bands: int, window: int = _WINDOW, hop: int = _HOP, floor: float = 1e-3
    ) -> None:
        super().__init__()
        self.window, self.hop, self.floor = window, hop, floor
        self.register_buffer("shape", torch.hann_window(window), persistent=False)
        self.register_buffer("bank", mel_bank(rate, window, bands), persistent=False)

    def forward(self, sounds: Tensor) -> Tensor:
        """Log-mel spectra; the ends are padded with silence."""
        spectrum = torch.stft(
            sounds,
            self.window,
            self.hop,
            window=self.get_buffer("shape"),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (
            (power.transpose(1, 2) @ self.get_buffer("bank") + self.floor).log10().transpose(1, 2)
        )


class SoundStatistics(nn.Module):
    """(N, C, T) int16 -> (N, 64) float32: mean and spread over time of 32 log-mel bands.

    Channels are mixed down. Bands are those of 8 kHz whatever the rate.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectra = LogMel(8000, 32)

    @torch.no_grad()
    def forward(self, sounds: Tensor) -> Tensor:
        """Features of int16 sounds."""
        bands = self.spectra(to_float(sounds).mean(dim=1))
        return torch.cat([bands.mean(dim=2), bands.std(dim=2, correction=0)], dim=1)
