"""Methods on a published decoder, whose latents come from encoded photographs."""

import pytest
from test_methods import TINY
from tiny_autoencoders import autoencoder_kl, saved_chain

from fpbench.registry import load
from fpbench.testing.conformance import check_method


def host_of(places, **params):
    cls = load().component("hosts", "latent-diffusion")
    return cls(cls.Params(**places, images=64, components=16, **params))


@pytest.mark.parametrize("name", ["decentralized", "gaussian-shading", "hidden"])
def test_methods_mark_the_decoder_of_a_chain(name, tmp_path):
    host = host_of(saved_chain(tmp_path))
    cls = load().component("methods", name)
    found = check_method(cls(cls.Params(**TINY[name])), tmp_path, host=host, train=64)
    assert not found.sealed


@pytest.mark.parametrize("name", ["hidden", "weight-watermark"])
def test_methods_mark_the_decoder_of_diffusers(name, tmp_path):
    autoencoder_kl().save_pretrained(tmp_path / "kl")
    host = host_of({"autoencoder": str(tmp_path / "kl")})
    cls = load().component("methods", name)
    found = check_method(cls(cls.Params(**TINY[name])), tmp_path, host=host, train=64)
    assert not found.sealed


def test_copies_for_the_latents_of_photographs_are_sealed(tmp_path):
    host = host_of(saved_chain(tmp_path), sampler="photographs")
    cls = load().component("methods", "hidden")
    found = check_method(cls(cls.Params(**TINY["hidden"])), tmp_path, host=host, train=64)
    assert "set host.sampler to gaussian" in found.sealed
