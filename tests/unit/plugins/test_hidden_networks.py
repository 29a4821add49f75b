import pytest
import torch
from fpbench_hidden.networks import Embedder
from fpbench_hidden.training import distort

from fpbench.nn.draws import Draws


@pytest.mark.parametrize("size", [32, 64])
def test_change_is_bounded_and_depends_on_the_code(size):
    embedder = Embedder(bits=12, channels=8, strength=0.1)
    images = torch.rand(2, 3, size, size) * 2 - 1
    first = embedder(images, torch.ones(2, 12, dtype=torch.bool))
    second = embedder(images, torch.zeros(2, 12, dtype=torch.bool))
    assert first.shape == images.shape
    assert (first - images).abs().max() <= 0.1 + 1e-6
    assert (first - second).abs().max() > 1e-4


def test_an_image_is_marked_the_same_alone_and_in_a_batch():
    embedder = Embedder(bits=12, channels=8, strength=0.1).train()
    images, codes = torch.rand(8, 3, 32, 32), torch.rand(8, 12) < 0.5
    alone = torch.cat([embedder(images[i : i + 1], codes[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(alone, embedder(images, codes), atol=1e-5, rtol=0)
    assert not list(embedder.buffers())


def test_noise_layers_keep_the_shape_and_leave_a_sixth_alone():
    images, covers = torch.rand(12, 3, 32, 32) * 2 - 1, torch.zeros(12, 3, 32, 32)
    seen = distort(images, covers, Draws(torch.Generator().manual_seed(0), 12))
    assert seen.shape == images.shape
    changed = (seen - images).abs().flatten(1).amax(1) > 1e-6
    assert changed[:2].tolist() == [False, False]
    assert changed[4:].all()
