import numpy as np
import pytest
import torch
from scipy import signal

from fpbench.nn.sound_quality import log_spectral_distance, si_snr, snr

MEASURES = (snr, si_snr, log_spectral_distance)


@pytest.fixture
def pair():
    dice = np.random.default_rng(0)
    first = dice.normal(0, 4000, (4, 2, 3000)).round().astype(np.int16)
    second = (
        0.7 * first + dice.normal(0, [[[10]], [[100]], [[1000]], [[3000]]], first.shape)
    ).round()
    return torch.from_numpy(first), torch.from_numpy(second.astype(np.int16))


def test_snr_is_the_ratio_of_powers(pair):
    a, b = (x.numpy().astype(float) for x in pair)
    expected = 10 * np.log10((a**2).sum(axis=(1, 2)) / ((a - b) ** 2).sum(axis=(1, 2)))
    np.testing.assert_allclose(snr(*pair), expected, rtol=1e-12)


def test_si_snr_is_snr_after_the_best_gain(pair):
    a, b = (x.numpy().astype(float) for x in pair)
    for index, found in enumerate(si_snr(*pair)):
        x, y = ((z[index] - z[index].mean(axis=1, keepdims=True)).ravel() for z in (a, b))
        (gain,), *_ = np.linalg.lstsq(x[:, None], y, rcond=None)
        expected = 20 * np.log10(np.linalg.norm(gain * x) / np.linalg.norm(y - gain * x))
        assert found == pytest.approx(expected, abs=1e-9)


def test_log_spectral_distance_is_that_of_numpys_spectra(pair):
    a, b = (x.numpy().astype(float) for x in pair)
    window = signal.windows.hann(512, sym=False)

    def power(x):
        padded = np.pad(x, ((0, 0), (0, 0), (256, 256)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, 512, axis=2)[:, :, ::128]
        return np.abs(np.fft.rfft(frames * window)) ** 2

    first, second = power(a), power(b)
    floor = first.max(axis=(1, 2, 3), keepdims=True) * 1e-6
    levels = [10 * np.log10(np.maximum(x, floor)) for x in (first, second)]
    expected = np.sqrt(((levels[0] - levels[1]) ** 2).mean(axis=3)).mean(axis=(1, 2))
    np.testing.assert_allclose(log_spectral_distance(*pair), expected, rtol=1e-9)


def test_equal_sounds_and_silence_have_their_limits(pair):
    sound, silence = pair[0], torch.zeros_like(pair[0])
    for same in (sound, silence):
        assert snr(same, same).isposinf().all()
        assert si_snr(same, same).isposinf().all()
        assert (log_spectral_distance(same, same) == 0).all()
    for before, after in ((sound, silence), (silence, sound)):
        assert (snr(before, after) <= 0).all()
        assert si_snr(before, after).isneginf().all()
        assert log_spectral_distance(before, after).isfinite().all()
    one = torch.full((1, 1, 1), 5, dtype=torch.int16)
    assert log_spectral_distance(one, one) == 0


def test_half_the_level_is_6_decibels_away(pair):
    quiet = (pair[0] // 2 * 2, pair[0] // 2)
    torch.testing.assert_close(
        log_spectral_distance(*quiet), torch.full((4,), 6.02, dtype=torch.float64), atol=0.1, rtol=0
    )
    assert (si_snr(*quiet) > 60).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_other_batches_are_refused(measure, pair):
    with pytest.raises(ValueError, match=r"expected int16 sounds, got torch\.float32"):
        measure(pair[0].float(), pair[1])
    with pytest.raises(ValueError, match="expected two equal shapes"):
        measure(pair[0], pair[1][:, :1])
