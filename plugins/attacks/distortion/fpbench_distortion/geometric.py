"""Attacks that move pixels. Bilinear; pixel centres are at whole coordinates (x, y), y down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fpbench.api import Card, Context, NoParams, Params, Strength
from fpbench_distortion.base import Distortion, corners
from fpbench_distortion.operators import operators

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class CropResize(Distortion[NoParams]):
    """A random square window, resized back to the full size (bilinear)."""

    name = "crop-resize"
    version = "2"
    Params = NoParams
    family = "geometric"
    geometric = True
    strength = Strength("kept", "share of the side", (0.9, 0.8, 0.7), 0.1, 1, identity=1)
    card = Card(
        "Crop and resize",
        "Yu et al. 2022, robustness study",
        "Apache-2.0",
        "Cuts out a random square window and resizes it back.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the side of the window as a share of the image's."""
        window = _window(images, strength)
        # Two uniforms place the window at every strength, so that a curve keeps its centre.
        places = corners(ctx.image_uniforms(indices, 2), *window, images.shape[2:])
        return operators(images).stretch(images, places, window, images.shape[2:])


class CentreCropParams(Params):
    """What becomes of the image's size.

    Attributes:
        fill: "resize" enlarges the window to the full size; "black" leaves it where it is and
            blackens the rest.
    """

    fill: Literal["resize", "black"] = "resize"


class CentreCrop(Distortion[CentreCropParams]):
    """The middle of the image, resized back (bilinear) or framed in black."""

    name = "centre-crop"
    version = "1"
    Params = CentreCropParams
    family = "geometric"
    geometric = True
    strength = Strength("kept", "share of the side", (0.9, 0.8, 0.7), 0.1, 1, identity=1)
    card = Card(
        "Centre crop",
        "Kim et al. 2021 (centre, down to 0.8); OmniSealBench",
        "Apache-2.0",
        "Keeps the middle of the image, resized back or framed in black.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the side of the window as a share of the image's."""
        del indices, ctx
        import numpy as np
        import torch

        window = _window(images, strength)
        top, left = ((s - w) // 2 for s, w in zip(images.shape[2:], window, strict=True))
        if self.params.fill == "black":
            kept = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            out = torch.zeros_like(images)
            out[kept] = images[kept]
            return out
        places = np.tile(np.array([top, left]), (len(images), 1))
        return operators(images).stretch(images, places, window, images.shape[2:])


class Rotation(Distortion[NoParams]):
    """A turn about the centre, one way or the other; what comes in from outside is black."""

    name = "rotation"
    version = "1"
    Params = NoParams
    family = "geometric"
    geometric = True
    strength = Strength("angle", "degrees", (5, 10, 20), 0, 180, identity=0)
    card = Card(
        "Rotation",
        "WOUAF (Kim et al. 2024), evaluated at ±10, 20, 30°",
        "Apache-2.0",
        "Turns the image about its centre, left or right with equal chance.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the angle in degrees, 0 to 180."""
        import numpy as np

        left = ctx.image_uniforms(indices, 1)[:, 0] < 0.5
        angle = np.radians(strength) * np.where(left, 1, -1)
        y, x = ((side - 1) / 2 for side in images.shape[2:])
        cos, sin = np.cos(angle), np.sin(angle)
        back = np.zeros((len(images), 3, 3))  # y points down, so this undoes a turn to the left
        back[:, 0] = np.stack([cos, -sin, x - cos * x + sin * y], 1)
        back[:, 1] = np.stack([sin, cos, y - sin * x - cos * y], 1)
        back[:, 2, 2] = 1
        return operators(images).warp(images, back)


class Flip(Distortion[NoParams]):
    """Left and right exchanged."""

    name = "flip"
    version = "1"
    Params = NoParams
    family = "geometric"
    geometric = True
    strength = None
    card = Card("Flip", "standard; OmniSealBench", "Apache-2.0", "Mirrors the image left to right.")

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """There is no strength: it is done or not."""
        del indices, strength, ctx
        return operators(images).flip(images)


class Perspective(Distortion[NoParams]):
    """A view from aside: each corner moves inward on its own; outside there is black."""

    name = "perspective"
    version = "1"
    Params = NoParams
    family = "geometric"
    geometric = True
    strength = Strength("distortion", "share of half the side", (0.1, 0.2, 0.4), 0, 0.9, identity=0)
    card = Card(
        "Perspective",
        "torchvision's RandomPerspective; OmniSealBench lists scales from 0.1 to 0.8",
        "Apache-2.0",
        "Moves the corners inward by random amounts and maps the image onto what they span.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is the largest move of a corner, as a share of half the side."""
        import numpy as np

        y, x = ((side - 1) / 2 for side in images.shape[2:])
        from_centre = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
        moves = strength * ctx.image_uniforms(indices, 8).reshape(-1, 4, 2)
        whole = from_centre + np.array([x, y])
        return operators(images).warp(images, _homographies(whole - moves * from_centre, whole))


def _window(images: Tensor, kept: float) -> tuple[int, int]:
    height, width = (max(1, round(kept * side)) for side in images.shape[2:])
    return height, width


def _homographies(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    # (N, 3, 3) that send four points (N, 4, 2) to four others (4, 2), bottom right entry 1.
    import numpy as np

    x, y = start[..., 0], start[..., 1]
    u, v = np.broadcast_to(end[:, 0], x.shape), np.broadcast_to(end[:, 1], x.shape)
    one, none = np.ones_like(x), np.zeros_like(x)
    # u (g x + h y + 1) = a x + b y + c and the like for v, linear in the eight unknowns.
    for_u = np.stack([x, y, one, none, none, none, -u * x, -u * y], -1)
    for_v = np.stack([none, none, none, x, y, one, -v * x, -v * y], -1)
    equations = np.concatenate([for_u, for_v], 1)
    entries = np.linalg.solve(equations, np.concatenate([u, v], 1)[..., None])[..., 0]
    return np.concatenate([entries, one[:, :1]], 1).reshape(-1, 3, 3)
