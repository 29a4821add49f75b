"""The few operations that attacks are made of, and the choice between their two forms.

`arrays` works on the CPU with OpenCV, `tensors` with torch on any device. Both offer the functions
of `Operators`, under the same names; their results differ by at most one level in almost all
pixels. Images are uint8 (N, 3, H, W) in channels-last memory, in and out; inputs are never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from fpbench_distortion.base import Draw


class Operators(Protocol):
    """What `arrays` and `tensors` offer."""

    def add_noise(self, images: Tensor, draw: Draw, scale: float) -> Tensor:
        """Add scale × noise, round, clip.

        Args:
            images: (N, 3, H, W) uint8.
            draw: noise (H, W, 3) of the n-th image; called on the CPU, from several threads.
            scale: in levels.
        """

    def salt_pepper(self, images: Tensor, draw: Draw, share: float) -> Tensor:
        """Turn pixels black where u < share / 2 and white where u >= 1 - share / 2.

        Args:
            images: (N, 3, H, W) uint8.
            draw: u, (H, W) in [0, 1), of the n-th image; called as in `add_noise`.
            share: of the pixels, 0 to 1.
        """

    def look_up(self, images: Tensor, table: NDArray[np.uint8]) -> Tensor:
        """Exchange every level by that of a (256,) table."""

    def tint(self, images: Tensor, factors: NDArray[np.float64]) -> Tensor:
        """Each channel of each image times its of (N, 3) `factors`, rounded, clipped."""

    def mean_luma(self, images: Tensor) -> NDArray[np.float64]:
        """(N,) means of the 8-bit luma: (19595 R + 38470 G + 7471 B + 32768) >> 16."""

    def spread(self, images: Tensor, levels: NDArray[np.uint8], factor: float) -> Tensor:
        """M + factor × (x - m), where m is each image's of (N,) `levels`; rounded, clipped."""

    def saturate(self, images: Tensor, factor: float) -> Tensor:
        """L + factor × (x - L), where L is the pixel's 8-bit luma."""

    def turn_hue(self, images: Tensor, turns: NDArray[np.float64]) -> Tensor:
        """Turn the hue in HSV by (N,) `turns` of the circle, each in [-0.5, 0.5]."""

    def blur(self, images: Tensor, taps: NDArray[np.float64], amount: float) -> Tensor:
        """The values x + amount × (B(x) - x), rounded; B filters rows and columns by `taps`.

        Args:
            images: (N, 3, H, W) uint8.
            taps: (2r + 1,) symmetric weights; beyond the border the image is mirrored without
                repeating the outermost pixel.
            amount: 1 blurs, below 0 sharpens.
        """

    def median(self, images: Tensor, side: int) -> Tensor:
        """Per-channel median of side × side pixels, `side` odd; the border is repeated."""

    def shrink(self, images: Tensor, height: int, width: int) -> Tensor:
        """Smaller images (N, 3, height, width): each pixel is the mean of the area it covers."""

    def stretch(
        self,
        images: Tensor,
        corners: NDArray[np.int64],
        window: tuple[int, int],
        full: Sequence[int],
    ) -> Tensor:
        """A window of each image, resized to (N, 3, *full) bilinearly.

        Pixels are areas, so that the window's outer edges meet the image's; beyond the centres of
        the window's outermost pixels their values go on.

        Args:
            images: (N, 3, H, W) uint8.
            corners: (N, 2) top and left.
            window: height and width of all windows.
            full: height and width of the result.
        """

    def flip(self, images: Tensor) -> Tensor:
        """Left and right exchanged."""

    def warp(self, images: Tensor, matrices: NDArray[np.float64]) -> Tensor:
        """Draw each pixel (x, y) of the result bilinearly from where its matrix sends it.

        Args:
            images: (N, 3, H, W) uint8; outside there is black, with which border pixels blend.
            matrices: (N, 3, 3) homographies from the result's pixels to the image's.
        """

    def blacken(self, images: Tensor, boxes: NDArray[np.int64]) -> Tensor:
        """Black rectangles, (N, 4): top, left, height, width."""

    def whiten(
        self, images: Tensor, corners: NDArray[np.int64], cover: NDArray[np.float32]
    ) -> Tensor:
        """The values x + cover × (255 - x) in a box, rounded.

        Args:
            images: (N, 3, H, W) uint8.
            corners: (N, 2) top and left of the box.
            cover: (h, w) in [0, 1], one for all images.
        """


def operators(images: Tensor) -> Operators:
    """The form that suits the images' device."""
    if images.device.type == "cpu":
        from fpbench_distortion import arrays

        return arrays
    from fpbench_distortion import tensors

    return tensors
