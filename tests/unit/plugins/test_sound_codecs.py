import io
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from scipy import signal
from sound_references import FULL, component, context, floats

from fpbench.api import MissingResource

CODECS = {"mp3": ("libmp3lame", "mp3"), "aac": ("aac", "ipod"), "opus": ("libopus", "ogg")}


@pytest.fixture
def run(tmp_path):
    def apply(name, batch, bitrate, rate):
        ctx = context(tmp_path, name, rate, tuple(batch.shape[1:]))
        return component(name).apply(batch, range(len(batch)), bitrate, ctx)

    return apply


def sweep(rate, seconds=0.512):
    """(1, 1, T) int16: from 100 Hz up to 2.8 kHz, swelling."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.3 * signal.chirp(time, 100, seconds, 2800) * np.hanning(len(time))
    return torch.from_numpy(np.rint(wave * FULL).astype(np.int16))[None, None]


def lag(a, b, finer=16):
    """By how many samples b comes after a, where their cross-correlation is largest."""
    size = 2 * len(a)
    product = np.fft.rfft(a, size).conj() * np.fft.rfft(b, size)
    place = int(np.fft.irfft(product, size * finer).argmax())
    return (place - size * finer * (2 * place > size * finer)) / finer


def by_file(sound, rate, name, bitrate):
    """Written into a file and read again, which is what removes the delay there."""
    encoder, container = CODECS[name]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(encoder, rate=rate, layout="mono")
        stream.bit_rate = 1000 * bitrate
        frame = av.AudioFrame.from_ndarray(sound.astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    file.seek(0)
    with av.open(file) as back:
        return np.concatenate([f.to_ndarray() for f in back.decode(audio=0)], axis=1)[0]


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("name", CODECS)
def test_what_comes_back_is_where_it_was(run, name, rate):
    sound = sweep(rate)
    for bitrate in (16, 48):
        late = lag(floats(sound)[0, 0], floats(run(name, sound, bitrate, rate))[0, 0])
        # At low bitrates Opus itself is early by some 50 µs, whose resamplers are not made up for.
        assert abs(late) / rate < (1e-4 if name == "opus" else 1e-5)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("name", ["mp3", "aac"])
def test_it_is_what_a_file_of_that_kind_gives(run, name, rate):
    sound = sweep(rate)
    length = sound.shape[-1]
    wanted = by_file(floats(sound)[0, 0], rate, name, 32)[:length]
    assert np.abs(floats(run(name, sound, 32, rate))[0, 0] - wanted).max() < 0.51 / FULL


def test_opus_is_what_a_file_gives_to_the_other_decoder(run):
    """FFmpeg has one of its own, which a file is read with; at a bitrate without SILK."""
    sound = sweep(48_000)
    wanted = by_file(floats(sound)[0, 0], 48_000, "opus", 96)[: sound.shape[-1]]
    assert np.abs(floats(run("opus", sound, 96, 48_000))[0, 0] - wanted).max() < 2 / FULL


@pytest.mark.parametrize("name", CODECS)
def test_each_channel_is_a_file_of_its_own(run, name):
    both = torch.cat([sweep(8000), -sweep(8000).flip(2) // 2], dim=1)
    apart = [run(name, both[:, c : c + 1], 16, 8000) for c in range(2)]
    assert torch.equal(run(name, both, 16, 8000), torch.cat(apart, dim=1))


@pytest.mark.parametrize("name", CODECS)
def test_without_pyav_it_says_how_to_get_it(run, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingResource, match=f"attack {name}: .*uv sync --extra audio"):
        run(name, sweep(8000), 16, 8000)


def test_a_build_without_the_encoder_is_told_of(run, monkeypatch):
    def unknown(*_):
        raise av.codec.codec.UnknownCodecError("libmp3lame")

    monkeypatch.setattr(av, "Codec", unknown)
    with pytest.raises(MissingResource, match=r"libmp3lame, got .* without"):
        run("mp3", sweep(8000), 16, 8000)
