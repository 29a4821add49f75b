import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fpbench.nn.image_quality import psnr, ssim


def image_pairs(count, height, width):
    rng = np.random.default_rng(height * width)
    base = rng.integers(0, 256, (count, 3, height, width))
    base[::3] = np.linspace(0, 255, width).astype(int)
    base[1::3] = 250
    noise = rng.normal(0, rng.uniform(0.3, 40, (count, 1, 1, 1)), base.shape)
    return base.astype(np.uint8), np.clip(base + noise, 0, 255).astype(np.uint8)


def reference_ssim(a, b):
    return structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=0,
    )


@pytest.mark.parametrize(("height", "width"), [(11, 11), (32, 32), (17, 40), (64, 64)])
def test_ssim_agrees_with_scikit_image(height, width):
    a, b = image_pairs(12, height, width)
    expected = [reference_ssim(x, y) for x, y in zip(a, b, strict=True)]
    found = ssim(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (32, 32), (17, 40)])
def test_psnr_agrees_with_scikit_image(height, width):
    a, b = image_pairs(12, height, width)
    b[:, 0, 0, 0] ^= 1
    expected = [peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(a, b, strict=True)]
    found = psnr(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_identical_images_have_infinite_psnr_and_full_ssim():
    a = torch.from_numpy(image_pairs(3, 16, 16)[0])
    assert all(math.isinf(value) for value in psnr(a, a).tolist())
    np.testing.assert_allclose(ssim(a, a).numpy(), 1)


def test_black_against_white_is_zero_decibels():
    black = torch.zeros(1, 3, 12, 12, dtype=torch.uint8)
    assert psnr(black, black + 255).item() == 0


def test_pairs_do_not_depend_on_their_batch():
    a, b = (torch.from_numpy(x) for x in image_pairs(50, 32, 32))
    for measure in (psnr, ssim):
        alone = torch.cat([measure(a[i : i + 1], b[i : i + 1]) for i in range(len(a))])
        np.testing.assert_allclose(measure(a, b).numpy(), alone.numpy(), rtol=1e-12)
        assert measure(a, b).dtype == torch.float64


def test_ssim_is_symmetric():
    a, b = (torch.from_numpy(x) for x in image_pairs(6, 20, 20))
    np.testing.assert_allclose(ssim(a, b).numpy(), ssim(b, a).numpy())


def test_images_smaller_than_the_window_are_refused():
    small = torch.zeros(1, 3, 10, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(small, small)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_other_types_and_shapes_are_refused_with_what_was_expected(measure):
    good = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    for bad in (good.float(), good[:1], good[:, :1], good[0], good[:0]):
        with pytest.raises(ValueError, match="expected"):
            measure(good, bad)
        with pytest.raises(ValueError, match="expected"):
            measure(bad, good)


def test_both_are_those_of_torchmetrics_inside_the_border():
    from torchmetrics.functional import image as published

    a, b = map(torch.from_numpy, image_pairs(12, 32, 40))
    x, y = a.double(), b.double()
    theirs = published.peak_signal_noise_ratio(
        x, y, data_range=255.0, reduction="none", dim=(1, 2, 3)
    )
    torch.testing.assert_close(psnr(a, b), theirs.double(), rtol=1e-6, atol=1e-7)
    # It averages over windows that hang over a mirrored border, too.
    _, maps = published.structural_similarity_index_measure(
        x, y, data_range=255.0, reduction="none", return_full_image=True
    )
    inside = maps[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    torch.testing.assert_close(ssim(a, b), inside.double(), rtol=1e-6, atol=1e-7)
