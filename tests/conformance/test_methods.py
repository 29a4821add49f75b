import importlib.util
import sys
from pathlib import Path

import pytest
import tiny_libraries
from tiny_synth import TinySynth

from fpbench.api import ContractError, NoParams
from fpbench.builtin.toy_speech.dataset import ToySpeech
from fpbench.registry import load
from fpbench.testing.conformance import check_method
from fpbench.testing.fakes import (
    Blind,
    Keyed,
    Perfect,
    Present,
    Relative,
    Retrained,
    Weighed,
)

ROOT = Path(__file__).parents[2]

TINY = {
    "scalable-gan": {
        "bits": 8,
        "latent_dim": 16,
        "channels": 16,
        "pair_steps": 2,
        "joint_steps": 2,
        "batch": 8,
    },
    "weight-modulation": {"bits": 8, "steps": 2, "batch": 8},
    "wouaf": {"bits": 8, "steps": 2, "whole_batch": 8, "carrier": "low-rank"},
    "hidden": {"bits": 8, "channels": 8, "steps": 2, "batch": 12},
    "foreign": {
        "bits": 8,
        "folder": str(ROOT / "plugins" / "methods" / "foreign" / "fpbench_foreign"),
        "command": (sys.executable, "server.py"),
    },
    "invisible-watermark": {"bits": 8},
    "blind-watermark": {"bits": 8},
    "trustmark": {},
    "videoseal": {},
    "gaussian-shading": {"bits": 8, "measured": 64, "least_accuracy": 0},
    "weight-watermark": {"bits": 8, "steps": 2, "batch": 2},
    "decentralized": {
        "keys": 4,
        "samples": 32,
        "key_steps": 2,
        "key_batch": 8,
        "steps": 2,
        "rounds": 1,
        "judged": 16,
        "batch": 4,
    },
    "stable-signature": {"bits": 8, "channels": 8, "steps": 2, "batch": 4, "tuning_steps": 2},
    "passive-detector": {"channels": 8, "batch": 8, "steps": 2},
    "passive-attribution": {"channels": 8, "batch": 8, "steps": 2, "samples": 16},
}
OF_SOUNDS = {
    "hidden-audio": {"bits": 8, "frame": 64, "channels": 8, "steps": 2, "batch": 16},
    "spread-spectrum-audio": {"bits": 8},
    "perth": {},
    "aware": {},
    "audioseal": {},
    "wavmark": {},
    "silentcipher": {},
}
ADDED = {"post-hoc": ("post",), "sampler": ("prior",)}


@pytest.fixture(scope="module")
def small_host():
    cls = load().component("hosts", "stylegan2")
    params = {"channels": 16, "embedding_dim": 16, "batch": 8, "pair_steps": 2}
    return cls(cls.Params(**params, adversarial_steps=1, latent_dim=16))


@pytest.mark.parametrize("name", sorted(TINY))
@pytest.mark.parametrize("size", [32, 64])
def test_in_tree_methods_keep_the_contract(name, size, small_host, tmp_path, monkeypatch):
    cls, params = load().component("methods", name), TINY[name]
    if name in tiny_libraries.METHODS:
        monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(tmp_path / "environments"))
        params = params | tiny_libraries.make(name, tmp_path)
    result = check_method(cls(cls.Params(**params)), tmp_path, host=small_host, size=size)
    assert result.leaked == ADDED.get(cls.placement, ())
    assert ("the opaque post" in result.sealed) if cls.opaque else not result.sealed


@pytest.mark.parametrize("name", sorted(OF_SOUNDS))
def test_in_tree_methods_of_sounds_keep_the_contract(name, tmp_path, monkeypatch):
    cls, params = load().component("methods", name), OF_SOUNDS[name]
    if name in tiny_libraries.METHODS:
        monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(tmp_path / "environments"))
        params = params | tiny_libraries.make(name, tmp_path)
    speech = ToySpeech(ToySpeech.Params(train=64, test=16, reference=16, length=2048))
    method = cls(cls.Params(**params))
    result = check_method(method, tmp_path, host=TinySynth(NoParams()), dataset=speech)
    assert result.leaked == ("post",)
    if cls.opaque:
        assert "the opaque post" in result.sealed
    elif name == "spread-spectrum-audio":
        assert "holds the sequences" in result.sealed
        assert result.right > 0.99
    else:
        assert not result.sealed


def test_every_in_tree_method_is_checked():
    # Images that were marked elsewhere have a test of their own: nothing marks more of them.
    assert set(load().names("methods")) - {"self-marked"} == {*TINY, *OF_SOUNDS}


def test_fakes_have_the_known_answers(tmp_path):
    assert check_method(Perfect(Perfect.Params()), tmp_path).right == 1
    assert abs(check_method(Blind(Blind.Params()), tmp_path).right - 0.5) < 0.12


