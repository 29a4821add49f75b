"""Lossy codecs, the real ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from fpbench.api import Card, Context, NoParams, Params, Strength
from fpbench_distortion.base import Distortion

if TYPE_CHECKING:
    from torch import Tensor


class JpegParams(Params):
    """How the codec is set.

    Attributes:
        subsampling: of the colour planes: "420" halves them both ways, "422" across, "444" neither.
    """

    subsampling: Literal["420", "422", "444"] = "420"


class Jpeg(Distortion[JpegParams]):
    """Encode and decode with libjpeg-turbo through OpenCV; the pixels are those of Pillow."""

    name = "jpeg"
    version = "1"
    Params = JpegParams
    family = "compression"
    strength = Strength("quality", "", (90, 70, 50), low=1, high=100, whole=True)
    card = Card(
        "JPEG",
        "ISO/IEC 10918; libjpeg quality scale",
        "Apache-2.0",
        "Saves as JPEG and loads it, colour planes halved both ways (4:2:0) unless `subsampling` "
        "says 422 or 444.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is libjpeg's quality, 1 to 100."""
        del indices, ctx
        import cv2

        from fpbench_distortion import arrays

        sampling = {
            "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
            "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
            "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        }[self.params.subsampling]
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(strength)]
        options = [*quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        return arrays.recode(images, self.name, ".jpg", options)


class Webp(Distortion[NoParams]):
    """Encode and decode as lossy WebP with libwebp through OpenCV."""

    name = "webp"
    version = "1"
    Params = NoParams
    family = "compression"
    strength = Strength("quality", "", (90, 70, 50), low=1, high=100, whole=True)
    card = Card(
        "WebP",
        "RFC 9649 (lossy, VP8 key frames); libwebp quality scale",
        "Apache-2.0",
        "Saves as lossy WebP and loads it; colours are always subsampled 4:2:0.",
    )

    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """Strength is libwebp's quality, 1 to 100."""
        del indices, ctx
        import cv2

        from fpbench_distortion import arrays

        options = [cv2.IMWRITE_WEBP_QUALITY, int(strength)]
        return arrays.recode(images, self.name, ".webp", options)
