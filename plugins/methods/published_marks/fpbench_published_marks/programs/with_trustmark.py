"""The library `trustmark`, one image after the other, without its error correction.

Weights are read from a folder that is given, and never fetched. Bits are read without a degree: +1
and -1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from trustmark import TrustMark


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, 3, H, W) uint8 images with a code (K,), and to read K logits of each."""
    torch.set_num_threads(1)  # the same numbers on every machine of a kind

    class Brought(TrustMark):  # type: ignore[misc] # the library is not in this environment
        """Finds its files in the folder."""

        def check_and_download(self, filename: str) -> None:
            if not Path(filename).is_file():
                raise FileNotFoundError(filename)

        def load_model(self, config: str, weight: str, *rest: Any, **more: Any) -> Any:
            config, weight = (str(Path(weights) / Path(name).name) for name in (config, weight))
            return super().load_model(config, weight, *rest, **more)

    model = Brought(
        use_ECC=False, verbose=False, device="cpu", model_type=variant, loadRemover=False
    )

    def mark(images: np.ndarray, code: np.ndarray) -> np.ndarray:
        marked = np.empty_like(images)
        text = "".join("1" if bit else "0" for bit in code)
        for place, image in zip(marked, images, strict=True):
            made = model.encode(_picture(image), text, MODE="binary")
            place[...] = np.asarray(made).transpose(2, 0, 1)
        return marked

    def read(images: np.ndarray, bits: int) -> np.ndarray:
        logits = np.empty((len(images), bits), np.float32)
        for place, image in zip(logits, images, strict=True):
            text, *_ = model.decode(_picture(image), MODE="binary")
            place[...] = [1 if bit == "1" else -1 for bit in text]
        return logits

    return mark, read


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
