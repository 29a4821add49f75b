"""One encoded image as a square of 8-bit RGB pixels: the rule that is part of every number.

The first frame; upright as its EXIF orientation says; 16-bit grey by its high byte; alpha
composited on black; then RGB, the largest square in the middle, resized by area averaging
(shrinking) or cubic interpolation (growing). Colour profiles are not applied.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from fpbench.builtin.image_folder.findings import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MAX_PIXELS = 64 * 2**20  # larger ones are refused before they are decoded
_ORIENTATION = 0x0112
# Others would be read too, some by starting programs. What has no mark of its own comes last.
_FORMATS = (
    *("PNG", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "JPEG2000", "PPM", "QOI", "TIFF", "TGA"),
)
_MOVING = {"AVIF", "GIF", "PNG", "WEBP"}
_HEIC = {b"heic", b"heix", b"hevc", b"mif1", b"msf1"}
# 16 bits of a channel, not 16 bits of a pixel in three colours.
_DEEP = re.compile(r"(?<!BGR);16")

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


@dataclass(frozen=True)
class Decoded:
    """An image as it is used.

    Attributes:
        square: (size, size, 3) uint8.
        done: what was done to it.
    """

    square: NDArray[np.uint8]
    done: tuple[Kind, ...]


def decode_square(data: bytes, size: int) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 of an encoded image; raises as `decode`."""
    return decode(data, size).square


def decode(data: bytes, size: int) -> Decoded:
    """An encoded image as a square.

    Raises:
        DamagedImage: it is truncated, no image, too large, or has no range of 8 or 16 bits.
    """
    import numpy as np
    from PIL.Image import Resampling

    image, done = _decoded(data)
    square = _middle(image)
    if square.width < size:
        done = (*done, Kind.ENLARGED)
    if square.size != (size, size):
        way = Resampling.BOX if square.width > size else Resampling.BICUBIC
        square = square.resize((size, size), way)
    return Decoded(np.asarray(square), done)


def decode_whole(data: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of an encoded image, by the same rule, neither cut nor resized.

    Raises:
        DamagedImage: as of `decode`.
    """
    import numpy as np

    return np.asarray(_decoded(data)[0])


def _decoded(data: bytes) -> tuple[Image, tuple[Kind, ...]]:
    """In RGB and upright, and what was done to it."""
    from PIL import Image as pillow  # noqa: N813

    bombs = (pillow.DecompressionBombError, pillow.DecompressionBombWarning)
    try:
        with pillow.open(io.BytesIO(data), formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DamagedImage(
                    f"{image.width} by {image.height} pixels, more than {MAX_PIXELS:,}"
                )
            deep = _DEEP.search(repr(image.tile)) is not None
            image.load()
            upright = _upright(image)
            rgb, clear = _rgb(upright)
            done = {
                Kind.UPRIGHT: upright is not image,
                Kind.DEEP: deep or image.mode.startswith("I"),
                Kind.CLEAR: clear,
                Kind.MOVING: _is_animated(image),
            }
            return rgb, tuple(kind for kind, true in done.items() if true)
    except bombs:
        raise DamagedImage(f"more than {MAX_PIXELS:,} pixels") from None
    except _DAMAGED as error:
        raise DamagedImage(_why(data, error)) from None


@cache
def announced_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by an image's header, as it lies; None where that cannot be read."""
    from PIL import Image as pillow  # noqa: N813

    bombs = (pillow.DecompressionBombError, pillow.DecompressionBombWarning)
    try:
        with pillow.open(io.BytesIO(data), formats=_formats()) as image:
            return image.width, image.height
    except (*_DAMAGED, *bombs):
        return None  # decoding it says why


def _formats() -> tuple[str, ...]:
    """Those that this Pillow was built with."""
    from PIL import Image as pillow  # noqa: N813

    pillow.init()
    return tuple(name for name in _FORMATS if name in pillow.OPEN)


def _why(data: bytes, error: BaseException) -> str:
    """What is wrong with bytes that no image could be made of."""
    if not data:
        return "empty"
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return "HEIC by its contents, whatever its name"
    text = (str(error) or type(error).__name__).splitlines()[0]
    # Pillow names the object in memory, which tells nobody anything.
    return text.partition(" <_io")[0]


def _is_animated(image: Image) -> bool:
    # Frames that are not used may be damaged.
    with contextlib.suppress(*_DAMAGED):
        return image.format in _MOVING and bool(getattr(image, "is_animated", False))
    return False


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


def _rgb(image: Image) -> tuple[Image, bool]:
    """In colours of 8 bits, and whether anything of it was transparent."""
    import numpy as np
    from PIL import Image as pillow  # noqa: N813

    clear = False
    if image.mode == "F":
        raise DamagedImage("pixels are floats, whose range nothing tells")
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DamagedImage("pixels of more than 16 bits")
        image = pillow.fromarray((values >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        clear = image.getchannel("A").getextrema() != (255, 255)
        black = pillow.new("RGBA", image.size, (0, 0, 0, 255))
        image = pillow.alpha_composite(black, image)
    return image.convert("RGB"), clear


def _middle(image: Image) -> Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))
