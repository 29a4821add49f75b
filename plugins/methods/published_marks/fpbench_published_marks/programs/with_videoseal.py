"""The library `videoseal`, its model 1.0 for images of 256 bits, one image after the other.

The library asks for files at places within its repository; here they lie in a folder that is given,
and are never fetched. What it gives are floats, rounded here to 8 bits, and logits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import videoseal
from omegaconf import OmegaConf
from videoseal.utils.cfg import setup_model


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, 3, H, W) uint8 images with a code (K,), and to read K logits of each."""
    del variant
    torch.set_num_threads(1)  # the same numbers on every machine of a kind
    config = OmegaConf.load(Path(videoseal.__file__).parent / "cards" / "videoseal_1.0.yaml")
    config.args.attenuation_config = str(Path(weights) / "attenuation.yaml")
    model = setup_model(config, Path(weights) / "y_256b_img.pth").eval()

    def mark(images: np.ndarray, code: np.ndarray) -> np.ndarray:
        marked = np.empty_like(images)
        message = torch.tensor(code[None].copy()).float()
        for place, image in zip(marked, images, strict=True):
            made = model.embed(_floats(image), message, is_video=False)["imgs_w"]
            place[...] = (made[0] * 255).round().to(torch.uint8).numpy()
        return marked

    def read(images: np.ndarray, bits: int) -> np.ndarray:
        logits = np.empty((len(images), bits), np.float32)
        for place, image in zip(logits, images, strict=True):
            # The first number says whether there is a mark at all.
            place[...] = model.detect(_floats(image), is_video=False)["preds"][0, 1:].numpy()
        return logits

    return mark, read


def _floats(image: np.ndarray) -> torch.Tensor:
    return torch.tensor(image[None].copy()).float() / 255
