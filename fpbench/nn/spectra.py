"""Spectra of sounds, and how unlike two sounds are by them; all with a gradient.

Sounds are waves (N, T) float in [-1, 1]; a frame is a windowed stretch of one, a bin a frequency.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FLOOR", "framed", "log_mel", "magnitudes", "mel_bank", "spectra", "spectral_loss"]

FLOOR = 1e-3
"""Added to magnitudes before a logarithm: 60 dB below a wave of deviation 1."""

_SIZES = (64, 128, 256, 512)


def framed(waves: Tensor, size: int, hop: int) -> Tensor:
    """(N, T // hop, size) overlapping stretches, frame f about sample (f + 1/2) hop.

    Beyond the ends is silence.

    Args:
        waves: (N, T).
        size: samples of a frame, more than `hop` by an even number.
        hop: samples from one to the next; it divides T.
    """
    beyond = (size - hop) // 2
    return F.pad(waves, (beyond, beyond)).unfold(1, size, hop)


def spectra(waves: Tensor, size: int, hop: int) -> Tensor:
    """(N, T // hop, size // 2 + 1) complex spectra of Hann-windowed frames.

    White noise of deviation s has the mean square s squared in each bin.
    """
    window = torch.hann_window(size, device=waves.device, dtype=waves.dtype)
    found: Tensor = torch.fft.rfft(framed(waves, size, hop) * (window / window.norm()))
    return found


def magnitudes(waves: Tensor, size: int, hop: int) -> Tensor:
    """(N, T // hop, size // 2 + 1) magnitudes of `spectra`."""
    spectrum = spectra(waves, size, hop)
    # The gradient of an absolute value is not finite at 0.
    return (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()


def mel_bank(rate: int, size: int, bands: int, highest: float | None = None) -> Tensor:
    """(size // 2 + 1, bands) triangles, evenly spaced in mel from 0 Hz on, of sum 1.

    O'Shaughnessy's mel, 2595 log10(1 + f / 700). A triangle between two bins takes the nearer one.

    Args:
        rate: samples a second.
        size: of a frame.
        bands: number of triangles.
        highest: frequency where the last ends, hertz; None = half of the rate.
    """
    bins = torch.arange(size // 2 + 1, dtype=torch.float64) * rate / size
    top = 2595 * math.log10(1 + (rate / 2 if highest is None else highest) / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - low) / (centre - low)
    falling = (high - bins[:, None]) / (high - centre)
    bank = torch.minimum(rising, falling).clamp_min(0)
    nearest = (bins[:, None] - centre).abs().argmin(0)
    bank = torch.where(bank.sum(0) > 0, bank, F.one_hot(nearest, len(bins)).T.to(bank))
    return (bank / bank.sum(0)).float()


def log_mel(waves: Tensor, bank: Tensor, hop: int) -> Tensor:
    """(N, T // hop, bands) natural logarithm of the mean magnitude in each band.

    Args:
        waves: (N, T).
        bank: from `mel_bank`.
        hop: samples between frames.
    """
    size = 2 * (len(bank) - 1)
    return (magnitudes(waves, size, hop) @ bank + FLOOR).log()


def spectral_loss(waves: Tensor, targets: Tensor) -> Tensor:
    """How unlike sounds are by their magnitudes, whatever their phases; a scalar.

    At frames of 8 to 64 ms of 8 kHz: the mean absolute difference of logarithms, and the norm of
    the difference over the norm of the targets (Arik, Jun, Diamos 2019; Yamamoto, Song, Kim 2020).

    Args:
        waves: (N, T), T a multiple of 128.
        targets: the same.
    """
    loss = waves.new_zeros(())
    for size in _SIZES:
        made, wanted = (magnitudes(x, size, size // 4) for x in (waves, targets))
        apart = (made - wanted).flatten(1).norm(dim=1)
        loss = loss + ((made + FLOOR).log() - (wanted + FLOOR).log()).abs().mean()
        loss = loss + (apart / wanted.flatten(1).norm(dim=1).clamp_min(FLOOR)).mean()
    return loss / len(_SIZES)
