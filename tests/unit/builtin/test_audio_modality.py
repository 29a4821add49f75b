"""Sounds as a modality."""

import io
import wave

import cv2
import numpy as np
import pytest
import torch

from fpbench.api import ContractError, NoParams, SampleInfo
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.toy_speech.speech import speak

AUDIO = Audio(NoParams())
INFO = SampleInfo("audio", (1, 4096), "int16", {}, rate=8000)


@pytest.fixture(scope="module")
def sounds():
    return torch.from_numpy(speak(np.arange(3), 8000, 4096))


def test_every_level_survives_the_way_to_floats_and_back():
    levels = torch.arange(-(2**15), 2**15, dtype=torch.int16).reshape(2, 2, -1)
    floats = AUDIO.to_float(levels)
    assert floats.dtype == torch.float32
    assert floats.abs().max() == 1
    assert torch.equal(AUDIO.to_file(floats), levels)


def test_floats_are_clamped_and_rounded_and_keep_a_gradient_inside():
    floats = torch.tensor([[[-1.5, -0.5, 0.2 / 2**15, 0.8 / 2**15, 0.99999, 1.5]]]).requires_grad_()
    assert AUDIO.to_file(floats).tolist() == [[[-32768, -16384, 0, 1, 32767, 32767]]]
    seen = AUDIO.quantise(floats)
    assert torch.equal(seen, AUDIO.to_float(AUDIO.to_file(floats)))
    (gradient,) = torch.autograd.grad(seen.sum(), floats)
    assert gradient.tolist() == [[[0, 1, 1, 1, 1, 0]]]


@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_are_shown_as_spectrograms_side_by_side(channels):
    time = torch.arange(4096) / 8000
    # A tone at three quarters of the highest frequency, and silence.
    tone = (torch.sin(2 * torch.pi * 3000 * time) * 20000).to(torch.int16)
    sounds = torch.stack([tone, torch.zeros_like(tone)])[:, None].repeat(1, channels, 1)
    media, content = AUDIO.show(sounds.numpy())
    assert media == "image/png"
    strip = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert strip.shape == (96, 192)
    assert strip[:, :96].mean(axis=1).argmax() == 96 - 72 - 1
    assert not strip[:, 96:].any()


def test_sounds_are_played_one_after_the_other(sounds):
    with wave.open(io.BytesIO(AUDIO.play(sounds.numpy(), INFO))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        heard = np.frombuffer(file.readframes(10**6), "<i2").reshape(3, 4096 + 1200)
    np.testing.assert_array_equal(heard[:, :4096], sounds[:, 0])
    assert not heard[:, 4096:].any()


def test_likeness_is_snr_then_si_snr_and_never_less_than_99_below(sounds):
    silence = torch.zeros_like(sounds)
    assert list(AUDIO.likeness) == ["snr", "si-snr"]
    for measure in AUDIO.likeness.values():
        assert measure(silence, sounds).tolist() == [-99] * 3
        assert measure(sounds, sounds).isposinf().all()
    assert AUDIO.damage(sounds, sounds).tolist() == [0] * 3
    assert set(AUDIO.titles) == {"snr", "si-snr", "distance", "frechet-proxy"}


def test_what_is_no_sound_of_the_data_set_is_refused(sounds):
    assert AUDIO.check("x", sounds, 3, INFO) is sounds
    with pytest.raises(ContractError, match=r"host: expected sounds int16 \(3, 1, 4096\), got flo"):
        AUDIO.check("host", sounds.float(), 3, INFO)
    with pytest.raises(ContractError, match=r"got int16 \(3, 1, 4095\)"):
        AUDIO.check("host", sounds[:, :, 1:], 3, INFO)


def test_features_are_finite_of_silence_and_of_one_sample():
    features = AUDIO.features(torch.device("cpu"), INFO)
    for shape in ((2, 1, 4096), (2, 2, 1)):
        found = features(torch.zeros(shape, dtype=torch.int16))
        assert found.shape == (2, 64)
        assert torch.isfinite(found).all()
