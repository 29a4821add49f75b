"""Spectra against numpy, librosa's definition of mel by hand, and their gradients."""

import numpy as np
import pytest
import torch

from fpbench.nn.spectra import FLOOR, framed, log_mel, magnitudes, mel_bank, spectral_loss

RATE = 8000


@pytest.fixture(scope="module")
def waves():
    return torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (3, 1024))).float()


def test_a_frame_lies_about_the_middle_of_its_hop(waves):
    frames = framed(waves, 256, 64)
    assert frames.shape == (3, 16, 256)
    assert torch.equal(frames[:, 5], waves[:, 5 * 64 - 96 : 5 * 64 + 160])
    assert torch.equal(frames[:, 0, :96], torch.zeros(3, 96))


def test_magnitudes_are_those_of_numpy(waves):
    frames = framed(waves, 256, 64).double().numpy()
    window = np.sin(np.pi * np.arange(256) / 256) ** 2
    expected = np.abs(np.fft.rfft(frames * window / np.linalg.norm(window)))
    assert np.allclose(magnitudes(waves, 256, 64), expected, atol=2e-6)


def test_white_noise_has_its_mean_square_in_each_bin():
    waves = torch.from_numpy(np.random.default_rng(1).normal(0, 0.2, (40, 4096))).float()
    power = magnitudes(waves, 128, 128)[:, 2:-2].square().mean((0, 1))
    assert torch.allclose(power[2:-2], torch.full((61,), 0.04), rtol=0.15)


def test_bands_are_even_in_mel_and_sum_to_one():
    bank = mel_bank(RATE, 512, 20)
    assert bank.shape == (257, 20)
    assert torch.allclose(bank.sum(0), torch.ones(20))
    peaks = bank.argmax(0) * RATE / 512
    mels = 2595 * (1 + peaks / 700).log10()
    assert (mels.diff() - mels.diff().mean()).abs().max() < 30  # to within a bin
    narrow = mel_bank(RATE, 64, 40)  # more bands than bins at low frequencies
    assert torch.allclose(narrow.sum(0), torch.ones(40))


def test_a_tone_is_in_its_band():
    tone = 0.1 * torch.cos(2 * torch.pi * 1000 * torch.arange(1024) / RATE)
    bank = mel_bank(RATE, 256, 20)
    spectrum = log_mel(tone[None], bank, 64)
    assert spectrum.shape == (1, 16, 20)
    assert spectrum[0, 8].argmax() == bank[round(1000 * 256 / RATE)].argmax()
    silence = log_mel(torch.zeros(1, 1024), bank, 64)
    assert torch.allclose(silence, torch.tensor(FLOOR).log(), atol=2e-3)


def test_loss_is_zero_for_equal_sounds_and_blind_to_polarity(waves):
    assert spectral_loss(waves, waves) == 0
    assert spectral_loss(waves, -waves) < 1e-6
    assert spectral_loss(waves, 0.5 * waves) < spectral_loss(waves, 0.1 * waves)


def test_gradients_are_finite_at_silence():
    silence = torch.zeros(2, 512, requires_grad=True)
    spectral_loss(silence, torch.zeros(2, 512)).backward()
    assert silence.grad.isfinite().all()
