"""What may happen to a sound before it is read, with a gradient, to harden readers in training.

All work on float sounds (N, C, T) in [-1, 1], and what they draw for a sound depends on its place
in the whole batch alone (`fpbench.nn.draws`). They are training noise, not attacks: attacks act on
16-bit sounds and are defined in plugins of their own. The length stays as it is; what comes in from
outside is silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fpbench.nn.draws import Draws, dealt

__all__ = [
    "band",
    "compand",
    "crop",
    "disturb",
    "echo",
    "gain",
    "noise",
    "resample",
    "reverberate",
    "shift",
    "silence",
    "smooth",
    "speed",
]

_MU = 255  # of G.711
_ORDER = 6  # of a Butterworth filter
_TAPS = 16  # samples on either side that an interpolated one is made of


def disturb(sounds: Tensor, rate: int, draws: Draws) -> Tensor:
    """A batch in which a fifth stays clean and the rest meets one of twelve distortions.

    White noise of 15 to 35 dB, a low-pass from a quarter of the band on, a high-pass up to 300 Hz,
    half to nine tenths of the rate and back, a fifth to all of the level, 8-bit µ-law, an echo, a
    reverberation, a shift of up to 75 ms, a crop of at least two thirds, a mean of two to four
    samples, or up to a fifth of silence: what a sound may meet and still be worth having.

    Args:
        sounds: ``(N, C, T)`` in [-1, 1].
        rate: samples a second.
        draws: of these sounds; on the CPU. In a batch of at least 15 each distortion has a sound.
    """
    layers: list[Callable[[Tensor, Draws], Tensor]] = [
        lambda x, own: noise(x, own.uniform(15, 35), own),
        lambda x, own: band(x, own.uniform(0, 0), own.uniform(0.25, 0.9)),
        lambda x, own: band(x, own.uniform(0, 300) / (rate / 2), own.uniform(2, 2)),
        lambda x, own: resample(x, own.uniform(0.5, 0.9)),
        lambda x, own: gain(x, own.uniform(0.2, 1.0)),
        lambda x, _: compand(x),
        lambda x, own: echo(x, own.uniform(0.01, 0.1) * rate, own.uniform(0.1, 0.4)),
        lambda x, own: reverberate(x, own.uniform(0.1, 0.4) * rate, own.uniform(0.1, 0.4), own),
        lambda x, own: shift(x, own.uniform(-0.075, 0.075) * rate),
        lambda x, own: crop(x, own.uniform(0.67, 1.0), own),
        lambda x, own: smooth(x, own.uniform(2, 5).floor()),
        lambda x, own: silence(x, own.uniform(0.8, 1.0), own),
    ]

    def on(layer: Callable[[Tensor, Draws], Tensor], rows: slice, own: Draws) -> Tensor:
        return layer(sounds[rows], own)

    # Runs of the batch, not a draw per sound: the shares are then always the same, and sounds
    # within a batch are exchangeable anyway.
    clean = draws.count // 5
    sizes = [(draws.count - clean + i) // len(layers) for i in range(len(layers))]
    kept = (clean, lambda rows, _: sounds[rows])
    treated = [(size, partial(on, layer)) for size, layer in zip(sizes, layers, strict=True)]
    return dealt(draws, [kept, *treated])


def noise(sounds: Tensor, snr_db: Tensor, draws: Draws) -> Tensor:
    """Sounds ``(N, C, T)`` plus white Gaussian noise, so many dB ``(N,)`` below each."""
    grain = draws.normal(sounds.shape[1:]).to(sounds)
    level = sounds.detach().square().mean((1, 2)).sqrt() * 10 ** (-snr_db.to(sounds) / 20)
    return sounds + grain * level[:, None, None]


def band(sounds: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Sounds without what lies outside a band: Butterworth filters of order 6 without delay.

    Args:
        sounds: ``(N, C, T)``.
        low: ``(N,)`` where 3 dB are lost below, as a share of half the sampling rate; 0 = nowhere.
        high: ``(N,)`` where 3 dB are lost above; 2 and more = nearly nowhere.
    """
    length = sounds.shape[-1]
    share = torch.linspace(0, 1, length + 1, device=sounds.device).clamp_min(1e-9)
    below, above = (edge.to(sounds)[:, None, None] for edge in (low, high))
    kept = (1 + (share / above) ** (2 * _ORDER)).rsqrt()
    kept = kept * (1 + (below / share) ** (2 * _ORDER)).rsqrt()
    return _filtered(sounds, kept)


def resample(sounds: Tensor, share: Tensor) -> Tensor:
    """Sounds ``(N, C, T)`` at so much ``(N,)`` of their rate, and back (by their spectra)."""
    length = sounds.shape[-1]
    spectrum = torch.fft.rfft(sounds)
    places = torch.arange(spectrum.shape[-1], device=sounds.device)
    kept = places < (share.to(sounds.device) * length).round()[:, None, None] / 2
    made: Tensor = torch.fft.irfft(spectrum * kept, n=length)
    return made


def gain(sounds: Tensor, factor: Tensor) -> Tensor:
    """Sounds ``(N, C, T)`` times a factor ``(N,)``, clipped to [-1, 1]."""
    return (sounds * factor.to(sounds)[:, None, None]).clamp(-1, 1)


