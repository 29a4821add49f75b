"""A small feature space for Fréchet distances without any download: random convolutions.

Not FID, and never called so. Fixed random weights (one seed for all time) keep it independent of
every data set and method; three scales of rectified responses, their means and spreads over a 2×2
grid, see colour, layout and fine texture. Random embeddings order image sets sensibly, if less
sharply than trained ones (Naeem et al. 2020, section 5).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fpbench.nn.images import to_float

_WIDTHS = (12, 16, 24)
_PROJECTED = 64


class RandomFeatures(nn.Module):
    """(N, 3, H, W) uint8 -> (N, 64) float32."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.Generator(np.random.PCG64(20220425))
        inputs = 3
        for index, width in enumerate(_WIDTHS):
            weight = rng.standard_normal((width, inputs, 3, 3)) / np.sqrt(9 * inputs)
            self.register_buffer(f"conv{index}", torch.tensor(weight, dtype=torch.float32))
            inputs = width
        raw = sum(_WIDTHS) * 5 + 3 * 4
        mix = rng.standard_normal((raw, _PROJECTED)) / np.sqrt(raw)
        self.register_buffer("mix", torch.tensor(mix, dtype=torch.float32))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images."""
        x = to_float(images)
        parts = [F.adaptive_avg_pool2d(x, 2).flatten(1)]
        for index in range(len(_WIDTHS)):
            x = F.leaky_relu(F.conv2d(x, self.get_buffer(f"conv{index}"), padding=1), 0.2) * 1.4
            parts += [F.adaptive_avg_pool2d(x, 2).flatten(1), x.std(dim=(2, 3), correction=0)]
            x = F.avg_pool2d(x, 2)
        return torch.cat(parts, dim=1) @ self.get_buffer("mix") * 4
