from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import signal
from sound_references import (
    FULL,
    RATE,
    REFERENCES,
    catalogue,
    component,
    context,
    floats,
    sounds,
)

from fpbench.api import SampleAttack, SampleInfo, Setting
from fpbench.builtin.chain.attack import Chain
from fpbench.nn.sound_quality import log_spectral_distance
from fpbench.testing.fakes import Blind, TinyHost

# name: (family, strength's name, default grid, low, high, identity); low and high are legal.
CATALOGUE = {
    "noise": ("noise", "snr", (30, 20, 10), -20, 100, None),
    "low-pass": ("filtering", "cutoff", (3000, 2000, 1000), 20, 100_000, None),
    "high-pass": ("filtering", "cutoff", (200, 500, 1000), 0, 100_000, 0),
    "band-pass": ("filtering", "width", (3, 2, 1), 0.1, 10, None),
    "downsample": ("filtering", "kept", (0.75, 0.5, 0.25), 0.05, 1, 1),
    "mean-filter": ("filtering", "width", (3, 5, 9), 1, 1001, 1),
    "denoise": ("filtering", "reduction", (6, 12, 24), 0, 100, 0),
    "mu-law": ("compression", None, (), None, None, None),
    "bit-depth": ("compression", "bits", (8, 6, 4), 1, 16, 16),
    "mp3": ("compression", "bitrate", (32, 16, 8), 8, 320, None),
    "aac": ("compression", "bitrate", (32, 16, 8), 4, 320, None),
    "opus": ("compression", "bitrate", (24, 12, 6), 6, 256, None),
    "gain": ("level", "gain", (-6, -12, -24), -90, 60, 0),
    "polarity": ("level", None, (), None, None, None),
    "phase-shift": ("level", "angle", (45, 90, 135), 0, 180, 0),
    "dynamic-compression": ("level", "ratio", (2, 4, 8), 1, 100, 1),
    "echo": ("room", "level", (0.3, 0.5, 0.8), 0, 1, 0),
    "reverb": ("room", "rt60", (0.2, 0.5, 1), 0, 10, 0),
    "time-shift": ("timing", "shift", (10, 50, 100), 0, 10_000, 0),
    "time-crop": ("timing", "kept", (0.9, 0.8, 0.6), 0.01, 1, 1),
    "speed": ("timing", "change", (0.02, 0.05, 0.1), 0, 0.5, 0),
    "time-stretch": ("timing", "change", (0.05, 0.1, 0.2), 0, 0.5, 0),
    "pitch": ("timing", "semitones", (0.5, 1, 2), 0, 12, 0),
    "time-jitter": ("timing", "sigma", (10, 30, 100), 0, 10_000, 0),
    "time-mask": ("masking", "share", (0.05, 0.1, 0.2), 0, 1, 0),
    "frequency-mask": ("masking", "share", (0.05, 0.1, 0.2), 0, 1, 0),
}
MOVING = {"time-shift", "time-crop", "speed", "time-stretch", "pitch"}
# A level is half of what rounding does to the references' floats, and as much by their arithmetic.
ROUNDED = 0.51 / FULL
LIMITS = {"frequency-mask": 1 / FULL, "denoise": 1 / FULL}
POINTS = [
    pytest.param(name, strength, id=f"{name}-{strength}")
    for name in REFERENCES
    for strength in dict.fromkeys((*CATALOGUE[name][2], *CATALOGUE[name][3:5]))
]


@pytest.fixture(scope="module")
def batch():
    return sounds()


@pytest.fixture
def run(tmp_path):
    def apply(name, batch, strength, rate=RATE, **params):
        ctx = context(tmp_path, name, rate, tuple(batch.shape[1:]))
        strength = 0.0 if strength is None else strength
        return component(name, **params).apply(batch, range(len(batch)), strength, ctx), ctx

    return apply


def tone(hertz, length=4096, level=0.5, rate=RATE):
    wave = level * np.sin(2 * np.pi * hertz * np.arange(length) / rate + 0.3)
    return torch.from_numpy(np.rint(wave * FULL).astype(np.int16))[None, None]


def decibels(ratio):
    return 10 * np.log10(ratio)


