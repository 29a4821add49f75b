"""Images held in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fpbench.api import Conditions, SampleInfo

__all__ = ["HeldImages"]


class HeldImages:
    """Images in memory, read like a split of a data set; an `fpbench.api.SampleStream`.

    Args:
        images: ``(N, 3, H, W)`` uint8, square.
    """

    def __init__(self, images: Tensor) -> None:
        self._images = images

    @property
    def info(self) -> SampleInfo:
        """Their size, and that they are a training split."""
        return SampleInfo.of_images(self._images.shape[-1], {"train": len(self._images)})

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The images at ``indices``: ``(N, 3, H, W)`` uint8, channels-last, where they are held."""
        chosen = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        return self._images[chosen].contiguous(memory_format=torch.channels_last)

    def conditions(self, indices: Sequence[int] | np.ndarray) -> Conditions:
        """None: of images alone nothing else is known."""
        del indices
        return ()
