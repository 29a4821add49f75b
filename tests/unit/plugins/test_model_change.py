import numpy as np
import pytest
import torch
from fpbench_model_change.plugin import FineTune, WeightNoise
from fpbench_pipeline.plugin import Bypass

from fpbench.api import Access, ContractError, Surface, TrainedHost
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.execute.context import StageContext
from fpbench.execute.images import SplitStream
from fpbench.nn.generator import PostStep
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost
from fpbench.testing.networks import BlockEmbedder


@pytest.fixture
def ctx(tmp_path):
    return StageContext(torch.device("cpu"), (0, "test"), Store(tmp_path))


@pytest.fixture
def images():
    return SplitStream(ToyFaces(ToyFaces.Params(train=16)), "train", torch.device("cpu"))


@pytest.fixture
def host(ctx, images):
    component = TinyHost(TinyHost.Params())
    state = component.fit(images, ctx)
    return TrainedHost(component, state, component.assemble(state, ctx))


def surface(attack, host, copy, clean=None):
    return Surface(attack.access, attack.name, copy, clean, host)


def weights(generator):
    return torch.cat([p.flatten() for s in generator.steps.values() for p in s.parameters()])


def test_weight_noise_is_relative_to_each_tensor_and_shares_its_direction(host, ctx):
    attack = WeightNoise(WeightNoise.Params())
    before = weights(host.generator).clone()
    opened = surface(attack, host, host.generator)
    noisy = dict(attack.apply(opened, [0.1, 0.3], ctx))
    assert torch.equal(weights(host.generator), before)
    for name, parameter in host.generator.steps["generator"].named_parameters():
        weak, strong = (
            noisy[s].steps["generator"].get_parameter(name) - parameter for s in (0.1, 0.3)
        )
        assert torch.allclose(3 * weak, strong, atol=1e-5)
        expected = 0.1 * parameter.std()
        assert weak.std().item() == pytest.approx(expected.item(), rel=0.4)


def test_zero_weight_noise_changes_nothing(host, ctx):
    attack = WeightNoise(WeightNoise.Params())
    ((_, same),) = attack.apply(surface(attack, host, host.generator), [0.0], ctx)
    assert torch.equal(weights(same), weights(host.generator))


def test_fine_tuning_is_one_trajectory_that_does_not_depend_on_its_marks(host, images, ctx):
    attack = FineTune(FineTune.Params(learning_rate=1e-2))
    opened = surface(attack, host, host.generator, images.read(np.arange(8)))
    some = dict(attack.apply(opened, [3.0], ctx))
    more = dict(attack.apply(opened, [1.0, 3.0, 5.0], ctx))
    assert list(more) == [1.0, 3.0, 5.0]
    assert torch.equal(weights(some[3.0]), weights(more[3.0]))
    assert not torch.equal(weights(more[3.0]), weights(more[5.0]))


def test_bypass_drops_the_post_step_and_leaves_other_copies_alone(host, ctx):
    attack = Bypass(Bypass.Params())
    code = torch.ones(16, dtype=torch.bool)
    post = PostStep(BlockEmbedder(16, torch.tensor([0.25])), code)
    marked = host.generator.replace("post", post, after="generator")
    latents = host.generator.prior([1, 2])
    assert not torch.equal(marked.sample(latents), host.generator.sample(latents))
    bypassed = attack.apply(surface(attack, host, marked), ctx)
    assert torch.equal(bypassed.sample(latents), host.generator.sample(latents))
    assert attack.apply(surface(attack, host, host.generator), ctx).steps == host.generator.steps


def test_an_attack_cannot_use_what_it_did_not_declare(host):
    attack = WeightNoise(WeightNoise.Params())
    assert attack.access == {Access.COPY}
    with pytest.raises(ContractError, match="weight-noise"):
        _ = surface(attack, host, host.generator).public_host
