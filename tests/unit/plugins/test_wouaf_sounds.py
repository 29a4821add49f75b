"""`wouaf` on sounds: carriers in one dimension, the reader, the search over speeds, likeness."""

import numpy as np
import pytest
import torch
from fpbench_wouaf import reader, searching
from fpbench_wouaf.carriers import CARRIERS, Embedding, layers_of
from fpbench_wouaf.likeness import likeness_of
from fpbench_wouaf.params import WouafParams
from fpbench_wouaf.plugin import Wouaf
from torch import nn

from fpbench.api import SampleInfo
from fpbench.nn.sound_distortions import shift, speed

CPU = torch.device("cpu")
BITS, COUNT, RATE = 6, 4, 8000
CODES = (
    torch.tensor(np.random.default_rng(3).integers(0, 2, (COUNT, BITS)), dtype=torch.float32) * 2
    - 1
)
X = torch.from_numpy(np.random.default_rng(1).normal(size=(COUNT, 4, 20))).float()
VOICE = torch.from_numpy(
    np.random.default_rng(2).normal(0, 0.1, (3, 1, 4096)) * np.hanning(4096)
).float()


def network():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        made = nn.Sequential(
            nn.Conv1d(4, 9, 3, padding=1),
            nn.GroupNorm(3, 9),
            nn.SiLU(),
            nn.Conv1d(9, 8, 5, padding=2, stride=2, bias=False),
            nn.ReLU(),
            nn.Conv1d(8, 8, 5, padding=1),
            nn.BatchNorm1d(8),
            nn.Conv1d(8, 3, 1),
        )
        nn.init.normal_(made[1].weight)
        return made.eval()


@pytest.mark.parametrize("title", CARRIERS)
def test_a_folded_copy_computes_what_its_code_does_within_a_batch(title):
    own, kind = network(), CARRIERS[title]
    layers = list(layers_of(own, kind.on, attention=True).values())
    assert len(layers) == {"weights": 4, "biases": 3, "norms": 2}[kind.on]
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        carrier = kind(layers, Embedding(BITS, 16, deep=False), BITS, 0.4)
    with torch.no_grad():
        settings = carrier(CODES)
        with carrier.around(layers, settings):
            together = own(X)
        assert (together - own(X)).abs().max() > 1e-2
        for row in range(COUNT):
            one = network()
            folded = list(layers_of(one, kind.on, attention=True).values())
            carrier.fold(folded, [setting[row] for setting in settings])
            assert torch.allclose(one(X[row : row + 1]), together[row : row + 1], atol=1e-4)


@pytest.fixture(scope="module")
def eye():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(2)
        return reader.build((1, 4096), WouafParams(bits=BITS, reader_channels=8)).eval()


@torch.no_grad()
def test_a_sound_reads_alike_alone_and_at_any_level(eye):
    logits = eye(VOICE)
    assert logits.shape == (3, BITS)
    assert torch.allclose(eye(VOICE[1:2]), logits[1:2], atol=1e-4)
    assert torch.allclose(eye(0.25 * VOICE), logits, atol=1e-3)


@torch.no_grad()
def test_in_which_frames_of_a_clip_a_sound_lies_does_not_matter(eye):
    inside = VOICE.clone()
    inside[..., :900] = inside[..., -900:] = 0
    moved = shift(inside, torch.full((3,), 320.0))
    assert torch.allclose(eye(moved), eye(inside), atol=1e-4)


class Tuned(nn.Module):
    """Is the surer, the nearer the strongest frequency is to 1000 Hz."""

    def forward(self, sounds):
        peak = torch.fft.rfft(sounds[:, 0]).abs().argmax(1) * RATE / sounds.shape[-1]
        return (1 / (1 + (peak - 1000).abs() / 20))[:, None].repeat(1, BITS) * CODES[0]


def test_the_search_takes_the_speed_at_which_the_reader_is_surest():
    assert len(searching.SPEEDS) == 13
    assert (min(searching.SPEEDS), max(searching.SPEEDS)) == (88, 112)
    assert 100 in searching.SPEEDS
    time = torch.arange(4096) / RATE
    tones = torch.cos(2 * torch.pi * torch.tensor([900.0, 1000.0, 1100.0])[:, None] * time)[:, None]
    found = searching.surest(Tuned(), tones)
    assert torch.equal(found > 0, (CODES[0] > 0).expand(3, -1))
    assert found.abs().min() > 0.5
    assert Tuned()(tones[:1]).abs().max() < 0.2
    one = searching.surest(Tuned(), tones[2:])
    assert torch.allclose(one, found[2:])


@pytest.mark.parametrize("percent", [88, 100, 107, 112])
@pytest.mark.parametrize("length", [4096, 1999, 50])
def test_the_search_plays_sounds_as_the_distortion_does(percent, length):
    sounds = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 2, length)))
    wanted = speed(sounds, torch.full((2,), percent / 100, dtype=torch.float64))
    torch.testing.assert_close(searching.played(sounds, percent), wanted, atol=1e-9, rtol=0)


def test_playing_faster_and_slower_again_is_what_it_was():
    low = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 2048))).float()
    low = torch.fft.irfft(torch.fft.rfft(low) * (torch.arange(1025) < 500))
    there = speed(low, torch.tensor([1.1, 0.9]))
    back = speed(there, 1 / torch.tensor([1.1, 0.9]))
    middle = slice(100, 1700)
    assert (back - low)[..., middle].abs().max() < 0.05 * low.abs().max()


def test_likeness_of_sounds_is_their_noise_over_their_signal():
    alike = likeness_of(WouafParams(), CPU, relative=True)
    noisy = VOICE + 0.1 * VOICE.flip(2)
    assert torch.allclose(alike(noisy, VOICE), torch.tensor(0.01), rtol=1e-3)
    assert torch.allclose(alike(7 * noisy, 7 * VOICE), torch.tensor(0.01), rtol=1e-3)
    assert alike(torch.zeros(1, 1, 64), torch.zeros(1, 1, 64)) == 0


@pytest.mark.parametrize(
    ("params", "kind", "said"),
    [
        ({"reader": "resnet50"}, "audio", "expected images for `reader`"),
        ({"hardened": "published"}, "audio", "expected images for `hardened`"),
        ({"perceptual": "weights.pth"}, "audio", "expected images for `perceptual`"),
        ({"hardened": "mild", "searched": True}, "audio", ""),
        ({"searched": True}, "image", "expected sounds to search"),
        ({}, "image", ""),
    ],
)
def test_what_is_for_other_samples_is_said(params, kind, said):
    images = SampleInfo.of_images(32, {})
    info = {"image": images, "audio": SampleInfo("audio", (1, 4096), "int16", {}, RATE)}[kind]
    found = Wouaf(WouafParams(**params)).objection(info, 3)
    assert said in found if said else not found
