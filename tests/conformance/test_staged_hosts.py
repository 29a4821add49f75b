"""Methods on a host whose latents are a dict, and whose output step is neither first nor last."""

import pytest
import torch
from fpbench_scalable_gan.plugin import ScalableGAN
from fpbench_stylegan2.plugin import StyleGAN2
from test_methods import TINY
from torch import nn

from fpbench.api import ContractError, Generator, Offer
from fpbench.nn.generator import ChainGenerator
from fpbench.registry import load
from fpbench.testing.conformance import check_method


class Front(nn.Module):
    def forward(self, latents):
        return latents["z"] + latents["shift"]


class Mirror(nn.Module):
    def forward(self, images):
        return images.flip(3)


class Staged(Generator):
    def __init__(self, chain):
        self.chain = chain

    @property
    def steps(self):
        return self.chain.steps

    @property
    def output(self):
        return "generator"

    def prior(self, seeds, conditions=()):
        z = self.chain.prior(seeds)
        return {"z": z, "shift": z.abs().mean(1, keepdim=True)}

    def sample(self, latents):
        return self.chain.sample(latents)

    def replace(self, name, step, *, after=None):
        return Staged(self.chain.replace(name, step, after=after))


class StagedHost(StyleGAN2):
    offers = frozenset({Offer.WEIGHTS, Offer.CONVOLUTIONS})

    def assemble(self, state, ctx):
        return staged(super().assemble(state, ctx))

    def unpack(self, packed, ctx):
        return staged(super().unpack(packed, ctx))


def staged(generator):
    steps = {"front": Front(), **generator.steps, "behind": Mirror()}
    return Staged(ChainGenerator(steps, 16, torch.device("cpu")))


@pytest.fixture(scope="module")
def host():
    params = {"channels": 16, "embedding_dim": 16, "batch": 8, "pair_steps": 2}
    return StagedHost(StagedHost.Params(**params, adversarial_steps=1, latent_dim=16))


@pytest.mark.parametrize(
    "name", ["decentralized", "hidden", "stable-signature", "weight-modulation"]
)
def test_methods_train_and_mark_the_output_step(name, host, tmp_path):
    cls = load().component("methods", name)
    found = check_method(cls(cls.Params(**TINY[name])), tmp_path, host=host, train=64)
    assert found.leaked == (("post",) if name == "hidden" else ())
    assert not found.sealed


def test_whose_latents_are_of_another_kind_is_refused(host):
    refusal = ScalableGAN(ScalableGAN.Params(latent_dim=16)).refuse(host, None)
    assert "use a host that offers gaussian" in refusal.reason


def test_the_paired_host_does_not_train_through_steps_before_its_own(host):
    steps = {"front": nn.Identity(), "generator": nn.Identity()}
    copy = ChainGenerator(steps, 16, torch.device("cpu"))
    with pytest.raises(ContractError, match="takes the host's latents, got 'front' before it"):
        next(host.finetune({}, copy, torch.zeros(1), 1e-3, [1], None))