def test_all_attacks_on_sounds_are_here():
    for name in catalogue().names("attacks"):
        cls = catalogue().component("attacks", name)
        if issubclass(cls, SampleAttack) and cls.__module__.startswith("fpbench_sound"):
            assert cls.modalities == {"audio"}
            assert name in CATALOGUE or name == "rnnoise"  # test_rnnoise.py
            assert cls.geometric == (name in MOVING)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_knob_is_the_documented_one(name):
    family, knob, grid, low, high, identity = CATALOGUE[name]
    cls = catalogue().component("attacks", name)
    assert cls.family == family
    if knob is None:
        assert cls.strength is None
        return
    strength = cls.strength
    assert (strength.name, strength.grid, strength.identity) == (knob, grid, identity)
    assert (strength.low, strength.high) == (low, high)
    assert strength.whole == (name == "bit-depth")
    assert strength.odd == (name == "mean-filter")


@pytest.mark.parametrize(("name", "strength"), POINTS)
@pytest.mark.parametrize("shape", ["mono", "stereo"])
def test_agrees_with_an_independent_implementation(run, batch, name, strength, shape):
    if name in ("low-pass", "high-pass") and strength >= RATE / 2:
        pytest.skip("refused at this rate")
    if name == "band-pass" and strength > 3:
        pytest.skip("refused at this rate")
    stereo = shape == "stereo"
    batch = batch[:, :, :3000].reshape(4, 2, 3000) if stereo else batch[4:7]
    got, ctx = run(name, batch, strength)
    assert got.dtype == torch.int16
    assert got.shape == batch.shape
    for index, (sound, ours) in enumerate(zip(floats(batch), floats(got), strict=True)):
        wanted = REFERENCES[name](sound, strength, RATE, ctx.image_rng(index))
        apart = np.abs(ours - np.clip(wanted, -1, 1 - 1 / FULL))
        assert apart.max() <= LIMITS.get(name, ROUNDED)


@pytest.mark.parametrize("kind", ["white", "pink", "recorded"])
@pytest.mark.parametrize("snr", [30, 10, -20])
def test_noise_has_the_stated_ratio(run, batch, kind, snr):
    quiet = batch[:6] // 16  # nothing clips
    got, _ = run("noise", quiet, snr, kind=kind)
    added = floats(got) - floats(quiet)
    measured = decibels(np.mean(floats(quiet) ** 2, (1, 2)) / np.mean(added**2, (1, 2)))
    rounding = decibels(1 + (1 / 12 / FULL**2) / np.mean(added**2, (1, 2)))
    assert np.abs(measured - snr).max() < 0.02 + rounding.max()


def test_noise_has_the_stated_colour(run):
    loud = tone(1000, 2**16).repeat(4, 1, 1)
    for kind, slope in (("white", 0), ("pink", -10), ("recorded", -20)):
        got, _ = run("noise", loud, 10, kind=kind)
        hertz, power = signal.welch(floats(got) - floats(loud), RATE, nperseg=2048)
        power = power.mean(axis=(0, 1))
        kept = (hertz > 500) & (hertz < 3500)  # above the mains' harmonics
        fall = np.polyfit(np.log10(hertz[kept]), decibels(power[kept]), 1)[0]
        assert fall == pytest.approx(slope, abs=1)
    near = power[(hertz > 60) & (hertz < 90)].mean()
    assert power[np.argmin(np.abs(hertz - 50))] > 3 * near  # the hum stands out


@pytest.mark.parametrize("kept", [0.75, 0.5, 0.25])
def test_resampling_keeps_what_the_lower_rate_can_carry(run, kept):
    below, above = (0.8 * kept * RATE / 2, 1.2 * kept * RATE / 2)
    middle = slice(500, -500)
    passed = floats(run("downsample", tone(below), kept)[0])[..., middle]
    error = passed - floats(tone(below))[..., middle]
    assert decibels(np.mean(error**2) / np.mean(passed**2)) < -60
    if above < RATE / 2:
        assert np.abs(floats(run("downsample", tone(above), kept)[0])[..., middle]).max() < 5e-4


