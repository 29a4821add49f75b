"""Sounds: 16-bit PCM, compared by SNR, damaged by what changes in their log spectrum."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, Modality, NoParams, SampleInfo

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn import Module

# Mirrors what counts at most: sounds that have nothing in common are told as -99 dB.
_FAINTEST = -99.0


class Audio(Modality[NoParams]):
    """int16 (N, C, T), C channels of T samples at `SampleInfo.rate`."""

    name = "audio"
    version = "1"
    # White noise at an SNR of about 23 dB, or what a low-pass at 1.5 kHz leaves of speech; MP3 and
    # Opus at usual rates do half of it at most.
    sample_budget = 8.0
    titles = MappingProxyType(
        {
            "snr": ("SNR", "dB"),
            "si-snr": ("SI-SNR", "dB"),
            "distance": ("log-spectral distance", "dB"),
            "frechet-proxy": ("Fréchet sound distance", ""),
        }
    )
    Params = NoParams
    card = Card(
        "Sounds",
        "SNR; SI-SNR (Le Roux et al. 2019); log-spectral distance (Gray and Markel 1976)",
        "Apache-2.0",
        "16-bit sounds, compared by SNR, SI-SNR and the distance of their log spectra.",
    )

    def check(self, who: str, samples: object, count: int, info: SampleInfo) -> Tensor:
        """See `Modality.check`."""
        from fpbench.api.samples import check_samples

        return check_samples(who, "sounds", samples, count, info)

    def to_float(self, samples: Tensor) -> Tensor:
        """See `fpbench.api.sounds.to_float`."""
        from fpbench.api.sounds import to_float

        return to_float(samples)

    def to_file(self, samples: Tensor) -> Tensor:
        """See `fpbench.api.sounds.to_int16`."""
        from fpbench.api.sounds import to_int16

        return to_int16(samples)

    @property
    def likeness(self) -> Mapping[str, Callable[[Tensor, Tensor], Tensor]]:
        """SNR and SI-SNR in dB."""
        return {"snr": _snr, "si-snr": _si_snr}

    def damage(self, before: Tensor, after: Tensor) -> Tensor:
        """Log-spectral distance in dB."""
        from fpbench.nn.sound_quality import log_spectral_distance

        return log_spectral_distance(before, after)

    def features(self, device: torch.device, info: SampleInfo) -> Module:
        """64 of the small network that comes with fpbench."""
        from fpbench.nn.sound_features import SoundFeatures

        assert info.rate is not None
        return SoundFeatures(info.rate).to(device)

    def digest(self) -> str:
        """Of that network's weights."""
        # Plans are made without torch, which the network's own module needs.
        file = resources.files("fpbench.nn") / "sound_features.safetensors"
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def show(self, samples: NDArray[Any]) -> tuple[str, bytes]:
        """A PNG with the spectrograms side by side, low frequencies below, 80 dB from black."""
        import cv2
        import numpy as np

        from fpbench.builtin.audio.showing import spectrogram

        ok, data = cv2.imencode(".png", spectrogram(samples), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        assert ok
        return "image/png", np.asarray(data).tobytes()

    def play(self, samples: NDArray[Any], info: SampleInfo) -> bytes:
        """16-bit, with a short pause after each."""
        from fpbench.builtin.audio.showing import wav

        assert info.rate is not None
        return wav(samples, info.rate)


def _snr(before: Tensor, after: Tensor) -> Tensor:
    from fpbench.nn.sound_quality import snr

    return snr(before, after).clamp_min(_FAINTEST)


def _si_snr(before: Tensor, after: Tensor) -> Tensor:
    from fpbench.nn.sound_quality import si_snr

    return si_snr(before, after).clamp_min(_FAINTEST)
