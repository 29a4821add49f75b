import numpy as np
import pytest
import torch
from fpbench_hidden.networks import Embedder
from fpbench_hidden.training import distort, scale
from skimage.metrics import peak_signal_noise_ratio

from fpbench.api.images import to_float, to_uint8
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.draws import Draws
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [32, 64])
def test_change_is_bounded_and_depends_on_the_code(size):
    embedder = Embedder(bits=12, channels=8, strength=0.1)
    images = torch.rand(2, 3, size, size) * 2 - 1
    first = embedder(images, torch.ones(2, 12, dtype=torch.bool))
    second = embedder(images, torch.zeros(2, 12, dtype=torch.bool))
    assert first.shape == images.shape
    assert (first - images).abs().max() <= 0.1 + 1e-6
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("decibels", [30, 45])
def test_a_mark_is_brought_to_a_loudness(decibels, tmp_path):
    images = SplitStream(ToyFaces(ToyFaces.Params(train=512)), "train", CPU)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        embedder = Embedder(bits=12, channels=8, strength=0.2, scaled=True)
        plain = Embedder(bits=12, channels=8, strength=0.2)
    before = set(embedder.state_dict())
    scale(embedder, images, decibels, StageContext(CPU, (0,), Store(tmp_path), bits=12))
    others = images.read(np.arange(300, 364))
    codes = torch.rand(64, 12, generator=torch.Generator().manual_seed(1)) < 0.5
    marked = to_uint8(embedder(to_float(others), codes).detach())
    pairs = zip(others.numpy(), marked.numpy(), strict=True)
    found = [peak_signal_noise_ratio(one, other, data_range=255) for one, other in pairs]
    assert abs(np.mean(found) - decibels) < 0.3
    assert before - set(plain.state_dict()) == {"loudness"}


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
