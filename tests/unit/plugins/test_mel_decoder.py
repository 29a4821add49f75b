"""The host `mel-decoder`: what sounds are described by, its excitation, training and files."""

import numpy as np
import pytest
import torch
from fpbench_mel_decoder import training
from fpbench_mel_decoder.analysis import PITCH_HZ, VOICED, described, pitches
from fpbench_mel_decoder.networks import Decoder, Excitation
from fpbench_mel_decoder.plugin import MelDecoder
from fpbench_model_change.plugin import PermuteChannels

from fpbench.api import ContractError, NoParams, SampleInfo, Surface
from fpbench.api.packing import pack
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.toy_speech.dataset import ToySpeech
from fpbench.nn.spectra import spectral_loss
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

CPU = torch.device("cpu")
RATE, LENGTH = 8000, 2048
TINY = {"bands": 16, "components": 12, "channels": 4, "steps": 3, "batch": 4}
TIME = torch.arange(LENGTH) / RATE


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def speech():
    return SplitStream(ToySpeech(ToySpeech.Params(length=LENGTH, train=64)), "train", CPU)


@pytest.fixture(scope="module")
def context(tmp_path_factory, speech):
    store = Store(tmp_path_factory.mktemp("store"))
    told = {"modality": Audio(NoParams()), "info": speech.info}
    return lambda *root: StageContext(CPU, (0, *root), store, **told)


def mel_decoder(**params):
    return MelDecoder(MelDecoder.Params(**(TINY | params)))


@pytest.fixture(scope="module")
def learnt(speech, context):
    host = mel_decoder(steps=60)
    return host, host.fit(speech, context("host"))


@pytest.mark.parametrize("hertz", [82.0, 110.3, 151.0, 222.2, 310.0])
def test_the_pitch_of_a_voice_is_found(hertz):
    voice = sum(torch.cos(2 * torch.pi * hertz * h * TIME) / h for h in range(1, 8)) * 0.1
    found, voiced = pitches(voice[None], RATE)
    assert found.shape == voiced.shape == (1, LENGTH // 128)
    assert torch.allclose(found, torch.tensor(hertz), rtol=5e-3)
    assert voiced.min() > 0.75


def test_noise_has_no_voice_and_a_pause_keeps_the_pitch_around_it():
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, LENGTH))).float()
    assert pitches(noise, RATE)[1].max() < 0.6
    voice = sum(torch.cos(2 * torch.pi * 130 * h * TIME) for h in range(1, 8)) * 0.03
    paused = torch.where((TIME > 0.09) & (TIME < 0.17), noise[0] * 1e-3, voice)
    found, voiced = pitches(paused[None], RATE)
    assert voiced[0, 7].max() < 0.7
    assert torch.allclose(found, torch.tensor(130.0), rtol=0.05)


