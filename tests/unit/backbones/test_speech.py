"""PESQ and STOI: what their libraries say of each pair, and nothing where they say nothing."""

import importlib.util

import numpy as np
import pytest
import torch
from pystoi import stoi

from fpbench.api import MissingResource, SpecError
from fpbench.backbones import load
from fpbench.backbones.weights import fetch, find
from fpbench.builtin.toy_speech.dataset import ToySpeech
from fpbench.execute.request import Request

RATE = 8000
CPU = torch.device("cpu")
SUITE = """
[suite]
name = "x"
[dataset]
use = "toy-faces"
[host]
use = "stylegan2"
[[methods]]
use = "hidden"
[[backbones]]
use = "stoi"
"""


@pytest.fixture(scope="module")
def sounds():
    data = ToySpeech(ToySpeech.Params(length=8192, train=8, test=8, reference=8))
    return torch.from_numpy(data.read("test", np.arange(4)))


def noisy(sounds, snr):
    drawn = torch.randn(sounds.shape, generator=torch.Generator().manual_seed(0))
    level = sounds.double().square().mean((1, 2), keepdim=True).sqrt() * 10 ** (-snr / 20)
    return (sounds + drawn * level).round().clamp(-32768, 32767).to(torch.int16)


def test_stoi_is_what_its_library_says_of_each_pair(sounds):
    measure = load("stoi", find("stoi"), CPU, rate=RATE)
    other = noisy(sounds, 5)
    wanted = [
        stoi(a, b, RATE) for a, b in zip(sounds[:, 0].numpy(), other[:, 0].numpy(), strict=True)
    ]
    assert measure(sounds, other).tolist() == pytest.approx(wanted, abs=1e-6)
    assert measure(sounds, sounds).tolist() == pytest.approx([1] * 4)
    assert (measure(sounds, noisy(sounds, 20)) > measure(sounds, noisy(sounds, 0))).all()


def test_pesq_falls_with_noise(sounds):
    pytest.importorskip("pesq", reason="the extra speech is not installed: no package pesq")
    measure = load("pesq", find("pesq"), CPU, rate=RATE)
    assert (measure(sounds, sounds) > 4.4).all()
    assert (measure(sounds, noisy(sounds, 30)) > measure(sounds, noisy(sounds, 10))).all()
    assert measure(torch.zeros_like(sounds), sounds).isnan().all()


def test_channels_are_mixed_down_and_what_is_too_short_is_undefined(sounds):
    measure = load("stoi", find("stoi"), CPU, rate=RATE)
    other = noisy(sounds, 5)
    both = measure(sounds.repeat(1, 2, 1), other.repeat(1, 2, 1))
    torch.testing.assert_close(both, measure(sounds, other))
    assert measure(sounds[..., :2048], other[..., :2048]).isnan().all()


def test_a_library_that_is_not_there_is_named_with_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for ask in (find, fetch):
        with pytest.raises(MissingResource, match=r"module pesq.*pip install 'fpbench\[speech\]'"):
            ask("pesq")


def test_images_are_not_heard(tmp_path):
    (tmp_path / "suite.toml").write_text(SUITE)
    with pytest.raises(SpecError, match="backbone stoi: expected sounds, got image of the dataset"):
        Request(str(tmp_path / "suite.toml")).plan()


def test_pesq_knows_two_rates(tmp_path):
    suite = SUITE.replace('"toy-faces"', '"toy-speech"\nrate = 11025').replace("stoi", "pesq")
    suite = suite.replace("stylegan2", "mel-decoder").replace('"hidden"', '"hidden-audio"')
    (tmp_path / "suite.toml").write_text(suite)
    with pytest.raises(SpecError, match="pesq: expected 8,000 or 16,000 samples a second, got"):
        Request(str(tmp_path / "suite.toml")).plan()
