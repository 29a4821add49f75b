"""Images in batches of one size, so that each is computed alike in all company."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["BATCH", "alike"]

BATCH = 16


def alike(change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What a function makes of images, `BATCH` at a time; the last batch is filled up.

    A convolution may sum in another order in a batch of another size, and where signs or roundings
    follow, the last digit decides. In batches of one size an image is computed alike whatever is
    computed beside it, which is what attacks on images promise.

    Args:
        change: ``(BATCH, C, H, W)`` in channels-last memory to ``(BATCH, ...)``, row by row.
        images: ``(N, C, H, W)``, at least one.
    """
    made = []
    for part in torch.split(images, BATCH):
        missing = part[-1:].expand(BATCH - len(part), *part.shape[1:])
        whole = torch.cat([part, missing]).contiguous(memory_format=torch.channels_last)
        made.append(change(whole)[: len(part)])
    return torch.cat(made)
