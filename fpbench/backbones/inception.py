"""Features of the Inception network that FID is defined on, faster than torch-fidelity's call.

The blocks and the numbers are torch-fidelity's (Heusel et al. 2017; TensorFlow graph of 2015-12-05;
Obukhov et al. 2020). What makes it fast changes rounding only: batch norm folded into the
convolutions, memory with channels last, few images at a time, resizing as two matrix products, and
no block past the layer that is asked for. Letters: N images, F features, H and W in pixels.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fpbench.backbones.weights import WrongWeights, library, read

__all__ = ["LAYERS", "InceptionFeatures", "Layer", "Precision"]

Layer = Literal["64", "192", "768", "2048"]
Precision = Literal["fp32", "bf16"]

LAYERS: tuple[Layer, ...] = ("64", "192", "768", "2048")
"""From the image on; the name is the number of features F. Only 2048 gives what is called FID."""

_SIDE = 299
# Images in flight, on a CPU for each of its threads: few keep the maps near the cache.
_CPU_BATCH, _MAX_BATCH = 8, 64


class InceptionFeatures(nn.Module):
    """(N, 3, H, W) uint8 -> (N, F) float32: means over the layer's map, as in torch-fidelity.

    Args:
        path: Of weights for torch-fidelity's Inception.
        layer: Which features. Values past it in the file are not looked at.
        device: Where it computes.
        precision: Of the convolutions. "bf16" moves the features by about 1 % and a distance by
            less; fast only where the processor has such arithmetic (AVX-512 BF16, AMX, GPU).

    Raises:
        MissingResource: torch-fidelity is not installed.
        WrongWeights: The file is not of this network, or not finite up to the layer.
    """

    def __init__(
        self, path: Path, layer: Layer, device: torch.device, precision: Precision = "fp32"
    ) -> None:
        super().__init__()
        parts = library("torch_fidelity.feature_extractor_inceptionv3")
        state = read(path)
        self.blocks = nn.Sequential()
        for reached, blocks in _empty_blocks(parts).items():
            for name, block in blocks.items():
                _fill(block, name, state, path, reached)
                self.blocks.add_module(name, block.eval())
            if reached == layer:
                break
        for module in list(self.blocks.modules()):
            if isinstance(module, parts.BasicConv2d):
                module.conv = fuse_conv_bn_eval(module.conv, module.bn)
                module.bn = nn.Identity()
        self.requires_grad_(requires_grad=False)
        self.dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        self.to(device, self.dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """Features of images.

        Args:
            images: `(N, 3, H, W)` uint8, N >= 1; brought to the network's device.

        Returns:
            `(N, F)` float32 on that device.

        Raises:
            ValueError: If they are not uint8 images.
        """
        if (
            images.dtype != torch.uint8
            or images.ndim != 4
            or images.shape[1] != 3
            or not len(images)
        ):
            got = f"{tuple(images.shape)} of {images.dtype}"
            msg = f"inception: expected images (N, 3, H, W) of uint8, got {got}"
            raise ValueError(msg)
        device = next(self.parameters()).device
        batch = _MAX_BATCH
        if device.type == "cpu":
            batch = min(batch, _CPU_BATCH * torch.get_num_threads())
        return torch.cat([self._batch(part.to(device)) for part in torch.split(images, batch)])

    def _batch(self, images: Tensor) -> Tensor:
        rows, columns = (_resizing(side).to(images.device) for side in images.shape[-2:])
        # 128 and not 127.5, as in the graph. Scaled while small: rows of the matrices sum to 1.
        resized = rows @ (images.to(torch.float32).sub_(128).div_(128) @ columns.T)
        maps = self.blocks(resized.to(self.dtype, memory_format=torch.channels_last))
        features: Tensor = maps.mean(dim=(2, 3), dtype=torch.float32)
        return features


@cache
def _resizing(side: int) -> Tensor:
    """Matrix `(299, side)` of TensorFlow 1's bilinear resizing: sample i lies at i side / 299."""
    place = torch.arange(_SIDE, dtype=torch.float32) * torch.tensor(side / _SIDE)
    low = place.long()
    weight = place - low
    matrix = torch.zeros(_SIDE, side)
    rows = torch.arange(_SIDE)
    matrix[rows, low] = 1 - weight
    matrix[rows, (low + 1).clamp_max(side - 1)] += weight
    return matrix


def _empty_blocks(parts: ModuleType) -> dict[Layer, dict[str, nn.Module]]:
    """Layer -> its blocks by their names in the file, in order; without values."""
    # On "meta" nothing is drawn or allocated: the values come from the file.
    with torch.device("meta"):
        return {
            "64": {
                "Conv2d_1a_3x3": parts.BasicConv2d(3, 32, kernel_size=3, stride=2),
                "Conv2d_2a_3x3": parts.BasicConv2d(32, 32, kernel_size=3),
                "Conv2d_2b_3x3": parts.BasicConv2d(32, 64, kernel_size=3, padding=1),
                "MaxPool_1": nn.MaxPool2d(kernel_size=3, stride=2),
            },
            "192": {
                "Conv2d_3b_1x1": parts.BasicConv2d(64, 80, kernel_size=1),
                "Conv2d_4a_3x3": parts.BasicConv2d(80, 192, kernel_size=3),
                "MaxPool_2": nn.MaxPool2d(kernel_size=3, stride=2),
            },
            "768": {
                "Mixed_5b": parts.InceptionA(192, pool_features=32),
                "Mixed_5c": parts.InceptionA(256, pool_features=64),
                "Mixed_5d": parts.InceptionA(288, pool_features=64),
                "Mixed_6a": parts.InceptionB(288),
                "Mixed_6b": parts.InceptionC(768, channels_7x7=128),
                "Mixed_6c": parts.InceptionC(768, channels_7x7=160),
                "Mixed_6d": parts.InceptionC(768, channels_7x7=160),
                "Mixed_6e": parts.InceptionC(768, channels_7x7=192),
            },
            "2048": {
                "Mixed_7a": parts.InceptionD(768),
                "Mixed_7b": parts.InceptionE_1(1280),
                "Mixed_7c": parts.InceptionE_2(2048),
            },
        }


def _fill(block: nn.Module, name: str, state: dict[str, Tensor], path: Path, layer: Layer) -> None:
    """Put the file's values into a block that this layer needs."""
    prefix = f"{name}."
    own = {key.removeprefix(prefix): v for key, v in state.items() if key.startswith(prefix)}
    try:
        block.load_state_dict(own, strict=True, assign=True)
    except RuntimeError as error:
        raise WrongWeights(
            f"weights {path}: expected torch-fidelity's Inception, got other tensors for {name}: "
            f"{error}; bring another file"
        ) from error
    for key, value in own.items():
        if not torch.isfinite(value).all():
            raise WrongWeights(
                f"weights {path}: expected finite values up to layer {layer}, got nan or infinity "
                f"in {prefix}{key}; name a layer before {layer} in the suite, or bring the whole "
                "weights"
            )
