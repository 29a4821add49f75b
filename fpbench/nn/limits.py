"""What the networks of this package cannot be trained on; known before torch is loaded."""

from __future__ import annotations

from fpbench.api import SampleInfo

__all__ = ["objection"]

_LEAST, _MOST = 16, 512


def objection(images: SampleInfo, batch: int) -> str:
    """Why a pyramid of powers of two cannot be trained on such images; empty if it can.

    Args:
        images: size and counts.
        batch: images of a step.
    """
    size, count = images.size, images.counts["train"]
    if size & (size - 1) or not _LEAST <= size <= _MOST:
        return (
            f"expected images whose side is a power of two from {_LEAST} to {_MOST} pixels, got "
            f"{size}; set [dataset] size"
        )
    if count < batch:
        return (
            f"expected at least a batch of {batch} images to train on, got {count}; give the data "
            "set more, or set a smaller batch"
        )
    return ""
