import numpy as np
import pytest
import torch
from fpbench_regeneration.plugin import Regenerate
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from scipy.signal import resample_poly
from skimage.metrics import peak_signal_noise_ratio
from tiny_autoencoders import decoder_tensors, saved_chain

from fpbench.api import (
    Access,
    ContractError,
    MissingResource,
    NoParams,
    SampleAttack,
    SampleInfo,
    Setting,
    Surface,
    tier_of,
)
from fpbench.api.images import to_float, to_uint8
from fpbench.builtin.audio.modality import Audio
from fpbench.builtin.toy_faces.faces import draw
from fpbench.builtin.toy_speech.speech import speak
from fpbench.nn.autoencoders import layout
from fpbench.nn.autoencoders.opening import decoder_of, encoder_of, read
from fpbench.nn.sound_quality import log_spectral_distance
from fpbench.plan.identity import identity
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.testing.fakes import Blind, TinyHost

CPU = torch.device("cpu")
IMAGES = SampleInfo.of_images(32, {})
SOUNDS = SampleInfo("audio", (1, 1000), "int16", {}, 8000)


def setting(info):
    return Setting(Blind(Blind.Params()), TinyHost(TinyHost.Params()), 2, 8, 1.0, info)


def speech(first, count):
    return torch.from_numpy(speak(np.arange(first, first + count), 8000, 4096))[..., 1000:2020]


def faces(first, count, side=32):
    drawn = draw(np.arange(first, first + count), side)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def of(tmp_path, clean=None, about=None, **params):
    """The attack, and the context in which it has learnt."""
    attack = Regenerate(Regenerate.Params(**params))
    surface = Surface(attack.access, attack.name, _clean_images=clean)
    store = Store(tmp_path / "store")
    about = about or {}
    state = attack.fit(surface, StageContext(CPU, (0, "fit"), store, **about))
    return attack, StageContext(CPU, (0, "test"), store, fitted=state, **about)


def test_a_pass_is_a_call_of_the_autoencoder(tmp_path):
    places = saved_chain(tmp_path)
    attack, ctx = of(tmp_path, **places)
    state = read("a test", layout.find("a test", places["autoencoder"], places["encoder"]))
    images = faces(0, 16)
    with torch.no_grad():
        once = to_uint8(decoder_of(state, CPU)(encoder_of(state, CPU)(to_float(images))))
        twice = to_uint8(decoder_of(state, CPU)(encoder_of(state, CPU)(to_float(once))))
    assert torch.equal(attack.apply(images, range(16), 1.0, ctx), once)
    assert torch.equal(attack.apply(images, range(16), 2.0, ctx), twice)


def test_sides_that_are_no_multiple_are_mirrored_and_cut_back(tmp_path):
    attack, ctx = of(tmp_path, **saved_chain(tmp_path))
    images = faces(0, 3, 34)[..., :33]  # 34 by 33, to 36 by 36
    mirrored = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 2), (0, 3)), mode="reflect")
    whole = attack.apply(torch.from_numpy(mirrored), range(3), 1.0, ctx)
    assert torch.equal(attack.apply(images, range(3), 1.0, ctx), whole[..., :34, :33])
    with pytest.raises(ContractError, match=r"more than 2 pixels.*factor 4"):
        attack.apply(images[..., :2, :2], range(3), 1.0, ctx)


def test_noise_on_latents_is_of_their_size_and_of_the_image(tmp_path):
    places = saved_chain(tmp_path)
    attack, ctx = of(tmp_path, sigma=0.5, **places)
    images = faces(0, 4)
    noisy = attack.apply(images, range(4), 1.0, ctx)
    assert torch.equal(noisy[2:], attack.apply(images[2:], [2, 3], 1.0, ctx))
    assert not torch.equal(noisy, attack.apply(images, range(1, 5), 1.0, ctx))
    state = read("a test", layout.find("a test", places["autoencoder"], places["encoder"]))
    with torch.no_grad():
        latents = encoder_of(state, CPU)(to_float(images))
        drawn = np.stack(
            [ctx.image_rng(i).standard_normal((4, 8, 8), np.float32) for i in range(4)]
        )
        spread = latents.numpy().reshape(4, -1).std(axis=1)[:, None, None, None]
        moved = latents + torch.from_numpy(0.5 * spread * drawn)
        expected = to_uint8(decoder_of(state, CPU)(moved))
    assert (noisy.int() - expected.int()).abs().max() <= 1


