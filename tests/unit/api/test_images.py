import torch

from fpbench.api.images import quantise, to_float, to_uint8


def test_every_level_survives_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, -1, -1)
    images = to_float(levels)
    assert images.min() == -1
    assert images.max() == 1
    assert torch.equal(to_uint8(images), levels)


def test_both_conversions_give_channels_last_memory():
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    for images in (to_float(pixels), to_uint8(torch.zeros(2, 3, 4, 4))):
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_out_of_range_values_are_clamped():
    images = torch.tensor([-9.0, 9.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    assert to_uint8(images)[0, 0, 0].tolist() == [0, 255]


def test_quantise_equals_the_round_trip_and_passes_gradients_inside_the_range():
    rng = torch.Generator().manual_seed(0)
    images = (torch.rand(2, 3, 4, 4, generator=rng) * 3 - 1.5).requires_grad_(True)
    quantised = quantise(images)
    assert torch.equal(quantised.detach(), to_float(to_uint8(images)))
    quantised.sum().backward()
    assert torch.equal(images.grad, (images.detach().abs() <= 1).float())
