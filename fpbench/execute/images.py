"""A split of a data set as the stages and plugins read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import ContractError, Dataset


class SplitStream:
    """Images `first` to `first + count` of a split; an `fpbench.api.ImageStream`.

    Args:
        dataset: where they come from.
        split: "train", "test" or "reference".
        device: where they go.
        first: index of image 0 of the stream.
        count: number of images; None = all that follow.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        split: str,
        device: torch.device,
        *,
        first: int = 0,
        count: int | None = None,
    ) -> None:
        info = dataset.info()
        self._dataset = dataset
        self._split = split
        self._device = device
        self._first = first
        self._count = info.counts[split] - first if count is None else count
        self.size = info.size

    def __len__(self) -> int:
        return self._count

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(N, 3, H, W) uint8, channels-last memory, on the device."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self._count):
            raise IndexError(
                f"split '{self._split}': expected indices in [0, {self._count}), got "
                f"{int(wanted.min())} to {int(wanted.max())}"
            )
        array = self._dataset.read(self._split, wanted + self._first)
        if array.dtype != np.uint8 or array.shape != (len(wanted), self.size, self.size, 3):
            raise ContractError(
                f"dataset {self._dataset.name}: expected uint8 "
                f"({len(wanted)}, {self.size}, {self.size}, 3), got {array.dtype} {array.shape}"
            )
        # The channels-last memory of HWC arrays is what codecs and filters read without a copy.
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device).permute(0, 3, 1, 2)
