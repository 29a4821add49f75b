"""Sounds: 16-bit PCM, compared by SNR, damaged by what changes in their log spectrum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fpbench.api import Card, Modality, NoParams, SampleInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module


class Audio(Modality[NoParams]):
    """int16 (N, C, T), C channels of T samples at `SampleInfo.rate`."""

    name = "audio"
    version = "1"
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

    def features(self, device: torch.device) -> Module:
        """64: mean and spread of 32 log-mel bands."""
        from fpbench.nn.sound_features import SoundStatistics

        return SoundStatistics().to(device)

    def show(self, samples: Tensor) -> tuple[str, bytes]:
        """A PNG with the spectrograms side by side, low frequencies below, 80 dB from black."""
        import cv2
        import numpy as np

        from fpbench.builtin.audio.spectrogram import spectrogram

        ok, data = cv2.imencode(".png", spectrogram(samples), [cv2.IMWRITE_PNG_COMPRESSION, 9])
        assert ok
        return "image/png", np.asarray(data).tobytes()


def _snr(before: Tensor, after: Tensor) -> Tensor:
    from fpbench.nn.sound_quality import snr

    return snr(before, after)


def _si_snr(before: Tensor, after: Tensor) -> Tensor:
    from fpbench.nn.sound_quality import si_snr

    return si_snr(before, after)
