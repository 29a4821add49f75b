import numpy as np
import pytest
import torch
from torch import nn

from fpbench.api.post import PostStep
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.images import HeldSamples
from fpbench.nn.stylegan2 import StyleSynthesis
from fpbench.nn.synthesis import SkipSynthesis
from fpbench.nn.weights import (
    buffers,
    exchanged,
    fused,
    layers,
    parameters,
    reachable,
    unit,
    weights,
)
from fpbench.testing.networks import BlockEmbedder, LinearImages


@pytest.fixture
def copy():
    steps = {
        "generator": LinearImages(16),
        "post": PostStep(BlockEmbedder(4, torch.tensor([0.25])), torch.ones(4, dtype=torch.bool)),
    }
    return ChainGenerator(steps, 8, torch.device("cpu"))


def test_tensors_are_found_by_step_and_name(copy):
    weight, bias = ("generator", "map.weight"), ("generator", "map.bias")
    assert list(parameters(copy)) == [weight, bias, ("post", "embedder.amplitude")]
    assert list(weights(copy)) == [weight]
    assert list(buffers(copy)) == [("generator", "size"), ("post", "code")]
    assert not any(value.requires_grad for value in parameters(copy).values())


def test_exchanging_tensors_leaves_the_original_and_other_steps_alone(copy):
    before = {place: value.clone() for place, value in parameters(copy).items()}
    code = torch.zeros(4, dtype=torch.bool)
    changed = exchanged(copy, {("post", "code"): code})
    assert changed.steps["generator"] is copy.steps["generator"]
    assert torch.equal(buffers(changed)["post", "code"], code)
    assert bool(buffers(copy)["post", "code"].all())
    changed = exchanged(copy, {place: value + 1 for place, value in before.items()})
    for place, value in before.items():
        assert torch.equal(parameters(changed)[place], value + 1)
        assert torch.equal(parameters(copy)[place], value)
    with pytest.raises(KeyError):
        exchanged(copy, {("post", "nothing"): code})


def test_exchanged_tensors_keep_type_and_memory_format():
    conv = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    generator = ChainGenerator({"conv": conv}, 4, torch.device("cpu"))
    changed = exchanged(generator, {("conv", "weight"): torch.ones(4, 4, 3, 3).double()})
    weight = parameters(changed)["conv", "weight"]
    assert weight.dtype == torch.float32
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_what_an_attack_reaches_are_parameters_and_kept_floating_point_buffers():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net.register_buffer("pattern", torch.ones(4, 4))
    net.register_buffer("fixed", torch.ones(4, 4), persistent=False)
    sealed = nn.Linear(2, 2)
    sealed.opaque = True
    steps = {"generator": net, "post": sealed}
    generator = ChainGenerator(steps, 2, torch.device("cpu"))
    assert [name for _, name in reachable(generator)] == [
        "0.weight", "0.bias", "1.weight", "1.bias", "pattern", "1.running_mean", "1.running_var",
    ]  # fmt: skip
    assert [name for _, name in weights(generator)] == ["0.weight", "pattern"]
    assert {step for step, _ in [*parameters(generator), *buffers(generator)]} == {"generator"}
    assert exchanged(generator, {("generator", "0.bias"): torch.ones(3)}).steps["post"] is sealed


def test_a_running_variance_stays_positive():
    norm = nn.BatchNorm1d(3)
    generator = ChainGenerator({"norm": norm}, 3, torch.device("cpu"))
    place = ("norm", "running_var")
    changed = buffers(exchanged(generator, {place: torch.tensor([-2.0, 0.5, 0.0])}))[place]
    assert torch.allclose(changed, torch.tensor([0.01, 0.5, 0.01]))


def test_the_unit_of_a_tensor_is_its_root_mean_square():
    values = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert unit(values).item() == pytest.approx(2.5)
    assert unit(torch.zeros(3)) > 0


class Entered(nn.Module):
    """Features of one latent, then a synthesis; a part of it is never used."""

    def __init__(self, synthesis, channels):
        super().__init__()
        self.synthesis = synthesis
        self.unused = nn.Linear(2, 2)
        self.channels = channels

    def forward(self, latents):
        w = latents[:, :4]
        return self.synthesis(latents.new_ones(len(latents), self.channels, 4, 4), w)


@pytest.mark.parametrize(
    ("synthesis", "expected"),
    [
        (
            lambda: SkipSynthesis(image_size=32, channels=4, style_dim=4),
            "convs.0.0 rgbs.0 convs.1.0 convs.1.1 rgbs.1 convs.2.0 convs.2.1 convs.2.2 rgbs.2",
        ),
        (
            lambda: StyleSynthesis(image_size=16, widths=[4, 4, 4], style_dim=4),
            "convs.0 rgbs.0 convs.1 convs.2 rgbs.1 convs.3 convs.4 rgbs.2",
        ),
    ],
)
def test_layers_come_in_the_order_in_which_an_image_is_drawn(synthesis, expected):
    generator = ChainGenerator({"generator": Entered(synthesis(), 4)}, 4, torch.device("cpu"))
    found = layers(generator, generator.prior([0]))
    assert found[0] == [("generator", "unused.weight"), ("generator", "unused.bias")]
    order = [
        place[0][1]
        .removeprefix("synthesis.")
        .rpartition(".")[0]
        .removesuffix(".conv")
        .removesuffix(".affine")
        for place in found[1:]
    ]
    assert list(dict.fromkeys(order)) == expected.split()
    assert sorted(place for layer in found for place in layer) == sorted(reachable(generator))
    assert not any(module._forward_pre_hooks for module in generator.steps["generator"].modules())


def test_fused_steps_draw_the_same_images(copy):
    one = fused(copy)
    assert list(one.steps) == ["generator"]
    latents = copy.prior([1, 2, 3])
    assert torch.equal(one.sample(latents), copy.sample(latents))
    assert list(copy.steps) == ["generator", "post"]
    assert fused(one) is one


def test_held_images_are_read_like_a_stream():
    images = torch.arange(5 * 3 * 4 * 4).reshape(5, 3, 4, 4).to(torch.uint8)
    held = HeldSamples(images)
    assert (len(held), held.info.size) == (5, 4)
    for indices in ([4, 0, 4], np.array([4, 0, 4])):
        read = held.read(indices)
        assert torch.equal(read, torch.stack([images[4], images[0], images[4]]))
        assert read.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(IndexError):
        held.read([5])
