"""Sums of secret sequences in sounds. N sounds, C channels, T samples, K bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.nn.channels import Channels

__all__ = ["Embedder", "read", "sequences"]

_SMOOTHED = 65  # samples that the loudness around one is taken of
_HALVINGS = 24  # of the interval in which a level is looked for
_FLATTENED = 65  # values of a spectrum, of twice the length, that one is measured against
_TINY = 1e-9


def sequences(bits: int, length: int, band: tuple[float, float], rng: torch.Generator) -> Tensor:
    """Orthonormal noise within a band, ``(K, T)`` float32.

    Args:
        bits: K.
        length: T; the band must have room for K of them.
        band: where it begins and ends, as shares of half the sampling rate.
        rng: of the draw, on the CPU.
    """
    spectrum = torch.fft.rfft(torch.randn(bits, length, generator=rng, dtype=torch.float64))
    share = torch.linspace(0, 1, spectrum.shape[1], dtype=torch.float64)
    spectrum = spectrum * ((share >= band[0]) & (share <= band[1]))
    made: Tensor = torch.linalg.qr(torch.fft.irfft(spectrum, n=length).T).Q.T
    return made.float().contiguous()


class Embedder(nn.Module):
    """Spread spectrum that knows the sound: each correlation is brought to a level, if need be.

    A correlation that lies beyond the level on its bit's side already is left alone, and the level
    is the largest within the distance asked for. A sequence is added with the root of the loudness
    around each sample, so that pauses stay quiet.

    Args:
        sequences: ``(K, T)``, orthonormal.
        snr_db: least ratio of a sound to what is added.
    """

    def __init__(self, sequences: Tensor, *, snr_db: float) -> None:
        super().__init__()
        self.sequences = nn.Parameter(sequences.clone())
        self.share = 10 ** (-snr_db / 20)

    def channels(self) -> tuple[Channels, ...]:
        """None: nothing in it could change places unseen; see `fpbench.nn.channels`."""
        return ()

    def forward(self, sounds: Tensor, codes: Tensor) -> Tensor:
        """Marked sounds ``(N, C, T)`` from sounds in [-1, 1] and codes ``(N, K)`` bool."""
        length = sounds.shape[-1]
        power = functional.avg_pool1d(sounds.square(), _SMOOTHED, 1, _SMOOTHED // 2)
        loud = (power + _TINY).pow(0.25)[:, :, None] * self.sequences  # (N, C, K, T)
        # A correlation with a flattened sound is one of the sound with a flattened sequence.
        spectra = torch.fft.rfft(self.sequences, n=2 * length)
        flat = torch.fft.irfft(spectra * _flattening(sounds)[:, :, None], n=2 * length)
        flat = flat[..., :length]
        # What each sequence, added with that loudness, adds to the correlation with each.
        met = flat @ loud.transpose(2, 3)
        ridge = 1e-3 * met.diagonal(dim1=2, dim2=3).abs().mean(-1)[..., None, None] + _TINY
        met = met + ridge * torch.eye(len(self.sequences)).to(met)
        signs = codes.to(sounds.dtype)[:, None] * 2 - 1
        agreed = signs * (flat @ sounds[..., None])[..., 0]

        def change(level: Tensor) -> Tensor:
            lacking = signs * (level - agreed).clamp_min(0)
            weights: Tensor = torch.linalg.solve(met, lacking[..., None])
            return (weights.transpose(2, 3) @ loud)[:, :, 0]

        size = sounds.square().sum(-1, keepdim=True).sqrt()
        with torch.no_grad():
            # No change of that size can move a correlation further.
            most = flat.norm(dim=-1).amax(-1, keepdim=True) * self.share * size
            high = agreed.abs().amax(-1, keepdim=True) + most
            low = -high
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                fits = change(middle).norm(dim=-1, keepdim=True) <= self.share * size
                low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
        return sounds + change(low)


def read(sounds: Tensor, sequences: Tensor, search: int) -> Tensor:
    """Correlations ``(N, K)`` with the sequences, at the shift at which they are largest together.

    The sounds' spectra are flattened first. In units of the mean size over all shifts.

    Args:
        sounds: ``(N, C, T)`` in [-1, 1].
        sequences: ``(K, T)``.
        search: samples, earlier and later.
    """
    length = sounds.shape[-1]
    spectra = torch.fft.rfft(sequences, n=2 * length).conj()
    given = torch.fft.rfft(sounds, n=2 * length) * _flattening(sounds)
    found = torch.fft.irfft(given.mean(1)[:, None] * spectra, n=2 * length)  # [..., s]: s later
    shifts = torch.arange(-search, search + 1, device=sounds.device)
    near = found[..., shifts % (2 * length)]
    best = near.abs().sum(1).argmax(1)
    usual = found.abs().mean((1, 2))[:, None] + _TINY
    logits: Tensor = near[torch.arange(len(near)), :, best] / usual
    return logits


def _flattening(sounds: Tensor) -> Tensor:
    """``(N, C, T + 1)``, what makes the spectra of sounds flat, each over twice its length."""
    sizes = torch.fft.rfft(sounds, n=2 * sounds.shape[-1]).abs()
    around = functional.avg_pool1d(sizes, _FLATTENED, 1, _FLATTENED // 2, count_include_pad=False)
    return 1 / (around + 1e-2 * around.mean(-1, keepdim=True) + _TINY)
