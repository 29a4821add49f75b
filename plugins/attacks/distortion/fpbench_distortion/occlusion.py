"""Attacks that cover a part of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fpbench.api import Card, Context, NoParams, Params, Strength
from fpbench_distortion.base import Distortion, corners
from fpbench_distortion.operators import operators

if TYPE_CHECKING:
    from torch import Tensor


class Erase(Distortion[NoParams]):
    """One black rectangle of random place and shape in each image."""

    name = "erase"
    version = "1"
    Params = NoParams
    family = "occlusion"
    strength = Strength("area", "share of the image", (0.05, 0.1, 0.2), 0, 1, identity=0)
    card = Card(
        "Erase",
        "random erasing (Zhong et al. 2020); WOUAF evaluates areas 0.05 to 0.2",
        "Apache-2.0",
        "Blackens a rectangle, between half and twice as high as wide.",
        differs="The area is the strength instead of random, and the rectangle is always black.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the rectangle's area as a share of the image's; cut where it is too long."""
        import numpy as np

        drawn = ctx.image_uniforms(indices, 3)
        full = np.array(images.shape[2:])
        aspect = 2 ** (2 * drawn[:, :1] - 1)
        sides = np.sqrt(strength * full.prod() * np.hstack([aspect, 1 / aspect]))
        sides = np.minimum(np.rint(sides).astype(np.int64), full)
        places = (drawn[:, 1:] * (full - sides + 1)).astype(np.int64)
        return operators(images).blacken(images, np.hstack([places, sides]))


class OverlayParams(Params):
    """What is laid over.

    Attributes:
        kind: "logo" is a ring with a bar; "text" is the word SAMPLE.
        opacity: of the mark, above 0, 1 hides what is behind.
    """

    kind: Literal["logo", "text"] = "logo"
    opacity: Annotated[float, Field(gt=0, le=1)] = 0.8


class Overlay(Distortion[OverlayParams]):
    """A white mark at a random place in each image."""

    name = "overlay"
    version = "1"
    Params = OverlayParams
    family = "occlusion"
    strength = Strength("size", "share of the side", (0.15, 0.3, 0.45), 0, 1, identity=0)
    card = Card(
        "Overlay",
        "own; OmniSealBench has a text overlay",
        "Apache-2.0",
        "Lays a white logo or word over the image, partly transparent, with smooth edges.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the width of the mark as a share of the image's."""
        import numpy as np

        from fpbench_distortion import marks

        width = round(strength * images.shape[3])
        if not width:
            return images.clone()
        height = (
            min(width, images.shape[2]) if self.params.kind == "logo" else max(1, round(width / 4))
        )
        mark = (
            marks.logo(height, width) if self.params.kind == "logo" else marks.text(height, width)
        )
        cover = (self.params.opacity * mark).astype(np.float32)
        places = corners(ctx.image_uniforms(indices, 2), height, width, images.shape[2:])
        return operators(images).whiten(images, places, cover)
