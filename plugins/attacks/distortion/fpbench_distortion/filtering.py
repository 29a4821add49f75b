"""Blurring, sharpening, and the loss of resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fpbench.api import Card, Context, NoParams, Strength
from fpbench_distortion.base import Distortion
from fpbench_distortion.operators import operators

if TYPE_CHECKING:
    from torch import Tensor


class GaussianBlur(Distortion[NoParams]):
    """Convolution with a Gaussian cut at 4 σ; edges are mirrored without repeating the border."""

    name = "gaussian-blur"
    version = "2"
    Params = NoParams
    family = "filtering"
    strength = Strength("sigma", "px", (0.5, 1.0, 1.5), 0, 64, identity=0)
    card = Card("Gaussian blur", "standard", "Apache-2.0", "Blurs with a Gaussian of σ pixels.")

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is σ in pixels."""
        del indices, ctx
        from fpbench_distortion.weights import gaussian

        return operators(images).blur(images, gaussian(strength), 1)


class MedianBlur(Distortion[NoParams]):
    """The median of a square around each pixel, channel by channel; the border is repeated."""

    name = "median-blur"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("kernel", "px", (3, 5, 7), 1, 31, odd=True, identity=1)
    card = Card(
        "Median blur",
        "Tukey 1977; sizes within Meta's OmniSealBench list (3 to 17)",
        "Apache-2.0",
        "Replaces each pixel by the median of a square around it.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the side of the square in pixels, odd."""
        del indices, ctx
        return operators(images).median(images, int(strength))


class Sharpen(Distortion[NoParams]):
    """Unsharp mask: x + amount × (x - G(x)), where G is a Gaussian blur of σ = 1 px, in float."""

    name = "sharpen"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("amount", "", (0.5, 1, 2), 0, 10, identity=0)
    card = Card(
        "Sharpen",
        "unsharp mask (Gonzalez and Woods, Digital Image Processing)",
        "Apache-2.0",
        "Adds the difference to a Gaussian blur of 1 px; cut and border as gaussian-blur.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is how much of the difference is added; 1 doubles the details."""
        del indices, ctx
        from fpbench_distortion.weights import gaussian

        return operators(images).blur(images, gaussian(1), -strength)


class Resize(Distortion[NoParams]):
    """Down by averaging areas, rounded to 8 bits, and up again bilinearly."""

    name = "resize"
    version = "1"
    Params = NoParams
    family = "filtering"
    strength = Strength("scale", "share of the side", (0.75, 0.5, 0.25), 0.05, 1, identity=1)
    card = Card(
        "Resize",
        "standard; OmniSealBench lists scales from 0.32 to 1",
        "Apache-2.0",
        "Makes the image smaller and brings it back to its size.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the smaller image's side as a share of the full one."""
        del indices, ctx
        import numpy as np

        height, width = (max(1, round(strength * side)) for side in images.shape[2:])
        small = operators(images).shrink(images, height, width)
        whole = np.zeros((len(images), 2), np.int64)
        return operators(images).stretch(small, whole, (height, width), images.shape[2:])
