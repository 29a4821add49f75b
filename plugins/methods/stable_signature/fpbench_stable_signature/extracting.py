"""The extractor: trained with an embedder that is thrown away, then whitened (paper, sec. 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fpbench.api import Context, SampleStream, State
from fpbench.api.images import to_float
from fpbench.nn.extractor import Embedder, Extractor
from fpbench.nn.state import filled, part, placed, prefixed
from fpbench.training.marks import fit_extractor, photographs, whiten

if TYPE_CHECKING:
    from fpbench_stable_signature.params import StableSignatureParams

__all__ = ["build", "extract", "fit", "restore"]


def build(params: StableSignatureParams) -> Extractor:
    """The untrained extractor."""
    return Extractor(
        bits=params.bits,
        channels=params.channels,
        depth=params.depth,
        patch=params.patch,
        places=params.places,
    )


def fit(images: SampleStream, params: StableSignatureParams, ctx: Context) -> State:
    """Trains embedder and extractor on photographs alone, then whitens the extractor.

    Args:
        images: the training split.
        params: settings.
        ctx: seeds, device and codes.

    Returns:
        ``extractor.*``.
    """
    with ctx.seeded("init"):
        embedder = Embedder(
            bits=params.bits,
            channels=params.channels,
            depth=params.embedder_depth,
            patch=params.patch,
            places=params.places,
            strength=params.strength,
        )
        extractor = build(params)
    trained = fit_extractor(
        placed(extractor, ctx.device),
        placed(embedder, ctx.device),
        images,
        ctx,
        steps=params.steps,
        batch=params.batch,
        learning_rate=params.learning_rate,
    )
    whiten(trained, photographs(images, params.whitened, ctx))
    return prefixed({"extractor": trained})


def restore(state: State, params: StableSignatureParams, device: torch.device) -> Extractor:
    """The trained extractor, in eval mode; it learns no further."""
    return placed(filled(lambda: build(params), part(state, "extractor")), device)


def extract(state: State, images: Tensor, params: StableSignatureParams) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``; each image is read by itself."""
    with torch.no_grad():
        logits: Tensor = restore(state, params, images.device)(to_float(images))
    return logits
