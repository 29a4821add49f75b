"""One encoded image as a square of 8-bit RGB pixels: the rule that is part of every number.

The first frame; upright as its EXIF orientation says; 16-bit grey by its high byte; alpha
composited on black; then RGB, the largest square in the middle, resized by area averaging
(shrinking) or cubic interpolation (growing). Colour profiles are not applied.
"""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MAX_PIXELS = 64 * 2**20  # larger ones are refused before they are decoded
_ORIENTATION = 0x0112

# What decoders raise on damaged files.
_DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class DamagedImage(Exception):
    """The bytes are no image that can be used; says why."""


def decode_square(data: bytes, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 of an encoded image.

    Raises:
        DamagedImage: it is truncated, no image, too large, or has no range of 8 or 16 bits.
    """
    import numpy as np
    from PIL.Image import Resampling

    square = _middle(_decoded(data))
    if square.size == (size, size):
        return np.asarray(square)
    way = Resampling.BOX if square.width > size else Resampling.BICUBIC
    return np.asarray(square.resize((size, size), way))


def decode_whole(data: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of an encoded image, by the same rule, neither cut nor resized.

    Raises:
        DamagedImage: as of `decode_square`.
    """
    import numpy as np

    return np.asarray(_decoded(data))


def _decoded(data: bytes) -> Image:
    from PIL import Image as pillow  # noqa: N813

    bombs = (pillow.DecompressionBombError, pillow.DecompressionBombWarning)
    try:
        with pillow.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DamagedImage(
                    f"{image.width} by {image.height} pixels, more than {MAX_PIXELS:,}"
                )
            image.load()
            return _rgb(_upright(image))
    except bombs:
        raise DamagedImage(f"more than {MAX_PIXELS:,} pixels") from None
    except _DAMAGED as error:
        text = (str(error) or type(error).__name__).splitlines()[0]
        # Pillow names the object in memory, which tells nobody anything.
        raise DamagedImage(text.partition(" <_io")[0]) from None


def _upright(image: Image) -> Image:
    from PIL.Image import Transpose

    orientation = 1
    # An image whose EXIF data is damaged is whole: it is left as it lies.
    with contextlib.suppress(*_DAMAGED):
        orientation = image.getexif().get(_ORIENTATION, 1)
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _rgb(image: Image) -> Image:
    import numpy as np
    from PIL import Image as pillow  # noqa: N813

    if image.mode == "F":
        raise DamagedImage("pixels are floats, whose range nothing tells")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DamagedImage("pixels of more than 16 bits")
        image = pillow.fromarray((values >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        black = pillow.new("RGBA", image.size, (0, 0, 0, 255))
        image = pillow.alpha_composite(black, image)
    return image.convert("RGB")


def _middle(image: Image) -> Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
