"""What a sound is described by: its mel spectrum and its pitch, 16 ms of 8 kHz a frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpbench.nn.spectra import framed, log_mel, mel_bank
from fpbench_mel_decoder.params import HOP

__all__ = ["PITCH_HZ", "VOICED", "described", "pitches"]

PITCH_HZ = 150.0
"""Of a pitch of 0; one more is a quarter of an octave."""
VOICED = 2.0
"""Size of a frame whose voice is as periodic as can be."""

_SIZE = 512  # samples of a frame
_LOW, _HIGH = 70.0, 400.0  # Hz that voices are looked for in
_REACH = 4  # frames over which the pitch goes on where there is no voice


@torch.no_grad()
def described(waves: Tensor, rate: int, bands: int) -> Tensor:
    """(N, bands + 2, T / 128): log-mel spectrum, pitch and voice, each of a spread of about 1 to 2.

    Args:
        waves: (N, T) in [-1, 1].
        rate: samples a second.
        bands: of the spectrum.
    """
    bank = mel_bank(rate, _SIZE, bands).to(waves.device)
    spectrum = (log_mel(waves, bank, HOP).transpose(1, 2) + 5) / 1.5
    hertz, voice = pitches(waves, rate)
    pitch = 4 * (hertz / PITCH_HZ).log2()
    return torch.cat([spectrum, pitch[:, None], VOICED * voice[:, None]], 1)


@torch.no_grad()
def pitches(waves: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """(N, T / 128) fundamental frequency in Hz, and how periodic the sound is, 0 to 1.

    The lag of the largest normalised autocorrelation; where there is no voice, that of the voices
    around.

    Args:
        waves: (N, T) in [-1, 1].
        rate: samples a second.
    """
    frames = framed(waves, _SIZE, HOP)
    frames = frames - frames.mean(2, keepdim=True)
    low, high = int(rate / _HIGH), int(rate / _LOW) + 1
    power = torch.fft.rfft(frames, 2 * _SIZE).abs().square()
    agreement = torch.fft.irfft(power)[..., : high + 2]
    squares = nn.functional.pad(frames.square().cumsum(2), (1, 0))
    lags = torch.arange(high + 2, device=waves.device)
    # Energy of what of a frame is compared at each lag: its beginning and its end.
    first, last = squares[..., _SIZE - lags], squares[..., -1:] - squares[..., lags]
    agreement = agreement / ((first * last).clamp_min(0).sqrt() + 1e-3)
    # Twice a period fits as well; the shortest is meant.
    wanted = agreement[..., low : high + 1] - 1e-3 * lags[low : high + 1] * (8000 / rate)
    best = wanted.argmax(2) + low
    before, here, after = (agreement.gather(2, (best + i)[..., None])[..., 0] for i in (-1, 0, 1))
    bend = (before - 2 * here + after).clamp_max(-1e-4)
    lag = best + ((before - after) / (2 * bend)).clamp(-0.5, 0.5)
    voice = here.clamp(0, 1)
    return _carried_on(rate / lag, voice), voice


def _carried_on(hertz: Tensor, voice: Tensor) -> Tensor:
    """Pitches as they are where a voice is sure, and of the voices around elsewhere."""
    reach = torch.arange(-4 * _REACH, 4 * _REACH + 1, device=hertz.device)
    kernel = (-(reach / _REACH).square() / 2).exp()[None, None]
    sure = voice.pow(8) + 1e-6
    pad = len(reach) // 2
    around = nn.functional.conv1d((sure * hertz.log2())[:, None], kernel, padding=pad)
    weight = nn.functional.conv1d(sure[:, None], kernel, padding=pad)
    far = (around / weight)[:, 0]
    return (far + voice.pow(8) * (hertz.log2() - far)).exp2()
