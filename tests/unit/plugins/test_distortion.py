import io

import numpy as np
import pytest
import torch
from fpbench_distortion.plugin import CropResize, GaussianBlur, GaussianNoise, Jpeg
from PIL import Image
from scipy import ndimage

from fpbench.builtin.toy_faces.faces import draw
from fpbench.execute.context import StageContext
from fpbench.store import Store

ATTACKS = [Jpeg, GaussianNoise, GaussianBlur, CropResize]


@pytest.fixture
def ctx(tmp_path):
    return StageContext(torch.device("cpu"), (0, "test"), Store(tmp_path))


@pytest.fixture(scope="module")
def faces():
    return torch.from_numpy(draw(np.arange(24), 32)).permute(0, 3, 1, 2)


def run(cls, images, strength, ctx, first=0):
    attack = cls(cls.Params())
    return attack.apply(images, range(first, first + len(images)), strength, ctx)


def hwc(images):
    return images.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("cls", ATTACKS)
def test_shape_type_and_layout_stay_and_the_input_is_not_touched(cls, faces, ctx):
    for strength in cls.strength.grid:
        before = faces.clone()
        changed = run(cls, faces, strength, ctx)
        assert changed.dtype == torch.uint8
        assert changed.shape == faces.shape
        assert changed.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(faces, before)


@pytest.mark.parametrize("cls", ATTACKS)
def test_identity_strength_changes_nothing(cls, faces, ctx):
    if cls.strength.identity is not None:
        assert torch.equal(run(cls, faces, cls.strength.identity, ctx), faces)


@pytest.mark.parametrize("cls", ATTACKS)
def test_stronger_never_means_less_damage(cls, faces, ctx):
    errors = [
        (run(cls, faces, s, ctx).float() - faces.float()).square().mean().item()
        for s in cls.strength.grid
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


@pytest.mark.parametrize("cls", ATTACKS)
def test_an_image_is_attacked_alike_in_every_batch(cls, faces, ctx):
    strength = cls.strength.grid[1]
    whole = run(cls, faces, strength, ctx)
    parts = torch.cat([run(cls, faces[i : i + 5], strength, ctx, first=i) for i in range(0, 24, 5)])
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("quality", Jpeg.strength.grid)
def test_jpeg_agrees_with_pillow(faces, ctx, quality):
    def pillow(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=int(quality), subsampling=2)
        return np.asarray(Image.open(buffer))

    expected = np.stack([pillow(image) for image in hwc(faces)])
    difference = np.abs(hwc(run(Jpeg, faces, quality, ctx)).astype(int) - expected)
    # Both are libjpeg-turbo, but perhaps of different versions.
    assert difference.max() <= 4
    assert difference.mean() < 0.2


@pytest.mark.parametrize("sigma", GaussianBlur.strength.grid)
def test_blur_agrees_with_scipy(faces, ctx, sigma):
    expected = ndimage.gaussian_filter(
        hwc(faces).astype(float), (0, sigma, sigma, 0), mode="mirror", truncate=4
    )
    difference = np.abs(hwc(run(GaussianBlur, faces, sigma, ctx)) - expected)
    assert difference.max() <= 1.5


@pytest.mark.parametrize("sigma", GaussianNoise.strength.grid)
def test_noise_has_the_stated_spread(ctx, sigma):
    grey = torch.full((64, 3, 32, 32), 128, dtype=torch.uint8)
    noise = run(GaussianNoise, grey, sigma, ctx).double() / 255 - 128 / 255
    assert noise.mean().abs() < 4 * sigma / np.sqrt(noise.numel()) + 1e-3
    assert noise.std().item() == pytest.approx(sigma, rel=0.02)


def test_noise_shares_its_draws_along_the_strength_curve(ctx):
    grey = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    weak, strong = (run(GaussianNoise, grey, s, ctx).double() - 128 for s in (0.05, 0.1))
    assert torch.corrcoef(torch.stack([weak.flatten(), strong.flatten()]))[0, 1] > 0.99


@pytest.mark.parametrize("kept", CropResize.strength.grid)
def test_crop_is_a_window_resized_as_torch_would(faces, ctx, kept):
    side = round(kept * 32)
    for index, changed in enumerate(run(CropResize, faces, kept, ctx)):
        u, v = ctx.image_rng(index).random(2)
        top, left = int(u * (33 - side)), int(v * (33 - side))
        window = faces[index, :, top : top + side, left : left + side].float()
        expected = torch.nn.functional.interpolate(window[None], 32, mode="bilinear")[0]
        assert (changed.float() - expected).abs().max() <= 1
