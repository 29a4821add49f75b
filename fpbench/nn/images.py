"""Images, or other samples, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fpbench.api import Conditions, SampleInfo

__all__ = ["HeldSamples"]


class HeldSamples:
    """Samples in memory, read like a split of a data set; an `fpbench.api.SampleStream`.

    Args:
        samples: images ``(N, 3, H, W)`` uint8, square; or others.
        info: what is known of others.
    """

    def __init__(self, samples: Tensor, info: SampleInfo | None = None) -> None:
        self._samples = samples
        self._info = info or SampleInfo.of_images(samples.shape[-1], {})

    @property
    def info(self) -> SampleInfo:
        """What is known of them, and that they are a training split."""
        return replace(self._info, counts={"train": len(self)}, conditions="")

    def __len__(self) -> int:
        return len(self._samples)

    def read(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """The samples at ``indices``, where they are held; images channels-last."""
        chosen = self._samples[torch.from_numpy(np.asarray(indices, dtype=np.int64))]
        if chosen.dim() != 4:
            return chosen
        return chosen.contiguous(memory_format=torch.channels_last)

    def conditions(self, indices: Sequence[int] | np.ndarray) -> Conditions:
        """None: of samples alone nothing else is known."""
        del indices
        return ()
