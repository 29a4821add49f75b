"""The library `invisible-watermark`: what its `WatermarkEncoder` calls, one image after the other.

The encoder itself takes images of 256 × 256 pixels and more, and then does the same. It works on
BGR and gives bits without a degree: +1 and -1.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np


def opened(variant: str, weights: str, strength: float = 1.0) -> tuple[Any, Any]:
    """How to mark (N, 3, H, W) uint8 images with a code (K,), and to read K logits of each."""
    del weights  # RivaGAN's come with the library
    kind = _kind(variant)
    steps: dict[str, Any] = {}
    if variant != "rivagan" and strength != 1:
        own = inspect.signature(kind).parameters["scales"].default
        steps["scales"] = [strength * scale for scale in own]

    def mark(images: np.ndarray, code: np.ndarray) -> np.ndarray:
        marked = np.empty_like(images)
        encoder = kind([int(bit) for bit in code], len(code), **steps)
        for place, image in zip(marked, images, strict=True):
            bgr = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
            made = encoder.encode(bgr.copy())
            if variant == "rivagan" and strength != 1:
                louder = bgr + strength * (made.astype(float) - bgr)
                made = np.rint(louder).clip(0, 255)
            place[...] = made.transpose(2, 0, 1)[::-1]
        return marked

    def read(images: np.ndarray, bits: int) -> np.ndarray:
        logits = np.empty((len(images), bits), np.float32)
        decoder = kind([], bits, **steps)
        for place, image in zip(logits, images, strict=True):
            bgr = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
            place[...] = np.where(decoder.decode(bgr), 1, -1)
        return logits

    return mark, read


def _kind(variant: str) -> Any:
    if variant == "dwt-dct":
        from imwatermark.maxDct import EmbedMaxDct

        return EmbedMaxDct
    if variant == "dwt-dct-svd":
        from imwatermark.dwtDctSvd import EmbedDwtDctSvd

        return EmbedDwtDctSvd
    from imwatermark.rivaGan import RivaWatermark

    RivaWatermark.loadModel()
    return RivaWatermark
