"""Images as a modality: what they have always been."""

import cv2
import numpy as np
import pytest
import torch

from fpbench.api import NoParams
from fpbench.api.images import quantise, to_float, to_uint8
from fpbench.builtin.image.modality import Image
from fpbench.nn.image_quality import psnr, ssim
from fpbench.stages.images import as_memory, from_memory

IMAGE = Image(NoParams())


@pytest.fixture
def images():
    drawn = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    return drawn.to(torch.uint8).contiguous(memory_format=torch.channels_last)


def test_conversions_are_those_of_images(images):
    floats = torch.linspace(-1.5, 1.5, 3 * 3 * 16 * 16).reshape(3, 3, 16, 16).requires_grad_()
    assert torch.equal(IMAGE.to_float(images), to_float(images))
    assert torch.equal(IMAGE.to_file(floats), to_uint8(floats))
    seen = IMAGE.quantise(floats)
    assert torch.equal(seen, quantise(floats))
    (gradient,) = torch.autograd.grad(seen.sum(), floats)
    assert torch.equal(gradient, (floats.abs() <= 1).float())


def test_likeness_is_psnr_then_ssim_and_damage_what_ssim_loses(images):
    other = images.flip(0)
    found = {name: measure(images, other) for name, measure in IMAGE.likeness.items()}
    assert list(found) == ["psnr", "ssim"]
    assert torch.equal(found["psnr"], psnr(images, other))
    assert torch.equal(IMAGE.damage(images, other), 1 - ssim(images, other))
    assert torch.equal(IMAGE.damage(images, images), torch.zeros(3, dtype=torch.float64))


def test_images_are_shown_side_by_side(images):
    media, content = IMAGE.show(images.numpy())
    strip = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert media == "image/png"
    assert np.array_equal(strip, np.concatenate([*images.permute(0, 2, 3, 1).numpy()], axis=1))


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 20)])
def test_samples_come_back_with_the_memory_that_they_had(shape):
    samples = torch.arange(2 * np.prod(shape)).reshape(2, *shape).to(torch.int16)
    if len(shape) == 3:
        samples = samples.contiguous(memory_format=torch.channels_last)
    back = from_memory(as_memory(samples), torch.device("cpu"))
    assert torch.equal(back, samples)
    assert back.stride() == samples.stride()
