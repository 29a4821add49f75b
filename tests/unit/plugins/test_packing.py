"""Copies as files, of networks that are drawn and not trained."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fpbench_hidden.plugin import Hidden
from fpbench_scalable_gan import training as scalable_gan
from fpbench_scalable_gan.plugin import ScalableGAN
from fpbench_stylegan2 import training as stylegan2
from fpbench_stylegan2.plugin import StyleGAN2
from fpbench_weight_modulation import training as weight_modulation
from fpbench_weight_modulation.plugin import WeightModulation

from fpbench import Copy, load_copy
from fpbench.api import ContractError, NoParams, TrainedHost, derive_seed
from fpbench.builtin.image.modality import Image
from fpbench.nn.state import prefixed
from fpbench.python.cards import CopyCard, part_of
from fpbench.registry import load

CTX = SimpleNamespace(device=torch.device("cpu"))
CODE = {"code": torch.tensor([True, False] * 4)}
KINDS = ["compact", "stylegan2"]


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        yield


def a_host(architecture="compact", size=32):
    own = {"architecture": architecture, "latent_dim": 8, "channels": 16, "embedding_dim": 8}
    host = StyleGAN2(StyleGAN2.Params(**own))
    state = prefixed({"generator": stylegan2.build(host.params, size)})
    state["image_size"] = torch.tensor(size)
    return TrainedHost(host, state, host.assemble(state, CTX))


def scalable(architecture="compact", size=32):
    own = {"architecture": architecture, "latent_dim": 8, "channels": 16, "embedding_dim": 8}
    method = ScalableGAN(ScalableGAN.Params(bits=8, **own))
    sizes = (size, 8, method.params)
    networks = {
        "generator": scalable_gan.build(*sizes),
        "reader": scalable_gan.build_reader(*sizes),
    }
    said = {"image_size": torch.tensor(size), "latent_dim": torch.tensor(8)}
    return method, {**prefixed(networks), **said}


def modulated(host):
    method = WeightModulation(WeightModulation.Params(bits=8, embedding_dim=8))
    network = host.generator.steps["generator"]
    networks = {
        "network": network,
        "code": weight_modulation.build(network, method.params),
        "reader": weight_modulation.build_reader(32, method.params),
    }
    return method, prefixed(networks)


def assert_same_images(one, other):
    assert torch.equal(one.sample(one.prior([1, 2])), other.sample(other.prior([1, 2])))


@pytest.mark.parametrize("architecture", KINDS)
@pytest.mark.parametrize("size", [32, 64])
def test_networks_are_opened_at_their_size(architecture, size):
    host = a_host(architecture, size)
    method, state = scalable(architecture, size)
    copy = method.assemble(state, host, CODE, CTX)
    assert_same_images(copy, method.unpack(method.pack(copy), host.component, CTX))
    again = host.component.unpack(method.pack(host.generator), CTX)
    assert_same_images(host.generator, again)


def test_files_hold_neither_what_makes_codes_into_weights_nor_what_reads_them():
    host = a_host()
    for method, state in (scalable(), modulated(host)):
        secret = ("reader.", "code.", "generator.embed.")
        secrets = [t for name, t in state.items() if name.startswith(secret)]
        packed = method.pack(method.assemble(state, host, CODE, CTX)).values()
        telling = [t for t in secrets if t.std() > 0]
        assert telling
        assert not any(torch.equal(t, p) for t in telling for p in packed)


def test_files_of_other_kinds_and_parameters_are_refused():
    host = a_host()
    method, state = modulated(host)
    packed = method.pack(method.assemble(state, host, CODE, CTX))
    with pytest.raises(ContractError, match="step 'post', got generator; open it with"):
        Hidden(Hidden.Params()).unpack(packed, host.component, CTX)
    with pytest.raises(ContractError, match="expected the weights of a copy of these parameters"):
        method.unpack(packed, a_host("stylegan2").component, CTX)
    with pytest.raises(ContractError, match="scalable-gan: unpack: expected the weights"):
        scalable()[0].unpack(packed, host.component, CTX)


@pytest.mark.parametrize("architecture", KINDS)
def test_saved_copies_draw_the_same_images(architecture, tmp_path):
    host, catalogue = a_host(architecture), load()
    for method, state in (scalable(architecture), modulated(host)):
        generator = method.assemble(state, host, CODE, CTX)
        card = CopyCard(
            method=part_of("method", method, catalogue),
            host=part_of("host", host.component, catalogue),
            modality="image",
            shape=(3, 32, 32),
            dtype="uint8",
        )
        copy = Copy(card, method, host.component, generator, Image(NoParams()), CTX.device)
        again = load_copy(copy.save(tmp_path / method.name), device="cpu")
        assert np.array_equal(again.sample(3), copy.sample(3))
        drawn = generator.sample(generator.prior([derive_seed(0, "copy", i) for i in range(3)]))
        assert np.array_equal(copy.sample(3), drawn.permute(0, 2, 3, 1))