def test_resampling_agrees_with_scipy(run, batch):
    got = floats(run("downsample", batch[:6], 0.5)[0])
    taps = ("kaiser", 8.0)
    low = signal.resample_poly(floats(batch[:6]), 1, 2, axis=2, window=taps)
    wanted = signal.resample_poly(low, 2, 1, axis=2, window=taps)
    # The two filters part in the transition about 2 kHz alone.
    hertz, apart = signal.welch((got - wanted)[..., 100:-100], RATE, nperseg=512)
    _, power = signal.welch(wanted[..., 100:-100], RATE, nperseg=512)
    assert decibels(apart[..., hertz < 1500].sum() / power.sum()) < -55


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("change", [0.02, 0.1, 0.5])
def test_speed_moves_a_tone_and_its_end(run, way, change):
    speed = 1 + change if way == "up" else 1 - change
    hertz = 440
    got = floats(run("speed", tone(hertz), change, way=way)[0])[0, 0]
    end = min(4096, int(4095 / speed))
    time = np.arange(4096)[50 : end - 50]
    wanted = 0.5 * np.sin(2 * np.pi * hertz * speed * time / RATE + 0.3)
    assert np.abs(got[time] - wanted).max() < 3e-4
    assert (got[end + 50 :] == 0).all()


def test_speed_lets_nothing_alias(run):
    got = floats(run("speed", tone(3900), 0.5, way="up")[0])
    assert np.abs(got[..., 50:2600]).max() < 5e-4  # 5850 Hz would come back as 2150


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("change", [0.05, 0.2])
def test_a_stretched_tone_keeps_its_pitch_and_level(run, way, change):
    tempo = 1 + change if way == "up" else 1 - change
    got = floats(run("time-stretch", tone(440, 8000), change, way=way)[0])[0, 0]
    inner = got[1000 : int(min(8000, 8000 / tempo)) - 1000]
    assert _frequency(inner) == pytest.approx(440, rel=1e-3)
    assert np.sqrt(2 * np.mean(inner**2)) == pytest.approx(0.5, rel=0.02)
    assert (got[int(8000 / tempo) + 600 :] == 0).all()


@pytest.mark.parametrize("way", ["up", "down"])
def test_stretching_moves_what_happens_when(run, way):
    tempo = 1.2 if way == "up" else 0.8
    beats = np.zeros((1, 1, 8000))
    burst = np.hanning(400) * np.sin(2 * np.pi * 700 * np.arange(400) / RATE)
    places = np.array([1500, 3500, 5500])
    for place in places:
        beats[0, 0, place - 200 : place + 200] = 0.7 * burst
    got = run("time-stretch", torch.from_numpy((beats * FULL).astype(np.int16)), 0.2, way=way)[0]
    envelope = np.convolve(floats(got)[0, 0] ** 2, np.hanning(400), "same")
    for place in places / tempo:
        near = np.arange(int(place) - 600, min(int(place) + 600, 8000))
        centre = np.sum(near * envelope[near]) / np.sum(envelope[near])
        assert centre == pytest.approx(place, abs=64)  # half a hop, 8 ms


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("semitones", [0.5, 1, 2])
def test_pitch_moves_a_tone_by_semitones_and_not_its_end(run, way, semitones):
    factor = 2 ** ((semitones if way == "up" else -semitones) / 12)
    got = floats(run("pitch", tone(440, 8000), semitones, way=way)[0])[0, 0]
    assert _frequency(got[1000:7000]) == pytest.approx(440 * factor, rel=1e-3)
    for part in (got[1000:4000], got[4000:7000]):
        assert np.sqrt(2 * np.mean(part**2)) == pytest.approx(0.5, rel=0.03)


def _frequency(wave):
    """Of a tone, by the phase that its analytic signal advances."""
    turned = np.unwrap(np.angle(signal.hilbert(wave)))[200:-200]
    return np.polyfit(np.arange(len(turned)), turned, 1)[0] * RATE / (2 * np.pi)


def test_time_shift_and_crop_go_both_ways_and_keep_their_draws(run):
    click = torch.zeros(32, 1, 4096, dtype=torch.int16)
    click[..., 2000] = 9999
    found = floats(run("time-shift", click, 10)[0])[:, 0].argmax(1)
    assert set(found) == {1920, 2080}
    assert np.array_equal(
        np.sign(floats(run("time-shift", click, 100)[0])[:, 0].argmax(1) - 2000),
        np.sign(found - 2000),
    )
    assert (run("time-shift", click, 10, way="up")[0][..., 2080] == 9999).all()


def test_a_stronger_attack_goes_further_the_same_way(run, batch):
    quiet = batch[:6] // 4
    for name, weak, strong, params in (
        ("noise", 30, 20, {"kind": "white"}),
        ("noise", 30, 20, {"kind": "recorded"}),
        ("time-jitter", 10, 30, {}),
        ("reverb", 0.2, 0.25, {}),
    ):
        both = [floats(run(name, quiet, s, **params)[0]) - floats(quiet) for s in (weak, strong)]
        assert np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] > 0.9
    loud = torch.ones(6, 1, 4096, dtype=torch.int16)
    weak, strong = (run("time-mask", loud, share)[0] for share in (0.1, 0.2))
    assert (strong <= weak).all()


