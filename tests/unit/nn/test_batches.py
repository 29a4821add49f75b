import pytest
import torch

from fpbench.nn.batches import BATCH, alike


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, 2 * BATCH + 3])
def test_every_batch_has_one_size_and_every_image_comes_back(count):
    sizes = []

    def change(images):
        sizes.append(len(images))
        assert images.is_contiguous(memory_format=torch.channels_last)
        return images.flatten(1).sum(1)

    images = torch.arange(count * 12.0).reshape(count, 3, 2, 2)
    assert torch.equal(alike(change, images), images.flatten(1).sum(1))
    assert sizes == [BATCH] * -(-count // BATCH)
