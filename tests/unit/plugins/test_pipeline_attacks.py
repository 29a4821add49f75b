import pytest
import torch
from fpbench_pipeline.plugin import Bypass, Resample, SwapStep
from fpbench_stylegan2.networks import CompactGenerator
from pydantic import ValidationError
from torch import nn

from fpbench.api import SampleInfo, Setting, Surface, TrainedHost
from fpbench.api.post import PostStep
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.weights import parameters
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.testing.fakes import Blind, Perfect, TinyHost
from fpbench.testing.networks import BlockEmbedder

CPU = torch.device("cpu")
INFO = SampleInfo.of_images(16, {})


def generator(seed):
    """Five parameter tensors in one step."""
    rng = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 48))
    layers.append(nn.Unflatten(1, (3, 4, 4)))
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 4)
    return ChainGenerator({"generator": layers}, 8, CPU)


def marked(copy):
    code = torch.ones(8, dtype=torch.bool)
    post = PostStep(BlockEmbedder(8, torch.tensor([0.25])), code)
    return copy.replace("post", post, after="generator")


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "test"), Store(tmp_path))


@pytest.fixture
def host():
    return TrainedHost(TinyHost(TinyHost.Params()), {}, generator(1))


def surface(attack, host, copy):
    return Surface(attack.access, attack.name, [copy], _public_host=host)


def test_bypass_drops_the_post_step_and_leaves_other_copies_alone(host, ctx):
    attack = Bypass(Bypass.Params())
    copy = marked(host.generator)
    latents = host.generator.prior([1, 2])
    assert not torch.equal(copy.sample(latents), host.generator.sample(latents))
    bypassed = attack.apply(surface(attack, host, copy), ctx)
    assert torch.equal(bypassed.sample(latents), host.generator.sample(latents))
    assert attack.apply(surface(attack, host, host.generator), ctx).steps == host.generator.steps


def test_swapped_layers_are_the_last_ones_and_the_hosts(host, ctx):
    attack, copy = SwapStep(SwapStep.Params()), generator(2)
    own, public = parameters(copy), parameters(host.generator)
    numbers = {0.0: 0, 0.34: 2, 0.67: 3, 1.0: 5}  # of five tensors in three layers
    swapped = dict(attack.apply(surface(attack, host, copy), list(numbers)[::-1], ctx))
    assert list(swapped) == list(numbers)
    for share, number in numbers.items():
        for index, (place, value) in enumerate(parameters(swapped[share]).items()):
            assert torch.equal(value, (own if index < 5 - number else public)[place])
    latents = copy.prior([1, 2])
    assert torch.equal(swapped[1.0].sample(latents), host.generator.sample(latents))
    assert torch.equal(swapped[0.0].sample(latents), copy.sample(latents))


def test_a_quarter_of_a_skip_generator_ends_with_convolutions_too(host, ctx):
    def skip(seed):
        rng = torch.Generator().manual_seed(seed)
        step = CompactGenerator(image_size=32, latent_dim=8, channels=8, embedding_dim=8)
        for parameter in step.parameters():
            torch.nn.init.normal_(parameter, generator=rng)
        return ChainGenerator({"generator": step}, 8, CPU)

    attack, copy, public = SwapStep(SwapStep.Params()), skip(1), skip(2)
    opened = surface(attack, TrainedHost(host.component, {}, public), copy)
    ((_, swapped),) = attack.apply(opened, [0.25], ctx)
    theirs = parameters(public)
    changed = {
        name.rpartition(".")[0].removeprefix("synthesis.")
        for (_, name), value in parameters(swapped).items()
        if torch.equal(value, theirs["generator", name])
    }
    # 3 stages of 1, 2 and 3 convolutions with a layer to RGB each, each with its style map; the
    # constant and two layers of mapping: a quarter of 21 layers are the last 5.
    assert changed == {
        "convs.2.1.conv", "convs.2.2.affine", "convs.2.2.conv", "rgbs.2.affine", "rgbs.2.conv",
    }  # fmt: skip


def test_swapping_keeps_steps_that_the_host_lacks(host, ctx):
    attack, copy = SwapStep(SwapStep.Params()), marked(generator(2))
    ((_, swapped),) = attack.apply(surface(attack, host, copy), [1.0], ctx)
    assert swapped.steps["post"] is copy.steps["post"]
    latents = copy.prior([1, 2])
    assert torch.equal(swapped.sample(latents), marked(host.generator).sample(latents))


def test_swapping_needs_a_mark_in_the_hosts_own_layers(host):
    class Own(Blind):
        builds_on_host = False

    attack = SwapStep(SwapStep.Params())
    for cls, reason in ((Own, "no layers"), (Perfect, "does not reach the mark"), (Blind, "")):
        refusal = attack.refuse(Setting(cls(cls.Params()), host.component, 2, 0, 0.5, INFO))
        assert reason in refusal.reason if reason else refusal is None


def test_resampling_needs_copies_that_take_the_hosts_latents(host):
    class Own(Blind):
        host_latents = False

    attack = Resample(Resample.Params())
    for cls, refused in ((Own, True), (Blind, False)):
        refusal = attack.refuse(Setting(cls(cls.Params()), host.component, 2, 0, None, INFO))
        assert (refusal is not None) == refused


def test_resampled_latents_are_the_hosts_from_other_seeds(host, ctx):
    attack, copy = Resample(Resample.Params()), marked(generator(2))
    resampled = attack.apply(surface(attack, host, copy), ctx)
    seeds = [3, 2**62, 5]
    latents = resampled.prior(seeds)
    assert latents.shape == (3, 8)
    assert torch.equal(latents[1:2], resampled.prior(seeds[1:2]))
    assert not torch.equal(latents, copy.prior(seeds))
    assert torch.equal(latents, attack.apply(surface(attack, host, copy), ctx).prior(seeds))
    other = attack.apply(surface(attack, host, copy), ctx.branch("other"))
    assert not torch.equal(latents, other.prior(seeds))
    many = resampled.prior(range(2000))
    assert abs(many.mean()) < 0.03
    assert abs(many.std() - 1) < 0.03
    assert torch.equal(resampled.sample(latents), copy.sample(latents))
    assert resampled.steps == copy.steps
    bare = resampled.replace("post", None)
    assert torch.equal(bare.prior(seeds), latents)
    assert list(bare.steps) == ["generator"]


@pytest.mark.parametrize("cls", [Bypass, SwapStep, Resample])
def test_parameters_that_do_not_exist_are_refused(cls):
    with pytest.raises(ValidationError):
        cls.Params(share=0.5)
