"""Embedder and extractor of `hidden-audio`, after AudioSeal, on short-time spectra.

N sounds of C channels with T samples; F frequencies and S frames of a spectrum; B bands, a quarter
of the frequencies; K bits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpbench.nn.channels import Channels, inputs, outputs

__all__ = ["Embedder", "Reader"]

_BAND = 4  # frequencies
_AROUND = 17  # frequencies and frames that a magnitude is measured against
_FLOOR = 0.03  # of the mean magnitude; what is fainter looks alike
_TINY = 1e-8


class Embedder(nn.Module):
    """Turns parts of a sound's spectrum up and down.

    Maps of the sound, the carriers, are weighted by sums of patterns over bands, one for each bit
    and carrier: so the code is the same at every time, as in AudioSeal, where it is added to the
    features, and the change is linear in the bits before it is bounded. What is added is at most so
    loud as asked for, sound by sound.

    Args:
        bits: K.
        frame: samples of a window of the spectrum.
        channels: of its convolutions.
        carriers: maps.
        snr_db: least ratio of a sound to what is added.
    """

    def __init__(
        self, *, bits: int, frame: int, channels: int, carriers: int, snr_db: float
    ) -> None:
        super().__init__()
        self.frame = frame
        self.share = 10 ** (-snr_db / 20)
        self.counts = channels, carriers
        self.bands = _bands(frame)
        self.spread = nn.Linear(bits, carriers * self.bands, bias=False)
        nn.init.normal_(self.spread.weight, std=bits**-0.5)
        self.maps = nn.Sequential(
            nn.Conv2d(2, channels, (2 * _BAND + 1, 5), stride=(_BAND, 2), padding=(_BAND, 2)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels, 3, stride=(1, 2), padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, carriers, 3, padding=1),
        )
        self.register_buffer("window", torch.hann_window(frame), persistent=False)

    def forward(self, sounds: Tensor, codes: Tensor, boost_db: float = 0.0) -> Tensor:
        """Marked sounds ``(N, C, T)`` from sounds in [-1, 1] and codes ``(N, K)`` bool.

        Args:
            sounds: to be marked.
            codes: of each.
            boost_db: so much louder, in training.
        """
        window = self.get_buffer("window")
        spectra = _spectra(sounds, window)
        count = sounds.shape[1]
        seen = _seen(spectra.abs(), sounds)
        signs = (codes.to(sounds.dtype) * 2 - 1).repeat_interleave(count, 0)
        weights = self.spread(signs).view(len(signs), -1, self.bands, 1)
        change = (self.maps(seen) * weights).sum(1, keepdim=True)
        change = change / (change.square().mean((1, 2, 3), keepdim=True) + _TINY).sqrt()
        gains = functional.interpolate(
            change, size=spectra.shape[1:], mode="bilinear", align_corners=True
        )
        added = torch.istft(
            spectra * torch.tanh(gains[:, 0].float()),
            self.frame,
            self.frame // 4,
            window=window,
            length=sounds.shape[-1],
        ).view_as(sounds)
        most = self.share * 10 ** (boost_db / 20) * _size(sounds)
        return sounds + added * (most / _size(added)).clamp_max(1)

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels; see `fpbench.nn.channels`."""
        count, carriers = self.counts
        first, second, last = self.maps[0], self.maps[2], self.maps[4]
        # A carrier that is twice as large, with patterns half as large, is the same.
        patterns = outputs("spread", self.spread, power=-1, width=self.bands)
        made = (*outputs("maps.4", last), *patterns)
        return (
            Channels(count, (*outputs("maps.0", first), inputs("maps.2")), positive=True),
            Channels(count, (*outputs("maps.2", second), inputs("maps.4")), positive=True),
            Channels(carriers, made, positive=True, negative=True),
        )


class Reader(nn.Module):
    """Reads the bits of every moment, and which moments to believe, from a sound's spectrum.

    Args:
        bits: K.
        frame: samples of a window of the spectrum.
        channels: of its first convolution.
    """

    def __init__(self, *, bits: int, frame: int, channels: int) -> None:
        super().__init__()
        wide, features = channels * 3 // 2, channels * 6
        self.net = nn.Sequential(
            nn.Conv2d(2, channels, (2 * _BAND + 1, 5), stride=(_BAND, 2), padding=(_BAND, 2)),
            nn.GroupNorm(4, channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, wide, 3, stride=(1, 2), padding=1),
            nn.GroupNorm(4, wide),
            nn.LeakyReLU(0.2),
            nn.Conv2d(wide, wide, 3, padding=1),
            nn.GroupNorm(4, wide),
            nn.LeakyReLU(0.2),
        )
        self.head = nn.Sequential(
            nn.Conv1d(wide * _bands(frame), features, 1),
            nn.LeakyReLU(0.2),
            nn.Conv1d(features, bits + 1, 1),
        )
        self.register_buffer("window", torch.hann_window(frame), persistent=False)

    def forward(self, sounds: Tensor) -> Tensor:
        """Logits ``(N, K)`` of sounds ``(N, C, T)`` in [-1, 1], means over their channels."""
        spectra = _spectra(sounds, self.get_buffer("window"))
        moments = self.head(self.net(_seen(spectra.abs(), sounds)).flatten(1, 2))
        belief = torch.softmax(moments[:, -1:], -1)
        logits = (moments[:, :-1] * belief).sum(-1)
        mean: Tensor = logits.view(*sounds.shape[:2], -1).mean(1)
        return mean


def _bands(frame: int) -> int:
    return frame // 2 // _BAND + 1


def _spectra(sounds: Tensor, window: Tensor) -> Tensor:
    """``(N * C, F, S)`` complex."""
    frame = len(window)
    return torch.stft(
        sounds.flatten(0, 1).float(),
        frame,
        frame // 4,
        window=window,
        pad_mode="constant",
        return_complex=True,
    )


def _seen(magnitudes: Tensor, sounds: Tensor) -> Tensor:
    """``(N * C, 2, F, S)``: logarithms of magnitudes, as they are and against those around them."""
    level = _size(sounds).flatten()[:, None, None] / sounds.shape[-1] ** 0.5
    frame = 2 * (magnitudes.shape[1] - 1)
    relative = magnitudes / (level * frame**0.5 / 2)
    logs = torch.log(relative + _FLOOR)[:, None]
    around = functional.avg_pool2d(logs, _AROUND, 1, _AROUND // 2, count_include_pad=False)
    return torch.cat([logs, logs - around], 1)


def _size(sounds: Tensor) -> Tensor:
    """``(N, C, 1)``, the norm of each channel."""
    return (sounds.square().sum(-1, keepdim=True) + _TINY).sqrt()
