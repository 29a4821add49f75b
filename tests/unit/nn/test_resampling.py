import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch.nn import functional

from fpbench.nn.resampling import UpConv, convolve_down, convolve_up, smooth, upsample

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


@pytest.fixture
def maps():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_filter_is_the_binomial_one(maps):
    expected = convolve2d(maps[1, 2].numpy(), TAPS, mode="full")
    np.testing.assert_allclose(smooth(maps, 3, 3)[1, 2], expected, atol=1e-6)
    np.testing.assert_allclose(smooth(maps, 3, 3, gain=2)[1, 2], 4 * expected, atol=1e-6)


def test_images_grow_by_zeros_and_filter(maps):
    wide = np.zeros((16, 16))
    wide[::2, ::2] = maps[0, 1]
    expected = convolve2d(wide, 4 * TAPS, mode="full")[1:-2, 1:-2]
    found = upsample(maps)[0, 1].numpy()
    # At the border interpolation repeats pixels where the filter meets zeros.
    np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-6)


def test_constant_maps_stay_constant_inside(maps):
    one = torch.ones(1, 1, 8, 8)
    centre = torch.zeros(1, 1, 3, 3)
    centre[..., 1, 1] = 1
    grown = convolve_up(one, centre)
    assert grown.shape == (1, 1, 16, 16)
    assert torch.allclose(grown[..., 2:-2, 2:-2], torch.ones(12, 12), atol=1e-6)
    shrunk = convolve_down(one, centre)
    assert shrunk.shape == (1, 1, 4, 4)
    assert torch.allclose(shrunk[..., 1:-1, 1:-1], torch.ones(2, 2), atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3])
def test_down_is_filter_then_convolution_of_every_second_pixel(maps, kernel):
    weight = torch.randn(5, 3, kernel, kernel, generator=torch.Generator().manual_seed(1))
    filtered = smooth(maps, 2, 1)  # centred on pixels between, as even filters are
    full = functional.conv2d(functional.pad(filtered, (1, 1, 1, 1)), weight)
    found = convolve_down(maps, weight)
    assert found.shape == (2, 5, 4, 4)
    start = 2 if kernel == 1 else 1
    inner = full[..., start::2, start::2][..., :3, :3]
    skip = 0 if kernel == 1 else 1
    torch.testing.assert_close(
        found[..., skip : skip + 2, skip : skip + 2],
        inner[..., skip : skip + 2, skip : skip + 2],
        atol=1e-5,
        rtol=1e-5,
    )


def test_module_holds_an_ordinary_weight(maps):
    layer = UpConv(3, 4, 3, padding=1)
    expected = convolve_up(maps, layer.weight) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(maps), expected)
    assert layer.weight.shape == (4, 3, 3, 3)
