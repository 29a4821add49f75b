"""CLIP score of images and captions (Hessel et al. 2021) by `transformers`, as torchmetrics has it.

The score of a pair is 100 max(cos, 0) of CLIP's features; Hessel et al. print 2.5 max(cos, 0).
Letters: N pairs, H and W in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from fpbench.backbones.weights import WrongWeights, library

__all__ = ["CaptionScores"]

# Pairs in flight; few keep the maps of a large network near the cache.
_BATCH = 32
_DAMAGED = (OSError, ValueError, RuntimeError, LookupError, TypeError, SafetensorError)


class CaptionScores:
    """(N, 3, H, W) uint8 and N captions -> (N,) float64 in [0, 100]: how well each pair fits.

    Args:
        folder: of a `CLIPModel` and its processor, as `save_pretrained` writes them.
        device: Where it computes.

    Raises:
        MissingResource: transformers is not installed.
        WrongWeights: The folder is of another network, or a part is missing or damaged.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        kinds = library("transformers")
        local: dict[str, Any] = {"local_files_only": True}
        try:
            model, found = kinds.CLIPModel.from_pretrained(
                str(folder), use_safetensors=True, output_loading_info=True, **local
            )
            self._images = kinds.CLIPImageProcessor.from_pretrained(str(folder), **local)
            self._words = kinds.CLIPTokenizer.from_pretrained(str(folder), **local)
        except _DAMAGED as error:
            raise WrongWeights(
                f"weights {folder}: expected a CLIPModel with its processor, as save_pretrained "
                f"writes them, got {type(error).__name__}: {error}; bring the folder again"
            ) from error
        # What is missing would be drawn at random.
        for what in ("missing_keys", "mismatched_keys"):
            if found.get(what):
                raise WrongWeights(
                    f"weights {folder}: expected all tensors of a CLIPModel, got "
                    f"{what.replace('_', ' ')}: {min(map(str, found[what]))}; bring the folder "
                    "again"
                )
        self._model = model.float().eval().requires_grad_(requires_grad=False).to(device)
        self._device = device
        self._length = int(model.config.text_config.max_position_embeddings)

    @torch.inference_mode()
    def __call__(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """The score of each pair; captions that are too long are cut, and keep their end token.

        Args:
            images: `(N, 3, H, W)` uint8, N >= 1.
            captions: N texts.

        Returns:
            `(N,)` float64 on the network's device.

        Raises:
            ValueError: If they are not N images and N captions.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) != len(captions):
            got = f"{tuple(images.shape)} of {images.dtype} and {len(captions)} captions"
            msg = f"clip: expected images (N, 3, H, W) of uint8 and N captions, got {got}"
            raise ValueError(msg)
        starts = range(0, len(images), _BATCH)
        return torch.cat(
            [self._batch(images[i : i + _BATCH], captions[i : i + _BATCH]) for i in starts]
        )

    def _batch(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        pixels = self._images(list(images.cpu()), return_tensors="pt")
        # All of one length, whichever captions stand beside each other.
        words = self._words(
            [str(caption) for caption in captions],
            padding="max_length",
            max_length=self._length,
            truncation=True,
            return_tensors="pt",
        )
        given = {**pixels, "input_ids": words.input_ids, "attention_mask": words.attention_mask}
        found = self._model(**{name: tensor.to(self._device) for name, tensor in given.items()})
        pairs = (found.image_embeds.double(), found.text_embeds.double())
        return 100 * torch.cosine_similarity(*pairs).clamp_min(0)
