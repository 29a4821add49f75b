"""A small neural codec of sounds, which an adversary trains on clean ones of his own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from fpbench.api import Context, State
from fpbench.nn.batches import alike
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import filled, part, placed, prefixed
from fpbench.training import TrainingRun
from fpbench_regeneration.passing import noise_like

__all__ = ["FACTOR", "SoundCodec", "fit", "passed"]

FACTOR = 16
_WIDTH = 16
_LEVELS = 3  # above 0, and below: 7 in all, 2.8 bits
_BATCH = 16
_RATE = 2e-3
_WINDOWS = (512, 128)
_FAINT = 1e-2  # what is added to magnitudes before their logarithm; a full-scale sine has 128
_SAMPLES_WEIGHT = 10


class SoundCodec(nn.Module):
    """Two steps to a sixteenth of the length, latents rounded to 7 levels, and back.

    Finite scalar quantisation (Mentzer et al. 2023), with the gradient of the identity.

    Args:
        inputs: channels of a sound.
        channels: of the latents.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(inputs, _WIDTH, 7, padding=3),
            nn.ReLU(),
            nn.Conv1d(_WIDTH, 2 * _WIDTH, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv1d(2 * _WIDTH, 4 * _WIDTH, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv1d(4 * _WIDTH, channels, 3, padding=1),
            nn.Tanh(),
        )
        self.decoder = nn.Sequential(
            nn.Conv1d(channels, 4 * _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose1d(4 * _WIDTH, 2 * _WIDTH, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.ConvTranspose1d(2 * _WIDTH, _WIDTH, 8, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv1d(_WIDTH, inputs, 7, padding=3),
        )

    def encode(self, sounds: Tensor) -> Tensor:
        """(N, C, T) in [-1, 1], T a multiple of 16, to (N, channels, T / 16) levels in [-1, 1]."""
        soft: Tensor = self.encoder(sounds)
        return soft + (torch.round(soft * _LEVELS) / _LEVELS - soft).detach()

    def decode(self, latents: Tensor) -> Tensor:
        """And back."""
        drawn: Tensor = self.decoder(latents)
        return drawn

    def forward(self, sounds: Tensor) -> Tensor:
        """Sounds near them."""
        return self.decode(self.encode(sounds))


def fit(sounds: Tensor, channels: int, steps: int, ctx: Context) -> State:
    """Train one on (M, C, T) int16 sounds: ``coder.*`` and ``channels``."""
    with ctx.seeded("autoencoder"):
        coder = placed(SoundCodec(sounds.shape[1], channels), ctx.device)
    optimiser = adam([(coder.parameters(), _RATE)], betas=(0.9, 0.99))
    modules, optimisers = {"coder": coder}, {"coder": optimiser}
    with TrainingRun(
        ctx, "autoencoder", steps=steps, modules=modules, optimisers=optimisers
    ) as run:
        for step in run:
            set_rates(optimiser, warm_cosine(step, steps, low=0.02))
            chosen = torch.randint(len(sounds), (_BATCH,), generator=run.rng("images"))
            heard = _whole(ctx.modality.to_float(sounds[chosen.to(sounds.device)]))
            for piece in run.pieces(_BATCH):
                loss = _apart(coder(heard[piece]), heard[piece])
                run.backward(loss, piece, _BATCH)
                run.log(loss=loss.detach())
            run.update(optimiser)
    tensors = {name: t.detach() for name, t in prefixed({"coder": coder}).items()}
    return tensors | {"channels": torch.tensor([channels], device=ctx.device)}


@torch.no_grad()
def passed(
    sounds: Tensor, passes: int, sigma: float, indices: Sequence[int], ctx: Context
) -> Tensor:
    """Sounds (N, C, T) int16 after so many passes through what `ctx.fitted` holds.

    Args:
        sounds: at least one.
        passes: at least one.
        sigma: of the noise on a sound's latents, in units of their standard deviation.
        indices: sound numbers.
        ctx: for the draws.
    """
    inputs, channels = sounds.shape[1], int(ctx.fitted["channels"])
    filled_in = filled(lambda: SoundCodec(inputs, channels), part(ctx.fitted, "coder"))
    coder = placed(filled_in, ctx.device)
    draws = [ctx.image_rng(index) for index in indices] if sigma else []
    length = sounds.shape[-1]
    for _ in range(passes):
        # As images of one row, which is what batches of one size are made of.
        whole = _whole(ctx.modality.to_float(sounds))[:, :, None]
        latents = alike(lambda rows: coder.encode(rows[:, :, 0])[:, :, None], whole)
        if draws:
            latents = latents + sigma * noise_like(latents, draws)
        heard = alike(lambda rows: coder.decode(rows[:, :, 0])[:, :, None], latents)
        sounds = ctx.modality.to_file(heard[:, :, 0, :length])
    return sounds


def _whole(sounds: Tensor) -> Tensor:
    # With silence up to the next multiple of the factor.
    return pad(sounds, (0, -sounds.shape[-1] % FACTOR))


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of samples, and of log magnitudes under two windows."""
    total = _SAMPLES_WEIGHT * (a - b).abs().mean()
    for size in _WINDOWS:
        total = total + (_log_magnitudes(a, size) - _log_magnitudes(b, size)).abs().mean()
    return total


def _log_magnitudes(sounds: Tensor, size: int) -> Tensor:
    spectrum = torch.stft(
        sounds.flatten(0, 1),
        size,
        size // 4,
        window=torch.hann_window(size, device=sounds.device),
        pad_mode="constant",
        return_complex=True,
    )
    return (spectrum.abs() + _FAINT).log()