def compand(sounds: Tensor) -> Tensor:
    """Sounds through 8 bits by the µ-law, with the gradient of the identity."""
    values = sounds.detach().clamp(-1, 1)
    levels = ((values.abs() * _MU).log1p() / math.log1p(_MU) * 127).round() / 127
    coded = ((levels * math.log1p(_MU)).expm1() / _MU) * values.sign()
    return sounds + (coded - sounds).detach()


def echo(sounds: Tensor, delay: Tensor, decay: Tensor) -> Tensor:
    """Sounds with themselves so many samples ``(N,)`` later, at so much ``(N,)`` of the level."""
    return sounds + decay.to(sounds)[:, None, None] * shift(sounds, delay)


def reverberate(sounds: Tensor, decay: Tensor, wet: Tensor, draws: Draws) -> Tensor:
    """Sounds with the reverberation of a room: noise that dies out, of an energy of its own.

    Args:
        sounds: ``(N, C, T)``.
        decay: ``(N,)`` samples until it has lost 60 dB.
        wet: ``(N,)`` level of what the room adds, the sound itself having 1.
        draws: of these sounds; on the CPU.
    """
    length = sounds.shape[-1]
    response = draws.normal((1, length)).to(sounds)
    ages = torch.arange(length, device=sounds.device)
    response = response * 10 ** (-3 * ages / decay.to(sounds)[:, None, None])
    response[..., 0] = 0
    response = response / response.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-9)
    room = _filtered(sounds, torch.fft.rfft(response, n=2 * length))
    return sounds + wet.to(sounds)[:, None, None] * room


def shift(sounds: Tensor, samples: Tensor) -> Tensor:
    """Sounds ``(N, C, T)`` so many whole samples ``(N,)`` later; less than 0 = earlier."""
    places = torch.arange(sounds.shape[-1], device=sounds.device)
    return _taken(sounds, places - samples.to(sounds.device).round().long()[:, None])


def crop(sounds: Tensor, keep: Tensor, draws: Draws) -> Tensor:
    """A part of each sound from a random place on, moved to the front.

    Args:
        sounds: ``(N, C, T)``.
        keep: ``(N,)`` share of the length that is kept.
        draws: of these sounds; on the CPU.
    """
    start, end = _span(sounds, keep, draws)
    places = torch.arange(sounds.shape[-1], device=sounds.device) + start
    return _taken(sounds, torch.where(places < end, places, -1))


def silence(sounds: Tensor, keep: Tensor, draws: Draws) -> Tensor:
    """Sounds ``(N, C, T)`` with silence at a random place, so that a share ``(N,)`` is kept."""
    start, end = _span(sounds, 1 - keep, draws)
    places = torch.arange(sounds.shape[-1], device=sounds.device)
    return sounds * ((places < start) | (places >= end))[:, None]


def smooth(sounds: Tensor, width: Tensor) -> Tensor:
    """Sounds ``(N, C, T)``, each sample the mean of so many ``(N,)`` from it on."""
    most = int(width.max())
    kernels = (torch.arange(most) < width[:, None]).to(sounds) / width.to(sounds)[:, None]
    rows = F.pad(sounds.transpose(0, 1), (0, most - 1))
    return F.conv1d(rows, kernels[:, None], groups=len(sounds)).transpose(0, 1)


def speed(sounds: Tensor, factor: Tensor) -> Tensor:
    """Sounds ``(N, C, T)`` played so many times ``(N,)`` as fast: shorter and higher above 1.

    Samples in between are sums of 32 under a windowed sinc, whose band ends where the new one does.
    """
    length = sounds.shape[-1]
    faster = factor.to(sounds)[:, None]
    places = torch.arange(length, device=sounds.device) * faster
    first = places.floor().long() - _TAPS + 1
    cutoff = (1 / faster).clamp_max(1)
    made = torch.zeros_like(sounds)
    for tap in range(2 * _TAPS):
        away = places - (first + tap)
        weight = cutoff * torch.sinc(away * cutoff) * torch.cos(away / _TAPS * math.pi / 2) ** 2
        made = made + _taken(sounds, first + tap) * weight[:, None]
    return made


def _filtered(sounds: Tensor, response: Tensor) -> Tensor:
    """Sounds ``(N, C, T)`` times a spectrum ``(N, 1, T + 1)``, without meeting their own ends."""
    length = sounds.shape[-1]
    spectrum = torch.fft.rfft(sounds, n=2 * length)
    made: Tensor = torch.fft.irfft(spectrum * response, n=2 * length)
    return made[..., :length]


def _span(sounds: Tensor, share: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Where a part of each sound begins and ends, ``(N, 1)`` samples, at a random place."""
    length = sounds.shape[-1]
    size = (share * length).round()
    start = (draws.uniform() * (length - size)).floor()
    edges = start[:, None], (start + size)[:, None]
    return edges[0].long().to(sounds.device), edges[1].long().to(sounds.device)


def _taken(sounds: Tensor, places: Tensor) -> Tensor:
    """The samples at places ``(N, T)`` of sounds ``(N, C, T)``; 0 outside."""
    length = sounds.shape[-1]
    inside = (places >= 0) & (places < length)
    taken = sounds.gather(2, places.clamp(0, length - 1)[:, None].expand_as(sounds))
    return taken * inside[:, None]
