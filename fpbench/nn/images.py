"""Images held in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["HeldImages"]


class HeldImages:
    """Images in memory, read like a split of a data set; an `fpbench.api.ImageStream`.

    Args:
        images: ``(N, 3, H, W)`` uint8, square.
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images

    @property
    def size(self) -> int:
        """Height and width, pixels."""
        return self._images.shape[-1]

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The images at ``indices``: ``(N, 3, H, W)`` uint8, channels-last, where they are held."""
        chosen = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return self._images[chosen].contiguous(memory_format=torch.channels_last)
