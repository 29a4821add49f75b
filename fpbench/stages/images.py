"""A split of a data set as the stages and plugins read it; samples as arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fpbench.api import Conditions, ContractError, Dataset

_HELD_BYTES = 2**30


def as_memory(samples: Tensor) -> np.ndarray:
    """Samples as an array in the order of their memory: (N, C, H, W) as (N, H, W, C)."""
    last = samples.permute(0, 2, 3, 1) if samples.dim() == 4 else samples
    array: np.ndarray = last.contiguous().cpu().numpy()
    return array


def from_memory(array: np.ndarray, device: torch.device) -> Tensor:
    """The samples of `as_memory`, with the memory that they had."""
    samples = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    # The channels-last memory of HWC arrays is what codecs and filters read without a copy.
    return samples.permute(0, 3, 1, 2) if samples.dim() == 4 else samples


class SplitStream:
    """Samples of a split in a row; an `fpbench.api.SampleStream`.

    A split of up to 1 GiB is kept once it was read: drawing or decoding it again for every batch
    would cost a tenth of a training.

    Args:
        dataset: where they come from.
        split: "train", "test" or "reference".
        device: where they go.
        first: index of the first of them.
        count: number of samples; None = all behind the first.
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
        self.info = info = dataset.info()
        self._dataset = dataset
        self._split = split
        self._device = device
        self._first = first
        self._count = info.counts[split] - first if count is None else count
        self._dtype = np.dtype(info.dtype)
        # Channels come last in arrays of images, and of whatever looks like them.
        self._shape = (*info.shape[1:], info.shape[0]) if len(info.shape) == 3 else info.shape
        shape = (self._count, *self._shape)
        held = self._count * info.nbytes <= _HELD_BYTES
        self._samples = np.empty(shape, self._dtype) if held else None
        self._known = np.zeros(self._count, bool)

    def __len__(self) -> int:
        return self._count

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(N, *shape) on the device; (N, C, H, W) in channels-last memory."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < self._count):
            raise IndexError(
                f"split '{self._split}': expected indices in [0, {self._count}), got "
                f"{int(wanted.min())} to {int(wanted.max())}"
            )
        return from_memory(self._held(wanted), self._device)

    def conditions(self, indices: Sequence[int] | np.ndarray) -> Conditions:
        """Captions or classes; empty where the data set has none."""
        wanted = np.asarray(indices, dtype=np.int64) + self._first
        return self._dataset.conditions(self._split, wanted)

    def _held(self, wanted: np.ndarray) -> np.ndarray:
        if self._samples is None:
            return self._fresh(wanted)
        missing = np.unique(wanted[~self._known[wanted]])
        if missing.size:
            self._samples[missing] = self._fresh(missing)
            self._known[missing] = True
        held: np.ndarray = self._samples[wanted]
        return held

    def _fresh(self, wanted: np.ndarray) -> np.ndarray:
        array = self._dataset.read(self._split, wanted + self._first)
        shape = (len(wanted), *self._shape)
        if array.dtype != self._dtype or array.shape != shape:
            raise ContractError(
                f"dataset {self._dataset.name}: expected {self._dtype} {shape}, got {array.dtype} "
                f"{array.shape}"
            )
        return array
