import numpy as np
import pytest
import torch
from fpbench_spread_spectrum.plugin import SpreadSpectrumAudio
from fpbench_spread_spectrum.spreading import Embedder, read, sequences
from pydantic import ValidationError
from scipy import signal

from fpbench.api import ContractError, SampleInfo

LENGTH = 2048


def rng():
    return torch.Generator().manual_seed(1)


@pytest.fixture(scope="module")
def drawn():
    return sequences(16, LENGTH, (0.125, 0.875), rng())


@pytest.fixture(scope="module")
def given():
    """Noise that dies out, most of it below 1 kHz of 8."""
    noise = np.random.default_rng(2).normal(size=(4, 2, LENGTH))
    coloured = signal.lfilter([1], [1, -1.6, 0.7], noise)
    return torch.from_numpy(coloured * np.linspace(1, 0.1, LENGTH) / 40).float()


@pytest.fixture(scope="module")
def codes():
    return torch.rand(4, 16, generator=rng()) < 0.5


def test_sequences_are_orthonormal_and_within_their_band(drawn):
    torch.testing.assert_close(drawn @ drawn.T, torch.eye(16), atol=1e-5, rtol=0)
    power = torch.fft.rfft(drawn).abs().square()
    assert float(power[:, :127].sum() + power[:, 898:].sum()) < 1e-6 * float(power.sum())


@pytest.mark.parametrize("snr_db", [12.0, 20.0])
def test_codes_are_read_at_the_ratio_asked_for(drawn, given, codes, snr_db):
    marked = Embedder(drawn, snr_db=snr_db)(given, codes)
    ratio = 20 * torch.log10(given.norm(dim=-1) / (marked - given).norm(dim=-1))
    torch.testing.assert_close(ratio, torch.full_like(ratio, snr_db), atol=0.05, rtol=0)
    logits = read(marked, drawn, 0)
    assert ((logits > 0) == codes).all()
    assert (read(given, drawn, 0) > 0).float().mean().item() == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("shift", [-300, -7, 0, 123])
def test_shifts_are_found(drawn, given, codes, shift):
    marked = Embedder(drawn, snr_db=15.0)(given, codes)
    moved = torch.roll(marked, shift, -1)
    assert ((read(moved, drawn, 400) > 0) == codes).float().mean() > 0.99
    if abs(shift) > 100:
        assert ((read(moved, drawn, 100) > 0) == codes).float().mean() < 0.8


def test_silence_stays_silent_and_reads_as_nothing(drawn, codes):
    silent = torch.zeros(4, 1, LENGTH)
    assert Embedder(drawn, snr_db=20.0)(silent, codes).abs().max() < 1e-4
    assert read(silent, drawn, 50).isfinite().all()


def test_gradients_pass(drawn, given, codes):
    asked = given.clone().requires_grad_(True)
    embedder = Embedder(drawn, snr_db=20.0)
    embedder(asked, codes).square().sum().backward()
    assert asked.grad.isfinite().all()
    assert embedder.sequences.grad.isfinite().all()


def info(length, rate=8000):
    return SampleInfo("audio", (1, length), "int16", {"train": 8}, rate)


def test_too_little_room_is_refused():
    method = SpreadSpectrumAudio(SpreadSpectrumAudio.Params())
    assert not method.objection(info(4096), 1)
    assert "expected at most 18 bits in a band from 500 to 3500 Hz" in method.objection(
        info(100), 1
    )
    assert "expected at most 0 bits" in method.objection(info(4096, 1000), 1)
    with pytest.raises(ValidationError, match="expected low_hz below high_hz"):
        SpreadSpectrumAudio.Params(low_hz=2000, high_hz=1000)


def test_its_copies_are_not_handed_out():
    method = SpreadSpectrumAudio(SpreadSpectrumAudio.Params())
    with pytest.raises(ContractError, match="one that holds the sequences"):
        method.embedder_of({}, None)