def test_sounds_are_described_on_one_scale(speech):
    maps = described(speech.read(range(64)).float()[:, 0] / 2**15, RATE, 16)
    assert maps.shape == (64, 18, LENGTH // 128)
    assert maps.isfinite().all()
    assert 0.3 < maps[:, :16].std() < 3
    assert 0.3 < maps[:, 16].std() < 3
    assert 0 <= maps[:, 17].min() < maps[:, 17].max() <= VOICED


def test_excitation_is_the_harmonics_of_the_pitch():
    maps = torch.zeros(1, 3, LENGTH // 128)
    maps[:, 1], maps[:, 2] = 4 * np.log2(200 / PITCH_HZ), VOICED
    pulses = Excitation(LENGTH // 128, RATE)(maps)
    count = int(0.47 * RATE / 200 - 1e-3)
    turns = 200 * (torch.arange(LENGTH, dtype=torch.float64) + 1) / RATE
    expected = sum(torch.cos(2 * torch.pi * h * turns) for h in range(1, count + 1))
    expected = expected / np.sqrt(count / 2)
    assert torch.allclose(pulses[0].double(), expected, atol=5e-3)
    noise = Excitation(LENGTH // 128, RATE)(torch.zeros(1, 3, LENGTH // 128))
    assert abs(float(noise.std()) - 1) < 0.05


def test_a_wave_follows_its_maps_alone():
    decoder = Decoder(bands=16, frames=16, rate=RATE, channels=4)
    maps = torch.randn(5, 18, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        waves = decoder(maps)
        assert waves.shape == (5, 1, LENGTH)
        assert torch.allclose(decoder(maps[2:3]), waves[2:3], atol=1e-4)
    assert all(w.shape[0] >= 1 and w.dim() in (1, 3) for w in decoder.parameters())


def test_training_makes_sounds_more_like_their_targets(learnt, speech, context):
    host, state = learnt
    real = speech.read(range(16))
    wanted = real.float()[:, 0] / 2**15
    latents = host.encode(state, real, context("encode"))
    assert latents.shape == (16, 12)
    loss = {}
    fresh = host.untrained(state, context("fresh"))
    for name, one in (("trained", host.assemble(state, context("host"))), ("fresh", fresh)):
        loss[name] = spectral_loss(one.run(latents)[:, 0], wanted)
    assert loss["trained"] < 0.8 * loss["fresh"]


def test_latents_of_sounds_are_those_of_the_prior(learnt, speech, context):
    host, state = learnt
    latents = host.encode(state, speech.read(range(64)), context("encode"))
    # Weights of unit spread over the temperature that they are drawn with.
    assert torch.allclose(latents.std(0), torch.full((12,), 1 / 0.7), rtol=0.05)
    entry = host.encode(state, speech.read(range(4)), context("encode"), "decoder")
    generator = host.assemble(state, context("host"))
    assert torch.allclose(generator.run(latents[:4], until="decoder"), entry, atol=1e-4)
    with pytest.raises(ContractError, match="expected to encode for the step 'components'"):
        host.encode(state, speech.read([0]), context("encode"), "other")


def test_fine_tuning_goes_on_with_its_loss(learnt, speech, context):
    host, state = learnt
    generator, real = host.assemble(state, context("host")), speech.read(range(8))
    wanted = real.float()[:, 0] / 2**15
    latents = host.encode(state, real, context("encode"))
    tuned = dict(host.finetune(state, generator, real, 2e-3, [5, 40], context("tune")))
    assert list(tuned) == [5, 40]
    before, after = (
        spectral_loss(one.run(latents)[:, 0], wanted) for one in (generator, tuned[40])
    )
    assert after < before
    assert tuned[40].output == "decoder"


def test_permuted_channels_draw_the_same(learnt, context):
    host, state = learnt
    generator = host.assemble(state, context("host"))
    attack = PermuteChannels(PermuteChannels.Params())
    surface = Surface(attack.access, attack.name, _copies=[generator])
    ((_, changed),) = attack.apply(surface, (None,), context("permute"))
    first, second = (one.steps["decoder"].entry.weight for one in (generator, changed))
    assert (first - second).abs().max() > 0.05
    groups = generator.steps["decoder"].channels()
    assert [group.count for group in groups] == [32, 16, 8, 4, 4]


def test_a_file_is_enough_to_draw_again(learnt, context):
    host, state = learnt
    generator = host.assemble(state, context("host"))
    packed = pack("test", generator)
    again = host.unpack(dict(packed), context("unpack"))
    latents = generator.prior(range(4))
    assert torch.equal(again.sample(latents), generator.sample(latents))
    with pytest.raises(ContractError, match="expected mean and basis"):
        host.unpack({**packed, "components/more": torch.zeros(1)}, context("unpack"))


def test_the_same_training_gives_the_same_weights(speech, tmp_path_factory):
    states = []
    for number in range(2):
        store = Store(tmp_path_factory.mktemp(f"repeat{number}"))
        ctx = StageContext(CPU, (0, "repeat"), store, modality=Audio(NoParams()), info=speech.info)
        states.append(training.fit(speech, mel_decoder().params, ctx))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("shape", "train", "params", "said"),
    [
        ((2, 2048), 64, {}, "expected sounds of one channel"),
        ((1, 2000), 64, {}, "a multiple of 128"),
        ((1, 384), 64, {}, "512 or more"),
        ((1, 2048), 3, {}, "smaller host.batch"),
        ((1, 2048), 12, {}, "at most 11 components of 12 sounds"),
        ((1, 2048), 64, {}, ""),
    ],
)
def test_what_it_cannot_be_trained_on_is_said(shape, train, params, said):
    info = SampleInfo("audio", shape, "int16", {"train": train}, RATE)
    found = mel_decoder(**params).objection(info)
    assert said in found if said else not found
