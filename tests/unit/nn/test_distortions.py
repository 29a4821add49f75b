import math

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from fpbench.api.images import to_float, to_uint8
from fpbench.nn import distortions
from fpbench.nn.draws import Draws
from fpbench.nn.pca import fit_pca, project


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _draws(count):
    return Draws(_rng(), count)


def _pixels(count=6, size=32):
    """Smooth images: what a codec is made for."""
    noise = torch.randn(count, 3, size, size, generator=_rng(7))
    smooth = distortions.blur(noise, torch.full((count,), 2.0))
    return to_uint8(smooth * 2)


def test_blur_equals_scipy():
    images = torch.randn(2, 3, 16, 16, generator=_rng())
    sigma = torch.tensor([0.6, 1.3])
    blurred = distortions.blur(images, sigma).numpy()
    for image, result, s in zip(images.numpy(), blurred, sigma.tolist(), strict=True):
        radius = math.ceil(3 * s)  # its own, whatever else is in the batch
        expected = gaussian_filter1d(image, s, axis=1, radius=radius, mode="mirror")
        expected = gaussian_filter1d(expected, s, axis=2, radius=radius, mode="mirror")
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_jpeg_equals_the_codec_and_passes_gradients():
    pixels = _pixels(2)
    images = to_float(pixels).requires_grad_(True)
    coded = distortions.jpeg(images, torch.tensor([90.0, 40.0]))
    for index, quality in enumerate([90, 40]):
        bgr = pixels[index].permute(1, 2, 0).numpy()[:, :, ::-1]
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
        found = to_uint8(coded)[index].permute(1, 2, 0).numpy()
        assert np.array_equal(found, expected)
    coded.sum().backward()
    assert torch.equal(images.grad, torch.ones_like(images))


def test_noise_has_the_spread_asked_for_on_the_unit_scale():
    images = torch.zeros(2, 3, 64, 64)
    noisy = distortions.noise(images, torch.tensor([0.0, 0.1]), _draws(2))
    assert torch.equal(noisy[0], images[0])
    assert noisy[1].std().item() == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("square", [True, False])
def test_paste_keeps_the_share_asked_for(square):
    images, under = torch.ones(64, 3, 32, 32), torch.zeros(64, 3, 32, 32)
    pasted = distortions.paste(images, under, torch.full((64,), 0.5), _draws(64), square=square)
    assert pasted.mean().item() == pytest.approx(0.5, abs=0.03)
    assert len(set(pasted.view(64, -1).sum(1).tolist()) | {0}) > 1 or square


def test_crop_of_everything_changes_nothing():
    images = torch.randn(2, 3, 16, 16, generator=_rng())
    cropped = distortions.crop_resize(images, torch.ones(2), _draws(2))
    torch.testing.assert_close(cropped, images, atol=1e-5, rtol=0)


def test_soften_keeps_a_third_clean_and_changes_the_rest():
    images = to_float(_pixels(12))
    softened = distortions.soften(images, _draws(12))
    changed = (softened - images).abs().flatten(1).amax(1) > 0
    assert changed.tolist() == [False] * 4 + [True] * 8
    assert torch.equal(softened, distortions.soften(images, _draws(12)))


def test_principal_components_are_white_and_ordered():
    pixels = torch.randint(256, (400, 3, 32, 32), generator=_rng(), dtype=torch.uint8)
    mean, basis = fit_pca(pixels, 8)
    codes = project(pixels, mean, basis)
    torch.testing.assert_close(codes.T @ codes / 400, torch.eye(8), atol=1e-3, rtol=0)
    assert torch.equal(basis, fit_pca(pixels, 8)[1])
    assert (basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all()
