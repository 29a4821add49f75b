"""The library `blind-watermark`, one image after the other, with its default passwords.

It works on BGR, gives floats that it rounds when it writes a file, and reads bits without a degree:
+1 and -1.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def opened(variant: str, weights: str, strength: float = 1.0) -> tuple[Any, Any]:
    """How to mark (N, 3, H, W) uint8 images with a code (K,), and to read K logits of each."""
    del variant, weights
    import blind_watermark as library

    def made() -> Any:
        both = library.WaterMark()
        # The steps to which the two largest singular values are rounded.
        both.bwm_core.d1 *= strength
        both.bwm_core.d2 *= strength
        return both

    def mark(images: np.ndarray, code: np.ndarray) -> np.ndarray:
        marked = np.empty_like(images)
        for place, image in zip(marked, images, strict=True):
            embedder = made()
            embedder.read_img(img=np.ascontiguousarray(image[::-1].transpose(1, 2, 0)))
            embedder.read_wm(code, mode="bit")
            place[...] = np.rint(embedder.embed()).transpose(2, 0, 1)[::-1]
        return marked

    def read(images: np.ndarray, bits: int) -> np.ndarray:
        logits = np.empty((len(images), bits), np.float32)
        for place, image in zip(logits, images, strict=True):
            bgr = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
            found = made().extract(embed_img=bgr, wm_shape=bits, mode="bit")
            place[...] = np.where(found, 1, -1)
        return logits

    return mark, read
