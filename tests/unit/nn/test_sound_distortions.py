import math

import numpy as np
import pytest
import torch
from scipy import signal

from fpbench.nn import sound_distortions as sd
from fpbench.nn.draws import Draws

RATE = 8000


def _draws(count, places=slice(None)):
    return Draws(torch.Generator().manual_seed(3), count, places)


def _sounds(count=4, length=1001, channels=1):
    rng = np.random.default_rng(5)
    return torch.from_numpy(rng.uniform(-0.5, 0.5, (count, channels, length))).float()


def _sine(share, length=4000):
    return torch.sin(math.pi * share * torch.arange(length))[None, None]


def _level(sound):
    """Of a sine, away from its ends."""
    middle = sound[..., 1000:-1000]
    return float(middle.square().mean().sqrt() * math.sqrt(2))


def test_noise_lies_so_far_below_each_sound():
    sounds = _sounds(3, 8000) * torch.tensor([1.0, 0.1, 0.5])[:, None, None]
    asked = torch.tensor([10.0, 20.0, 30.0])
    change = sd.noise(sounds, asked, _draws(3)) - sounds
    found = 10 * torch.log10(sounds.square().mean((1, 2)) / change.square().mean((1, 2)))
    torch.testing.assert_close(found, asked, atol=0.2, rtol=0)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.7])
def test_a_band_is_that_of_butterworth(share):
    low, high = torch.tensor([0.2]), torch.tensor([0.6])
    expected = 1.0
    for kind, edge in (("high", 0.2), ("low", 0.6)):
        filter_ = signal.butter(6, edge, kind, analog=True)
        expected *= abs(signal.freqs(*filter_, worN=[share])[1][0])
    assert _level(sd.band(_sine(share), low, high)) == pytest.approx(expected, abs=2e-3)


def test_no_edges_keep_a_sound():
    sounds = _sounds()
    kept = sd.band(sounds, torch.zeros(4), torch.full((4,), 1e6))
    torch.testing.assert_close(kept, sounds, atol=1e-5, rtol=0)


def test_another_rate_and_back_is_that_of_scipy():
    sounds = _sounds(2)
    found = sd.resample(sounds, torch.tensor([501 / 1001, 901 / 1001])).numpy()
    for sound, made, count in zip(sounds.numpy(), found, (501, 901), strict=True):
        other = signal.resample(signal.resample(sound, count, axis=-1), 1001, axis=-1)
        np.testing.assert_allclose(made, other, atol=1e-5)


def test_gains_are_clipped():
    made = sd.gain(torch.tensor([[[0.25, -0.75]]]), torch.tensor([2.0]))
    assert made.tolist() == [[[0.5, -1.0]]]


def test_companding_has_the_levels_of_the_law_and_passes_gradients():
    sounds = torch.linspace(-1, 1, 20_001)[None, None].requires_grad_(True)
    coded = sd.compand(sounds)
    levels = torch.unique(coded.detach())
    assert len(levels) == 255
    law = torch.sign(levels) * torch.log1p(255 * levels.abs()) / math.log(256)
    torch.testing.assert_close(law * 127, torch.arange(-127.0, 128), atol=1e-3, rtol=0)
    coded.sum().backward()
    assert torch.equal(sounds.grad, torch.ones_like(sounds))


def test_an_echo_and_a_shift_are_whole_samples_later():
    sounds, delays = _sounds(3), torch.tensor([0.0, 30.4, 2000.0])
    moved = sd.shift(sounds, torch.tensor([0.0, 30.4, -7.0]))
    assert torch.equal(moved[0], sounds[0])
    assert torch.equal(moved[1, :, 30:], sounds[1, :, :-30])
    assert torch.equal(moved[2, :, :-7], sounds[2, :, 7:])
    assert not moved[1, :, :30].any()
    assert not moved[2, :, -7:].any()
    made = sd.echo(sounds, delays, torch.tensor([0.5, 0.5, 0.5]))
    torch.testing.assert_close(made[0], 1.5 * sounds[0])
    torch.testing.assert_close(made[1, :, 30:], sounds[1, :, 30:] + 0.5 * sounds[1, :, :-30])
    assert torch.equal(made[2], sounds[2])


def test_a_room_answers_behind_a_click_and_dies_out():
    click = torch.zeros(1, 2, 4000)
    click[..., 100] = 1
    made = sd.reverberate(click, torch.tensor([1000.0]), torch.tensor([0.5]), _draws(1))
    assert not made[..., :100].abs().gt(1e-6).any()
    tail = made[0, 0, 101:]
    assert float(tail.square().sum()) == pytest.approx(0.25, rel=0.01)
    assert float(tail[1000:].square().sum()) < 2e-6 * float(tail.square().sum())
    torch.testing.assert_close(made[:, 0], made[:, 1])  # one room


def test_a_crop_comes_to_the_front_and_silence_lies_within():
    sounds = 1 + torch.arange(1000.0).expand(8, 1, 1000)
    kept = sd.crop(sounds, torch.full((8,), 0.7), _draws(8))
    assert not kept[..., 700:].any()
    starts = kept[:, 0, 0]
    torch.testing.assert_close(kept[..., :700], starts[:, None, None] + torch.arange(700.0))
    assert len(set(starts.tolist())) > 4
    silent = sd.silence(sounds, torch.full((8,), 0.9), _draws(8)) == 0
    assert (silent.sum(-1) == 100).all()
    assert ((silent[..., 1:] != silent[..., :-1]).sum(-1) <= 2).all()


def test_a_mean_is_that_of_the_samples_from_there_on():
    sounds = _sounds(2, channels=2)
    made = sd.smooth(sounds, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(made[0], sounds[0])
    expected = (sounds[1, :, :-2] + sounds[1, :, 1:-1] + sounds[1, :, 2:]) / 3
    torch.testing.assert_close(made[1, :, :-2], expected)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_speed_moves_a_tone_and_its_end(factor):
    time = torch.arange(4000)
    hann = torch.hann_window(4000)
    made = sd.speed((hann * torch.sin(0.4 * time))[None, None], torch.tensor([factor]))[0, 0]
    played = time * factor
    shape = torch.where(played < 4000, torch.sin(math.pi * played / 4000) ** 2, 0)
    torch.testing.assert_close(made, shape * torch.sin(0.4 * played), atol=1e-3, rtol=0)


def test_what_a_faster_sound_has_no_room_for_is_gone():
    assert _level(sd.speed(_sine(0.95), torch.tensor([1.5]))[..., :2600]) < 0.01


def test_disturbing_keeps_a_fifth_clean_and_passes_gradients():
    sounds = _sounds(20, 4000).requires_grad_(True)
    made = sd.disturb(sounds, RATE, _draws(20))
    changed = (made - sounds).abs().flatten(1).amax(1) > 1e-6
    assert changed.tolist() == [False] * 4 + [True] * 16
    made.sum().backward()
    assert sounds.grad.flatten(1).abs().sum(1).gt(0).all()


def test_a_sound_meets_the_same_however_the_batch_is_cut():
    sounds = _sounds(20, 2000)
    whole = sd.disturb(sounds, RATE, _draws(20))
    for piece in (slice(0, 7), slice(7, 20)):
        part = sd.disturb(sounds[piece], RATE, _draws(20, piece))
        torch.testing.assert_close(part, whole[piece], atol=1e-5, rtol=0)