def test_jitter_makes_the_noise_that_theory_says(run):
    """Shinagawa et al. 1990: SNR = -20 log10(2 π f σ) for a tone."""
    for sigma in (10, 30, 100):
        got = floats(run("time-jitter", tone(500), sigma)[0])[..., 50:-50]
        wave = floats(tone(500))[..., 50:-50]
        snr = decibels(np.mean(wave**2) / np.mean((got - wave) ** 2))
        assert snr == pytest.approx(-20 * np.log10(2 * np.pi * 500 * sigma * 1e-6), abs=0.5)


@pytest.mark.parametrize("rt60", [0.2, 0.5, 1])
def test_a_room_decays_by_60_db_in_the_stated_time(run, rt60):
    click = torch.zeros(24, 1, 3 * RATE, dtype=torch.int16)
    click[..., 0] = FULL - 1
    response = floats(run("reverb", click, rt60, energy=20.0)[0])[:, 0]
    assert np.allclose(response[:, 0], 1, atol=1e-4)
    tail = np.sum(response[:, 1:] ** 2, axis=1)
    weak = floats(run("reverb", click, rt60)[0])[:, 0]
    assert np.sum(weak[:, 1:] ** 2, 1).mean() == pytest.approx(2 * rt60, rel=0.15)
    # Schroeder 1965: what is left of the energy, backwards; the slope from -5 to -25 dB.
    left = np.cumsum(response[:, :0:-1] ** 2, axis=1)[:, ::-1] / tail[:, None]
    left = decibels(np.maximum(left, 1e-9)).mean(axis=0)
    part = (left < -5) & (left > -25)
    fall = np.polyfit(np.flatnonzero(part) / RATE, left[part], 1)[0]
    assert -60 / fall == pytest.approx(rt60, rel=0.1)


def test_dynamic_compression_divides_differences_of_level(run):
    both = torch.cat([tone(500, 4000, 0.8), tone(500, 4000, 0.08)], dim=2)
    for ratio in (2, 4, 8):
        got = floats(run("dynamic-compression", both, ratio)[0])[0, 0]
        loud, soft = got[1000:3000], got[5000:7000]
        apart = decibels(np.mean(loud**2) / np.mean(soft**2))
        assert apart == pytest.approx(20 / ratio, abs=0.1)
        assert np.mean(loud**2) == pytest.approx(0.32, rel=0.02)


@pytest.mark.filterwarnings("ignore:'audioop' is deprecated:DeprecationWarning")
def test_mu_law_is_that_of_the_standard_library():
    audioop = pytest.importorskip("audioop", reason="gone from Python 3.13")
    from fpbench_sound.levels import mu_law

    # It computes with 14 bits, of which negative numbers lose fractions the other way.
    samples = np.arange(-FULL, FULL, 4).astype(np.int16)
    wanted = np.frombuffer(audioop.ulaw2lin(audioop.lin2ulaw(samples.tobytes(), 2), 2), np.int16)
    assert np.array_equal(mu_law(samples / FULL) * FULL, wanted)


@pytest.mark.parametrize("name", CATALOGUE)
def test_sounds_are_attacked_alike_in_all_company(tmp_path, batch, name):
    attack, ctx = component(name), context(tmp_path, name)
    strength = CATALOGUE[name][2][-1] if CATALOGUE[name][2] else 0.0
    before = batch.clone()
    whole = attack.apply(batch, range(len(batch)), strength, ctx)
    assert torch.equal(batch, before)
    order = [5, 0, 7]
    some = attack.apply(batch[order], order, strength, ctx)
    # A product with a sparse matrix, and a transform, sum in the same order for any company.
    assert torch.equal(some, whole[order])


