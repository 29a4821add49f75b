"""Methods on a published decoder, whose latents come from encoded photographs or a denoiser."""

import pytest
from test_methods import TINY
from tiny_autoencoders import autoencoder_kl, saved_chain
from tiny_pipeline import pipeline

from fpbench.api import SampleInfo
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.registry import load
from fpbench.testing.conformance import check_method


def host_of(places, **params):
    cls = load().component("hosts", "latent-diffusion")
    return cls(cls.Params(**places, images=64, components=16, **params))


class ClassFaces(ToyFaces):
    def info(self):
        plain = super().info()
        return SampleInfo.of_images(plain.size, plain.counts, "classes")

    def conditions(self, split, indices):
        return [int(i) % 3 for i in indices]


class CaptionFaces(ToyFaces):
    def info(self):
        plain = super().info()
        return SampleInfo.of_images(plain.size, plain.counts, "captions")

    def conditions(self, split, indices):
        return [("a red cat", "photo of a dog")[int(i) % 2] for i in indices]


@pytest.mark.parametrize("name", ["decentralized", "gaussian-shading", "hidden", "wouaf"])
def test_methods_mark_the_decoder_of_a_chain(name, tmp_path):
    host = host_of(saved_chain(tmp_path))
    cls = load().component("methods", name)
    found = check_method(cls(cls.Params(**TINY[name])), tmp_path, host=host, train=64)
    assert not found.sealed


@pytest.mark.parametrize("name", ["hidden", "weight-watermark", "wouaf"])
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


@pytest.mark.parametrize("kind", [ToyFaces, ClassFaces])
@pytest.mark.parametrize("name", ["decentralized", "hidden"])
def test_methods_mark_the_decoder_behind_a_denoiser(name, kind, tmp_path):
    sizes = {"width": 16, "depth": 1, "heads": 2, "patch": 2, "steps": 4, "batch": 8}
    host = host_of(saved_chain(tmp_path), sampler="denoiser", sampling_steps=2, **sizes)
    cls = load().component("methods", name)
    faces = kind(kind.Params(train=64))
    found = check_method(cls(cls.Params(**TINY[name])), tmp_path, host=host, dataset=faces)
    assert not found.sealed


@pytest.mark.timeout(300)  # what a process imports for the first pipeline
@pytest.mark.parametrize("kind", [ToyFaces, CaptionFaces])
def test_methods_mark_the_decoder_of_a_pipeline(kind, tmp_path):
    pipeline(tmp_path)
    host = host_of(
        {"autoencoder": str(tmp_path / "pipeline")}, sampler="pipeline", sampling_steps=2
    )
    cls = load().component("methods", "hidden")
    faces = kind(kind.Params(train=64))
    found = check_method(cls(cls.Params(**TINY["hidden"])), tmp_path, host=host, dataset=faces)
    assert not found.sealed
