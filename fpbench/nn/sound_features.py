"""The feature space of sounds' own Fréchet distance, on every machine without any download.

A small network on log-mel spectra that was trained on synthesised digits, to tell what is said, by
whom, how high, and what was done to the sound. No published network, and not comparable with one.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fpbench.api.sounds import to_float
from fpbench.nn.spectra import mel_bank

__all__ = ["SOUND_FEATURES_FILE", "LogMel", "SoundFeatureNetwork", "SoundFeatures"]

SOUND_FEATURES_FILE = Path(__file__).with_name("sound_features.safetensors")
_BANDS, _HIGHEST_HZ = 40, 4000.0
_WINDOW_S, _HOP_S = 0.032, 0.008


class LogMel(nn.Module):
    """(N, T) float in [-1, 1] -> (N, bands, frames): log10 of the power in bands.

    A full-scale sine has power 1 in its own bin, whatever the window.

    Args:
        rate: of the sound, hertz.
        bands: number of bands.
        window: samples of the Hann window.
        hop: samples from one window to the next; frames are 1 + T // hop.
        highest: frequency where the last band ends, hertz; None = half of the rate.
        floor: power that is added to every band.
    """

    def __init__(
        self,
        rate: int,
        bands: int,
        window: int,
        hop: int,
        highest: float | None = None,
        floor: float = 1e-6,
    ) -> None:
        super().__init__()
        self.window, self.hop, self.floor = window, hop, floor
        self.register_buffer("shape", torch.hann_window(window) * (4 / window), persistent=False)
        self.register_buffer("bank", mel_bank(rate, window, bands, highest), persistent=False)

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
        bands: Tensor = power.transpose(1, 2) @ self.get_buffer("bank") + self.floor
        return bands.log10().transpose(1, 2)


class SoundFeatures(nn.Module):
    """(N, C, T) int16 -> (N, 64) float32, of a small network trained on synthesised digits.

    Trained by `scripts/train_sound_features.py`. Clean clips have mean 0; the mean of their
    covariance and that of distorted ones is I. Channels are mixed down; what is heard goes up to
    4 kHz, in windows of 32 ms, so a sound has nearly the same features at every rate from 8 kHz up.

    Args:
        rate: of the sounds, hertz.
    """

    def __init__(self, rate: int) -> None:
        super().__init__()
        self.network = SoundFeatureNetwork(rate)
        stored = load_file(SOUND_FEATURES_FILE)
        self.network.load_state_dict({name: value.float() for name, value in stored.items()})
        self.requires_grad_(requires_grad=False)
        self.eval()

    @torch.no_grad()
    def forward(self, sounds: Tensor) -> Tensor:
        """Features of int16 sounds."""
        features: Tensor = self.network(to_float(sounds).mean(dim=1))
        return features


class SoundFeatureNetwork(nn.Module):
    """(N, T) float in [-1, 1] -> (N, 64): a log-mel spectrum, six convolutions, one linear map.

    What reaches the map: of some layers mean and spread over the spectrum, which hear timbre and
    noise; of the last also the means of four parts of the time, which hear what comes when.

    Args:
        rate: of the sounds, hertz.
    """

    # Inputs, outputs, stride; kernels have a side of 3.
    _LAYERS = ((1, 12, 1), (12, 20, 2), (20, 28, 1), (28, 40, 2), (40, 48, 1), (48, 48, 2))
    _SEEN = (0, 2, 5)
    _PARTS = 4

    def __init__(self, rate: int) -> None:
        super().__init__()
        window, hop = round(rate * _WINDOW_S), round(rate * _HOP_S)
        highest = min(_HIGHEST_HZ, rate / 2)
        self.spectrum = LogMel(rate, _BANDS, window, hop, highest)
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1)
            for inputs, outputs, stride in self._LAYERS
        )
        last = self._LAYERS[-1][1]
        pooled = sum(2 * self._LAYERS[index][1] for index in self._SEEN) + self._PARTS * last
        self.mix = nn.Linear(pooled, 64)

    def forward(self, sounds: Tensor) -> Tensor:
        """Features of float sounds of one channel."""
        features: Tensor = self.mix(self.pooled(sounds))
        return features

    def pooled(self, sounds: Tensor) -> Tensor:
        """(N, P): what the linear map gets."""
        # From silence to full scale: about -1.5 to 1.5.
        x, parts = self.spectrum(sounds)[:, None] / 2 + 1.5, []
        for index, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if index in self._SEEN:
                mean = x.mean(dim=(2, 3))
                variance = x.square().mean(dim=(2, 3)) - mean.square()
                # The floor keeps the gradient finite where a channel is flat.
                parts += [mean, variance.clamp_min(1e-4).sqrt()]
        parts.append(F.adaptive_avg_pool2d(x, (1, self._PARTS)).flatten(1))
        return torch.cat(parts, dim=1)