def test_without_files_one_is_trained_on_clean_images(tmp_path):
    attack, ctx = of(tmp_path, clean=faces(100, 128), channels=16, steps=80)
    shown = faces(0, 16)
    found = attack.apply(shown, range(16), 1.0, ctx)
    ratio = peak_signal_noise_ratio(shown.numpy(), found.numpy(), data_range=255)
    assert ratio > 15
    grain = torch.randint(-12, 13, shown.shape, generator=torch.Generator().manual_seed(1))
    grainy = (shown.int() // 2 + 64 + grain).to(torch.uint8)
    left = (
        attack.apply(grainy, range(16), 1.0, ctx).float()
        - attack.apply((shown // 2 + 64), range(16), 1.0, ctx).float()
    )
    assert left.std() < 0.7 * grain.float().std()  # fine grain does not survive


def test_of_sounds_a_neural_codec_is_trained(tmp_path):
    about = {"modality": Audio(NoParams()), "info": SOUNDS}
    attack, ctx = of(tmp_path, clean=speech(100, 64), about=about, channels=16, steps=60)
    said = speech(0, 6)
    found = attack.apply(said, range(6), 1.0, ctx)
    assert found.dtype == torch.int16
    assert found.shape == said.shape
    # As near as sound of that level can be, and nearer than silence.
    silence = log_spectral_distance(said, said * 0).mean()
    once = log_spectral_distance(said, found).mean()
    assert 0.5 < once < 0.85 * silence
    assert torch.equal(attack.apply(said[4:], [4, 5], 1.0, ctx), found[4:])
    assert torch.equal(
        attack.apply(found, range(6), 1.0, ctx), attack.apply(said, range(6), 2.0, ctx)
    )
    hiss = torch.randint(-99, 100, said.shape, generator=torch.Generator().manual_seed(1))
    left = attack.apply((said // 2 + hiss).to(torch.int16), range(6), 1.0, ctx).double()
    left -= attack.apply(said // 2, range(6), 1.0, ctx)
    # What is left has little to do with what was added.
    apart = torch.corrcoef(torch.stack([left.flatten(), hiss.double().flatten()]))[0, 1]
    assert abs(apart) < 0.7


def test_latents_of_sounds_are_seven_levels_with_a_gradient():
    from fpbench_regeneration.sounds import FACTOR, SoundCodec

    torch.manual_seed(0)  # noqa: TID251 - initial weights of a test
    codec = SoundCodec(2, 8)
    latents = codec.encode(torch.randn(3, 2, 32 * FACTOR) * 9)
    assert latents.shape == (3, 8, 32)
    levels = set((latents * 3).flatten().tolist())
    assert levels <= {-3, -2, -1, 0, 1, 2, 3}
    codec.decode(latents).square().sum().backward()
    assert codec.encoder[0].weight.grad.abs().max() > 0


def saved_codec(folder, kind, **changes):
    """A tiny codec of one channel at 16 kHz as transformers saves it, and the model."""
    transformers = pytest.importorskip("transformers", reason="the extra latent: no transformers")
    torch.manual_seed(0)  # noqa: TID251 - initial weights of a test
    settings = {"sampling_rate": 16000, "codebook_size": 16, "upsampling_ratios": [4, 2]}
    if kind == "encodec":
        settings |= {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16}
        settings |= {"num_lstm_layers": 1, "target_bandwidths": [8.0, 16.0]} | changes
        model = transformers.EncodecModel(transformers.EncodecConfig(**settings))
    else:
        settings |= {"encoder_hidden_size": 8, "decoder_hidden_size": 16, "n_codebooks": 3}
        settings |= {"downsampling_ratios": [2, 4]} | changes
        model = transformers.DacModel(transformers.DacConfig(**settings))
    model.save_pretrained(folder)
    return str(folder), model.eval()


# 2,000 frames a second of 4 bits: 8 kbit/s for each book of codes.
@pytest.mark.parametrize("kind", ["encodec", "dac"])
@pytest.mark.parametrize("bitrate", [9.0, None])
def test_a_published_codec_of_sounds_is_called_at_its_rate(tmp_path, kind, bitrate):
    place, model = saved_codec(tmp_path / kind, kind)
    about = {"modality": Audio(NoParams()), "info": SOUNDS}
    attack, ctx = of(tmp_path, about=about, autoencoder=place, bitrate=bitrate)
    assert attack.refuse(setting(SOUNDS)) is None
    said = speech(0, 18).reshape(9, 2, 1020)  # more than a batch of mono sounds
    found = attack.apply(said, range(9), 1.0, ctx)
    assert (found.dtype, found.shape) == (torch.int16, said.shape)

    waves = resample_poly(said.double().numpy().reshape(18, 1, 1020) / 32768, 2, 1, axis=-1)
    waves = torch.from_numpy(waves).float()  # 2,040 samples, 255 frames
    with torch.no_grad():
        if kind == "encodec":
            codes = model.encode(waves, bandwidth=8.0 if bitrate else 16.0)
            heard = model.decode(codes.audio_codes, codes.audio_scales).audio_values
        else:
            codes = model.encode(waves, n_quantizers=1 if bitrate else 3)
            heard = model.decode(quantized_representation=codes.quantized_representation)
            heard = heard.audio_values
    back = resample_poly(heard.reshape(18, -1).double().numpy(), 1, 2, axis=-1)[:, :1020]
    wanted = np.rint(back * 32768).clip(-32768, 32767).reshape(9, 2, -1)
    apart = np.abs(found.numpy().astype(float)[..., : wanted.shape[-1]] - wanted)
    assert np.median(apart) <= 1  # a code near the middle of two may go either way
    assert np.abs(wanted).max() > 0
    assert torch.equal(attack.apply(said[7:], [7, 8], 1.0, ctx), found[7:])
    assert torch.equal(
        attack.apply(found, range(9), 1.0, ctx), attack.apply(said, range(9), 2.0, ctx)
    )


def test_folders_that_hold_no_codec_are_refused_before_any_training(tmp_path):
    place, _ = saved_codec(tmp_path / "codec", "encodec")

    def refused(match, error=ContractError, **params):
        with pytest.raises(error, match=match):
            Regenerate(Regenerate.Params(**params)).refuse(setting(SOUNDS))

    refused("expected config.json", autoencoder=str(tmp_path))
    config = tmp_path / "codec" / "config.json"
    good = config.read_text()
    config.write_text(good.replace('"encodec"', '"bert"'))
    refused(r"EncodecModel|encodec or dac.*'bert'", autoencoder=place)
    config.write_text(good.replace('"audio_channels": 1', '"audio_channels": 2'))
    refused("one channel.*audio_channels = 2, chunk_length_s = None", autoencoder=place)
    config.write_text(good)
    weights = tmp_path / "codec" / "model.safetensors"
    whole = load_file(weights)
    save_file(dict(list(whole.items())[1:]), weights, metadata={"format": "pt"})
    about = {"modality": Audio(NoParams()), "info": SOUNDS}
    with pytest.raises(ContractError, match="missing or left over: decoder"):
        of(tmp_path, about=about, autoencoder=place)
    weights.rename(tmp_path / "codec" / "pytorch_model.bin")
    refused("expected model.safetensors.*may run programs", autoencoder=place)
    with pytest.raises(MissingResource, match="hf download facebook/encodec_24khz"):
        of(tmp_path, about=about, autoencoder=str(tmp_path / "none"))
    assert Regenerate(Regenerate.Params(autoencoder="none")).refuse(setting(SOUNDS)) is None
    noisy = Regenerate(Regenerate.Params(autoencoder="none", sigma=0.1))
    assert "no latents" in noisy.refuse(setting(SOUNDS)).reason
    coded = Regenerate(Regenerate.Params(autoencoder="none", bitrate=6))
    assert "no bitrate" in coded.refuse(setting(IMAGES)).reason
    with pytest.raises(ValidationError, match="`bitrate` belongs to a codec's folder"):
        Regenerate.Params(bitrate=6)


def test_what_the_adversary_holds_depends_on_where_it_comes_from(tmp_path):
    own, published = (
        Regenerate(Regenerate.Params()),
        Regenerate(Regenerate.Params(**saved_chain(tmp_path))),
    )
    assert own.access == {Access.IMAGES, Access.CLEAN_IMAGES}
    assert published.access == {Access.IMAGES, Access.PUBLISHED}
    assert (own.steps(None), published.steps(None)) == (600, 0)
    assert {tier_of(a, a.steps(None)) for a in (own, published)} == {"samples"}
    assert isinstance(own, SampleAttack)


def test_files_are_part_of_the_key_and_places_are_not(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    places = [saved_chain(folder) for folder in folders[:2]]
    places.append(saved_chain(folders[2], decoder=decoder_tensors(pool=0)))
    a, b, c = (identity(Regenerate(Regenerate.Params(**each))) for each in places)
    assert a == b != c


def test_files_that_cannot_be_used_are_told_of(tmp_path):
    places = saved_chain(tmp_path)
    missing = Regenerate(Regenerate.Params(autoencoder=str(tmp_path / "none")))
    assert missing.refuse(setting(IMAGES)) is None
    with pytest.raises(MissingResource, match=r"attack regenerate: .*set autoencoder to another"):
        missing.fit(Surface(missing.access, "regenerate"), StageContext(CPU, (0,), Store(tmp_path)))
    alone = Regenerate(Regenerate.Params(autoencoder=places["autoencoder"]))
    with pytest.raises(ContractError, match="set encoder to its file"):
        alone.refuse(setting(IMAGES))
    pickled = tmp_path / "decoder.pt"
    pickled.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ContractError, match="may run programs and are not opened"):
        Regenerate(Regenerate.Params(autoencoder=str(pickled), encoder=places["encoder"])).refuse(
            setting(IMAGES)
        )
    with pytest.raises(ValidationError, match="belongs to a decoder's file"):
        Regenerate.Params(encoder=places["encoder"])


def test_no_pass_is_no_attack():
    assert not Regenerate.strength.allows(0)
    assert not Regenerate.strength.allows(1.5)
    assert Regenerate.strength.allows(4)
