import hashlib

import numpy as np
import pytest

from fpbench.builtin.toy_speech.dataset import ToySpeech, ToySpeechParams
from fpbench.builtin.toy_speech.speech import VOICES, WORDS, cast, speak


def test_clips_are_16_bit_and_loud_enough_to_be_heard():
    clips = speak(np.arange(40), 8000, 4096)
    assert clips.shape == (40, 1, 4096)
    assert clips.dtype == np.int16
    peaks = np.abs(clips.astype(int)).max(axis=2)
    assert peaks.min() > 0.34 * 2**15
    assert peaks.max() < 2**15 - 1


def test_a_clip_does_not_depend_on_the_batch():
    clips = speak(np.arange(80), 8000, 2000)
    order = np.random.default_rng(0).permutation(80)
    np.testing.assert_array_equal(speak(order, 8000, 2000), clips[order])
    for index in (0, 31, 32, 79):
        np.testing.assert_array_equal(speak(np.array([index]), 8000, 2000)[0], clips[index])
    assert speak(np.array([], np.int64), 8000, 2000).shape == (0, 1, 2000)


@pytest.mark.parametrize(
    ("rate", "digest"),
    [
        (8000, "6fff0fd9cb082d6fe6e27b9891392fdeff4c66da049bfd6e3911644219fdc44e"),
        (22050, "9d62dba308460807ef0f04216dae84885f4f66f2407c0049ef91dee3ab90da10"),
    ],
)
def test_bytes_never_change(rate, digest):
    clips = speak(np.array([0, 1, 2, 97, 2**40]), rate, rate // 2)
    assert hashlib.sha256(clips.tobytes()).hexdigest() == digest


def test_an_index_is_the_same_utterance_at_every_rate():
    # The slow course of the level: what is said when.
    slow, fast = (
        np.abs(speak(np.arange(16), rate, rate // 2)[:, 0].astype(float))
        .reshape(16, 25, -1)
        .mean(axis=2)
        for rate in (8000, 16000)
    )
    for one, other in zip(slow, fast, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.8


def test_voices_have_their_pitches():
    indices = np.arange(120)
    # "one" and "nine" are voiced throughout.
    indices = indices[np.isin(cast(indices).words, (1, 9))]
    right = []
    for clip, pitch in zip(speak(indices, 8000, 4096)[:, 0], cast(indices).pitches, strict=True):
        power = np.abs(np.fft.rfft(clip.astype(float), 2 * len(clip))) ** 2
        alike = np.fft.irfft(power)
        lags = np.arange(8000 // 330, 8000 // 70)
        right.append(abs(np.log2(8000 / lags[alike[lags].argmax()] / pitch)) < 0.4)
    # The rest are taken for their second harmonic, or half.
    assert np.mean(right) > 0.8, np.mean(right)


def test_words_and_voices_are_all_there_and_words_are_the_classes():
    said = cast(np.arange(300))
    assert set(said.words) == set(range(len(WORDS)))
    assert set(said.voices) == set(range(VOICES))
    dataset = ToySpeech(ToySpeechParams(train=50))
    assert dataset.info().conditions == "classes"
    assert dataset.conditions("train", np.arange(50)) == cast(np.arange(50)).words.tolist()


def test_splits_are_of_different_clips():
    dataset = ToySpeech(ToySpeechParams(rate=16_000, length=8_000))
    info = dataset.info()
    assert (info.modality, info.shape, info.rate) == ("audio", (1, 8_000), 16_000)
    splits = [dataset.read(split, np.arange(2)) for split in ("train", "test", "reference")]
    assert len({clip.tobytes() for split in splits for clip in split}) == 6


def test_what_cannot_be_spoken_is_refused():
    with pytest.raises(ValueError, match="expected indices >= 0, got -1"):
        speak(np.array([-1]), 8000, 100)
    with pytest.raises(ValueError, match="expected a rate >= 1000 Hz"):
        speak(np.array([0]), 10, 100)
