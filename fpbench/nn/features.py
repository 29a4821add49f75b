"""The feature space of the proxy distance, on every machine without any download.

Not FID, and never called so: a small network that was trained on drawn faces, to tell what is drawn
and what was done to the image. Its features react to damage (noise, blur, blocks, broken shapes)
on photographs too, less surely to what photographs show.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from fpbench.api.images import to_float

TOY_FEATURES_FILE = Path(__file__).with_name("toy_features.safetensors")


class ToyFeatures(nn.Module):
    """(N, 3, H, W) uint8 -> (N, 64) float32, of a small network trained on cartoon faces.

    Trained by `scripts/train_features.py` to tell what is drawn and what was done to the image.
    Clean cartoon faces of 32 pixels have mean 0; the mean of their covariance and that of distorted
    ones is I. Sides from 16 pixels up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = FeatureNetwork()
        stored = load_file(TOY_FEATURES_FILE)
        self.network.load_state_dict({name: value.float() for name, value in stored.items()})
        self.requires_grad_(requires_grad=False)
        self.eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features of uint8 images."""
        features: Tensor = self.network(to_float(images))
        return features


class FeatureNetwork(nn.Module):
    """(N, 3, H, W) float in [-1, 1] -> (N, 64): six convolutions and one linear map.

    What reaches the map: of early layers, mean and spread over the image, which see texture; of the
    last, the means of its quarters also, which see what is where.
    """

    # Inputs, outputs, side of the kernel, stride.
    _LAYERS = (
        (3, 24, 4, 2),
        (24, 32, 3, 1),
        (32, 64, 3, 2),
        (64, 64, 3, 1),
        (64, 80, 3, 2),
        (80, 80, 3, 1),
    )
    _SEEN = (0, 1, 3, 5)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, side, stride, padding=1)
            for inputs, outputs, side, stride in self._LAYERS
        )
        pooled = sum(2 * self._LAYERS[index][1] for index in self._SEEN) + 4 * self._LAYERS[-1][1]
        self.mix = nn.Linear(pooled, 64)

    def forward(self, images: Tensor) -> Tensor:
        """Features of float images."""
        features: Tensor = self.mix(self.pooled(images))
        return features

    def pooled(self, images: Tensor) -> Tensor:
        """(N, P): what the linear map gets."""
        x, parts = images, []
        for index, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if index in self._SEEN:
                mean = x.mean(dim=(2, 3))
                variance = x.square().mean(dim=(2, 3)) - mean.square()
                # The floor keeps the gradient finite where a channel is flat.
                parts += [mean, variance.clamp_min(1e-4).sqrt()]
        parts.append(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return torch.cat(parts, dim=1)