@pytest.mark.parametrize("name", CATALOGUE)
def test_identity_is_to_the_bit_and_damage_grows(run, batch, name):
    _, knob, grid, *_, identity = CATALOGUE[name]
    if identity is not None:
        assert torch.equal(run(name, batch, identity)[0], batch)
    speech = batch[:6]
    heard = [log_spectral_distance(speech, run(name, speech, s)[0]).mean() for s in grid]
    if name == "phase-shift":  # which magnitudes do not show
        assert max(heard) < 1.5
        heard = [(floats(run(name, speech, s)[0]) - floats(speech)).std() for s in grid]
    assert all(weak < strong for weak, strong in pairwise(heard))
    assert knob is None or heard[0] > 0


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (2, 100), (1, 4095)])
def test_short_long_silent_and_full_sounds_keep_their_length(run, name, shape):
    odd = torch.zeros(3, *shape, dtype=torch.int16)
    odd[1], odd[2] = -FULL, FULL - 1
    knob = catalogue().component("attacks", name).strength
    for strength in (knob.grid[-1], knob.low) if knob else (0.0,):
        got, _ = run(name, odd, strength)
        assert got.shape == odd.shape
        assert got.dtype == torch.int16
        assert got[0].abs().max() <= (2 if name == "opus" else 0)  # silence stays


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_units_are_natural_at_every_rate(run, rate):
    """What a strength does to a tone depends on hertz and seconds, not on samples."""
    wave = tone(2500, rate // 2, rate=rate)
    kept = floats(run("low-pass", wave, 3000, rate)[0])[..., 500:-500]
    gone = floats(run("low-pass", wave, 2000, rate)[0])[..., 500:-500]
    assert np.sqrt(2) * kept.std() == pytest.approx(0.5, rel=0.01)
    assert gone.std() < 0.01
    shifted = floats(run("time-shift", wave, 100, rate, way="up")[0])[0, 0]
    assert np.flatnonzero(shifted)[0] == pytest.approx(0.1 * rate, abs=1)
    high = floats(run("pitch", wave, 2, rate, way="up")[0])[0, 0]
    hertz, power = signal.periodogram(high, rate)
    assert hertz[power.argmax()] == pytest.approx(2500 * 2 ** (2 / 12), rel=0.01)


def setting(strength, rate):
    info = SampleInfo("audio", (1, 4096), "int16", {}, rate)
    method, host = Blind(Blind.Params()), TinyHost(TinyHost.Params())
    return Setting(method, host, 2, 0, strength, info)


@pytest.mark.parametrize(
    ("name", "params", "bad", "good"),
    [
        ("low-pass", {}, 4000, 3999),
        ("high-pass", {}, 5000, 1000),
        ("band-pass", {}, 4, 3.9),
        ("band-pass", {"centre": 3000.0}, 1, 0.5),
    ],
)
def test_frequencies_that_the_rate_does_not_reach_are_refused(name, params, bad, good):
    attack = component(name, **params)
    refusal = attack.refuse(setting(bad, RATE))
    assert "below 4000 Hz, half the data set's rate" in refusal.reason
    assert attack.refuse(setting(good, RATE)) is None
    assert attack.refuse(setting(bad, 4 * RATE)) is None
    chain = Chain(Chain.Params(parts=({},)), [(component("gain"), -6), (attack, bad)])
    assert chain.refuse(setting(None, RATE)) == refusal


@pytest.mark.parametrize(
    ("name", "strength"),
    [
        ("bit-depth", 0),
        ("bit-depth", 7.5),
        ("speed", 1),
        ("time-stretch", -0.1),
        ("mean-filter", 4),
        ("noise", float("nan")),
        ("opus", 0),
        ("downsample", 0),
    ],
)
def test_strengths_that_mean_nothing_are_not_allowed(name, strength):
    assert not catalogue().component("attacks", name).strength.allows(strength)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("noise", {"kind": "brown"}),
        ("band-pass", {"centre": 0.0}),
        ("speed", {"way": "sideways"}),
        ("echo", {"delay": 0.0}),
        ("reverb", {"energy": -1.0}),
        ("dynamic-compression", {"window": 0.0}),
        ("denoise", {"margin": -1.0}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        component(name, **params)


def test_a_chain_of_attacks_on_sounds_is_them_in_a_row(tmp_path, batch):
    parts = [("low-pass", 3000), ("noise", 20), ("speed", 0.05), ("mu-law", None)]
    chain = Chain(Chain.Params(parts=({},)), [(component(n), s) for n, s in parts])
    assert chain.geometric
    ctx = context(tmp_path, "chain")
    got, wanted = chain.apply(batch, range(len(batch)), 0.0, ctx), batch
    for number, (name, strength) in enumerate(parts):
        branch = ctx.branch(name, number)
        wanted = component(name).apply(wanted, range(len(batch)), strength or 0.0, branch)
    assert torch.equal(got, wanted)
