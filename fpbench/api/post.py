"""The step that a post-hoc method adds to a host; needs torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fpbench.api.images import quantise, to_float

__all__ = ["PostStep"]


class PostStep(nn.Module):
    """A post-hoc embedder with one user's code: 8-bit images in, 8-bit images out, both as floats.

    Args:
        embedder: (images float in [-1, 1], codes bool (N, K)) -> images float.
        code: (K,) bool.
    """

    def __init__(self, embedder: nn.Module, code: Tensor) -> None:
        super().__init__()
        self.embedder = embedder.eval()
        self.register_buffer("code", code.bool())

    @property
    def opaque(self) -> bool:
        """Whether nobody can change the embedder's weights here; see `fpbench.api.Generator`."""
        return bool(getattr(self.embedder, "opaque", False))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float or uint8 -> (N, 3, H, W) float in [-1, 1] on the 256 levels.

        Gradients pass both roundings straight through.
        """
        images = to_float(images) if images.dtype == torch.uint8 else quantise(images)
        codes = self.get_buffer("code").expand(len(images), -1)
        return quantise(self.embedder(images, codes))
