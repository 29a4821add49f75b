import numpy as np
import pytest
import torch
from torch import nn

from fpbench.nn.generator import ChainGenerator, PostStep
from fpbench.nn.images import HeldImages
from fpbench.nn.weights import buffers, exchanged, fused, parameters, weights
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
    assert list(buffers(copy)) == [("post", "code")]
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


def test_fused_steps_draw_the_same_images(copy):
    one = fused(copy)
    assert list(one.steps) == ["generator"]
    latents = copy.prior([1, 2, 3])
    assert torch.equal(one.sample(latents), copy.sample(latents))
    assert list(copy.steps) == ["generator", "post"]
    assert fused(one) is one


def test_held_images_are_read_like_a_stream():
    images = torch.arange(5 * 3 * 4 * 4).reshape(5, 3, 4, 4).to(torch.uint8)
    held = HeldImages(images)
    assert (len(held), held.size) == (5, 4)
    for indices in ([4, 0, 4], np.array([4, 0, 4])):
        read = held.read(indices)
        assert torch.equal(read, torch.stack([images[4], images[0], images[4]]))
        assert read.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(IndexError):
        held.read([5])
