"""How alike pairs of 16-bit sounds are. Letters: N pairs, C channels, T samples."""

import torch
from torch import Tensor

_WINDOW, _HOP = 512, 128
# Below the loudest of the first sound: what is fainter is hardly heard beside it.
_RANGE_DB = 60.0


def snr(a: Tensor, b: Tensor) -> Tensor:
    """Signal-to-noise ratio 10 log10(|a|^2 / |a - b|^2) of each pair, in dB.

    Args:
        a: `(N, C, T)` int16, the signal.
        b: `(N, C, T)` int16.

    Returns:
        `(N,)` float64; inf for equal sounds, -inf where silence was changed.

    Raises:
        ValueError: If the batches are not int16 sounds of one shape.
    """
    x, y = _pairs("snr", a, b)
    return _decibels(x.square().sum(dim=(1, 2)), (x - y).square().sum(dim=(1, 2)))


def si_snr(a: Tensor, b: Tensor) -> Tensor:
    """Signal-to-noise ratio at the best gain, in dB: what is louder or softer alone loses nothing.

    Le Roux et al. 2019 (arXiv 1811.02508), equation 3 on sounds without their mean.

    Args:
        a: `(N, C, T)` int16, the signal.
        b: `(N, C, T)` int16.

    Returns:
        `(N,)` float64; inf for equal sounds, -inf where one of the two is silent.

    Raises:
        ValueError: If the batches are not int16 sounds of one shape.
    """
    x, y = (z - z.mean(dim=2, keepdim=True) for z in _pairs("si_snr", a, b))
    power = x.square().sum(dim=(1, 2), keepdim=True)
    target = x * (x * y).sum(dim=(1, 2), keepdim=True) / power.clamp_min(1e-30)
    rest = (y - target).square().sum(dim=(1, 2))
    shared = target.square().sum(dim=(1, 2))
    ratio = _decibels(shared, rest).masked_fill(shared == 0, -torch.inf)
    return ratio.masked_fill((a == b).all(dim=2).all(dim=1), torch.inf)


def log_spectral_distance(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square over frequencies of log spectra's differences, mean over time, in dB.

    Gray and Markel 1976, the rms log spectral measure (L2), on power spectra of 512 samples under a
    Hann window, every 128. Whatever is 60 dB below the loudest of the first sound, or below a
    16-bit file's own rounding, counts as that.

    Args:
        a: `(N, C, T)` int16.
        b: `(N, C, T)` int16.

    Returns:
        `(N,)` float64, >= 0; 0 for equal sounds. Of channels the mean.

    Raises:
        ValueError: If the batches are not int16 sounds of one shape.
    """
    x, y = _pairs("log_spectral_distance", a, b)
    first, second = _power(x), _power(y)
    # Rounding is white noise of variance 1/12, its spectrum that times the window's energy.
    rounding = _WINDOW * 0.375 / 12
    floor = first.amax(dim=(1, 2, 3), keepdim=True) * 10 ** (-_RANGE_DB / 10)
    floor = floor.clamp_min(rounding)
    ratio = torch.maximum(first, floor).log10() - torch.maximum(second, floor).log10()
    return (10 * ratio).square().mean(dim=2).sqrt().mean(dim=(1, 2))


def _power(sounds: Tensor) -> Tensor:
    """(N, C, F, frames) power of each window; the ends are padded with silence."""
    count, channels, length = sounds.shape
    spectrum = torch.stft(
        sounds.reshape(count * channels, length),
        _WINDOW,
        _HOP,
        window=torch.hann_window(_WINDOW, dtype=sounds.dtype, device=sounds.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs().square().reshape(count, channels, *spectrum.shape[1:])


def _decibels(signal: Tensor, noise: Tensor) -> Tensor:
    return (10 * (signal.log10() - noise.log10())).masked_fill(noise == 0, torch.inf)


def _pairs(who: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.dtype != torch.int16 or b.dtype != torch.int16:
        msg = f"{who}: expected int16 sounds, got {a.dtype} and {b.dtype}"
        raise ValueError(msg)
    if a.shape != b.shape or a.ndim != 3 or a.numel() == 0:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        msg = f"{who}: expected two equal shapes (N, C, T), got {shapes}"
        raise ValueError(msg)
    return a.double(), b.double()