@pytest.mark.parametrize("cls", [Blind, Keyed, Perfect, Present, Relative, Retrained, Weighed])
def test_copies_of_fakes_are_opened_from_files(cls, tmp_path):
    assert not check_method(cls(cls.Params()), tmp_path).sealed


def test_a_copy_that_holds_what_is_read_with_is_found(tmp_path):
    import torch

    class Careless(Perfect):
        """Its copies hold the factors of the blocks' contrasts."""

        def fit(self, host, images, ctx):
            return {"factors": 0.2 + torch.rand(self.bits, generator=ctx.rng("factors"))}

        def embedder(self, state, ctx):
            made = super().embedder({"amplitude": torch.tensor([0.25])}, ctx)
            made.register_buffer("factors", state["factors"])
            return made

        def extract(self, state, host, evidence, ctx):
            return super().extract(state, host, evidence, ctx) * state["factors"]

        def embedder_of(self, weights, ctx):
            return self.embedder(weights, ctx)

    with pytest.raises(ContractError, match="got 'factors' of what he keeps"):
        check_method(Careless(Careless.Params()), tmp_path)


def test_a_file_that_gives_another_copy_is_found(tmp_path):
    class Forgetful(Perfect):
        def embedder_of(self, weights, ctx):
            return super().embedder_of({"amplitude": weights["amplitude"] * 2}, ctx)

    with pytest.raises(ContractError, match="unpack: expected the same result twice"):
        check_method(Forgetful(Forgetful.Params()), tmp_path)


def test_a_method_need_not_open_files(tmp_path):
    cls = template().SpreadSpectrum
    assert "implement `embedder_of`" in check_method(cls(cls.Params()), tmp_path).sealed


def template():
    path = ROOT / "plugins" / "template" / "fpbench_template" / "plugin.py"
    spec = importlib.util.spec_from_file_location("fpbench_template_plugin", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_template_works_as_it_is(tmp_path):
    cls = template().SpreadSpectrum
    assert check_method(cls(cls.Params()), tmp_path).right > 0.9


def test_the_template_stays_short():
    text = (ROOT / "plugins" / "template" / "fpbench_template" / "plugin.py").read_text()
    assert len(text.splitlines()) <= 60


def test_a_reader_that_looks_at_its_batch_is_found(tmp_path):
    class Peeking(Blind):
        def extract(self, state, host, evidence, ctx):
            logits = super().extract(state, host, evidence, ctx)
            return logits - logits.mean(dim=0)

    with pytest.raises(ContractError, match="batch statistics"):
        check_method(Peeking(Peeking.Params()), tmp_path)


def test_hidden_randomness_is_found(tmp_path):
    import torch

    class Restless(Blind):
        def fit(self, host, images, ctx):
            return {"noise": torch.rand(3)}

    with pytest.raises(ContractError, match="same result twice"):
        check_method(Restless(Restless.Params()), tmp_path)


def hidden_carrier(**own):
    """A template whose patterns no attack on weights reaches."""
    import torch

    module = template()

    class Bare(torch.nn.Module):
        opaque = own.get("opaque", False)

        def __init__(self, add):
            super().__init__()
            self.kept = [add]

        def forward(self, images, codes):
            return self.kept[0](images, codes)

    def embedder(self, state, ctx):
        return Bare(module.SpreadSpectrum.embedder(self, state, ctx))

    cls = type("HiddenCarrier", (module.SpreadSpectrum,), {"embedder": embedder, **own})
    return cls(cls.Params())


def test_a_mark_that_no_attack_on_weights_reaches_is_found_unless_it_says_so(tmp_path):
    with pytest.raises(ContractError, match="got the same images with all 0 of them at 0"):
        check_method(hidden_carrier(), tmp_path)
    assert check_method(hidden_carrier(opaque=True), tmp_path / "said").right > 0.9


def test_an_opaque_step_of_a_method_that_does_not_say_so_is_found(tmp_path):
    method = hidden_carrier(opaque=True)
    type(method).opaque = False
    with pytest.raises(ContractError, match="on the method, too"):
        check_method(method, tmp_path)


def test_copies_with_latents_of_their_own_are_found_unless_they_say_so(tmp_path):
    from torch import nn

    from fpbench.nn.generator import ChainGenerator

    class Own(Blind):
        def assemble(self, state, host, issued, ctx):
            step = nn.Sequential(nn.ZeroPad1d((0, -1)), *host.generator.steps.values())
            return ChainGenerator({"generator": step}, 9, ctx.device)

    with pytest.raises(ContractError, match="host_latents = False"):
        check_method(Own(Own.Params()), tmp_path)
    Own.host_latents = False
    check_method(Own(Own.Params()), tmp_path / "said")
