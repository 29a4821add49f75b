"""A split of a data set as the stages and plugins read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import Conditions, ContractError, Dataset

_HELD_BYTES = 2**30


class SplitStream:
    """The first `count` images of a split; an `fpbench.api.SampleStream`.

    A split of up to 1 GiB is kept once it was read: drawing or decoding it again for every batch
    would cost a tenth of a training.

    Args:
        dataset: where they come from.
        split: "train", "test" or "reference".
        device: where they go.
        count: number of images; None = all.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        split: str,
        device: torch.device,
        *,
        count: int | None = None,
    ) -> None:
        self.info = info = dataset.info()
        self._dataset = dataset
        self._split = split
        self._device = device
        self._count = info.counts[split] if count is None else count
        shape = (self._count, info.size, info.size, 3)
        held = math.prod(shape) <= _HELD_BYTES
        self._images = np.empty(shape, np.uint8) if held else None
        self._known = np.zeros(self._count, bool)

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
        array = np.ascontiguousarray(self._held(wanted))
        # The channels-last memory of HWC arrays is what codecs and filters read without a copy.
        return torch.from_numpy(array).to(self._device).permute(0, 3, 1, 2)

    def conditions(self, indices: Sequence[int] | np.ndarray) -> Conditions:
        """Captions or classes; empty where the data set has none."""
        return self._dataset.conditions(self._split, np.asarray(indices, dtype=np.int64))

    def _held(self, wanted: np.ndarray) -> np.ndarray:
        if self._images is None:
            return self._fresh(wanted)
        missing = np.unique(wanted[~self._known[wanted]])
        if missing.size:
            self._images[missing] = self._fresh(missing)
            self._known[missing] = True
        held: np.ndarray = self._images[wanted]
        return held

    def _fresh(self, wanted: np.ndarray) -> np.ndarray:
        array, size = self._dataset.read(self._split, wanted), self.info.size
        if array.dtype != np.uint8 or array.shape != (len(wanted), size, size, 3):
            raise ContractError(
                f"dataset {self._dataset.name}: expected uint8 "
                f"({len(wanted)}, {size}, {size}, 3), got {array.dtype} {array.shape}"
            )
        return array
