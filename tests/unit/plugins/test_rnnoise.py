"""RNNoise: sample on sample, each sound by itself, and named where it is not installed."""

import sys
import types

import numpy as np
import pytest
import torch
from sound_references import FULL, RATE, component, context, floats, sounds

from fpbench.api import MissingResource

FRAME = 480


@pytest.fixture
def attack(tmp_path):
    def apply(batch, strength, rate=RATE):
        ctx = context(tmp_path, "rnnoise", rate, tuple(batch.shape[1:]))
        return component("rnnoise").apply(batch, range(len(batch)), strength, ctx)

    return apply


@pytest.fixture
def late(monkeypatch):
    """A library in the place of RNNoise, which does nothing and is as late."""
    module = types.ModuleType("pyrnnoise.rnnoise")
    module.FRAME_SIZE = FRAME
    module.create = lambda: [np.zeros(FRAME, np.int16)] * 2
    module.destroy = list.clear

    def process(state, frame):
        state.append(frame)
        return state.pop(0), 1.0

    module.process_mono_frame = process
    package = types.ModuleType("pyrnnoise")
    package.rnnoise = module
    monkeypatch.setitem(sys.modules, "pyrnnoise", package)
    monkeypatch.setitem(sys.modules, "pyrnnoise.rnnoise", module)


@pytest.mark.parametrize("rate", [RATE, 44_100, 48_000])
def test_the_delay_is_removed_and_every_rate_comes_back(attack, late, rate):
    batch = sounds()[:3]
    low = np.fft.rfft(floats(batch))
    low[..., low.shape[-1] // 2 :] = 0
    smooth = np.fft.irfft(low, n=batch.shape[-1]) * 0.5
    batch = torch.from_numpy(np.rint(smooth * FULL).astype(np.int16))
    got = attack(batch, 1.0, rate)
    assert got.shape == batch.shape
    middle = slice(64, -64)
    assert np.abs(floats(got) - floats(batch))[..., middle].max() < 4 / FULL


def test_half_is_between_the_sound_and_what_is_left_of_it(attack):
    pytest.importorskip("pyrnnoise", reason="the extra denoise is not installed: no pyrnnoise")
    batch = sounds()[:4]
    whole, half = attack(batch, 1.0), attack(batch, 0.5)
    assert not torch.equal(whole, batch)
    np.testing.assert_allclose(floats(half), (floats(batch) + floats(whole)) / 2, atol=2 / FULL)
    assert torch.equal(attack(batch[2:3], 1.0), whole[2:3])  # the others are not heard


def test_noise_is_turned_down(attack):
    pytest.importorskip("pyrnnoise", reason="the extra denoise is not installed: no pyrnnoise")
    hiss = torch.randn(1, 1, 4 * RATE, generator=torch.Generator().manual_seed(0)) * 1000
    left = floats(attack(hiss.to(torch.int16), 1.0))[..., 2 * RATE :]
    assert left.std() * FULL < 300


def test_where_the_package_is_not_there_it_is_named(attack, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyrnnoise", None)
    with pytest.raises(
        MissingResource, match=r"attack rnnoise: .*pip install 'fpbench\[denoise\]'"
    ):
        attack(sounds()[:1], 1.0)
