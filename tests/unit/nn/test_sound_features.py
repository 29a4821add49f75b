import numpy as np
import pytest
import torch
from scipy import signal

from fpbench import stats
from fpbench.api.sounds import to_float, to_int16
from fpbench.builtin.toy_speech.speech import speak
from fpbench.nn.sound_features import SOUND_FEATURES_FILE, LogMel, SoundFeatures
from fpbench.nn.spectra import mel_bank


def clips(first, count, rate=8000):
    return torch.from_numpy(speak(np.arange(first, first + count), rate, rate // 2))


@pytest.fixture(scope="module")
def features():
    return SoundFeatures(8000)


def test_the_file_is_small():
    assert SOUND_FEATURES_FILE.stat().st_size < 300_000


def test_distances_grow_with_damage(features):
    real = stats.moments(features(clips(20_000_000, 400)))
    sounds = clips(10_000_000, 300)

    def distance(changed):
        return stats.frechet(*stats.moments(features(changed)), *real)

    clean = distance(sounds)
    noise = torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))
    values = to_float(sounds)
    noisy = [distance(to_int16(values + level * noise)) for level in (0.003, 0.03, 0.1)]
    assert clean < noisy[0] < noisy[1] < noisy[2]
    assert noisy[2] > 10 * clean
    filters = [signal.butter(4, hertz, fs=8000, output="sos") for hertz in (3000, 1500, 600)]
    muffled = [
        distance(torch.from_numpy(signal.sosfiltfilt(each, sounds.numpy()).astype(np.int16)))
        for each in filters
    ]
    assert clean < muffled[0] < muffled[1] < muffled[2]


@pytest.mark.parametrize("shape", [(3, 1, 4096), (3, 2, 1000), (3, 1, 1)])
def test_any_length_and_silence_give_64_finite_features(features, shape):
    values = features(torch.zeros(shape, dtype=torch.int16))
    assert values.shape == (3, 64)
    assert torch.isfinite(values).all()


def test_a_sound_has_nearly_the_same_features_at_other_rates(features):
    low = torch.from_numpy(
        np.rint(signal.resample_poly(clips(5, 20, 16_000).numpy(), 1, 2, axis=2)).astype(np.int16)
    )
    one, other = features(low), SoundFeatures(16_000)(clips(5, 20, 16_000))
    spread = features(clips(5, 200)).std(dim=0)
    assert ((one - other).abs() / spread).median() < 0.5


def test_a_full_scale_sine_has_power_1_in_its_bin():
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(4096) / 8000)[None]
    bands = LogMel(8000, 129, 256, 64)(sine)
    assert bands.shape == (1, 129, 65)
    assert float(10 ** bands[0, :, 30].max()) == pytest.approx(1, abs=0.6)


def test_the_bank_is_triangles_that_sum_to_one_and_rise_in_frequency():
    bank = mel_bank(8000, 256, 40)
    assert bank.shape == (129, 40)
    torch.testing.assert_close(bank.sum(dim=0), torch.ones(40))
    middles = bank.argmax(dim=0)
    assert (middles[1:] >= middles[:-1]).all()
