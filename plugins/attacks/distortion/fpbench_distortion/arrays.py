"""The operators on the CPU: uint8 arrays in (N, H, W, 3) order, OpenCV and numpy, some threads.

Each pixel is read and written as 8 bits once; results go straight into the array that is returned.
What a chunk of images can share is done in one call for all its rows, since at 64 × 64 a call costs
as much as its pixels. Codecs work here for images of any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from fpbench_distortion import tensors
from fpbench_distortion.threads import in_chunks

if TYPE_CHECKING:
    from cv2.typing import MatLike
    from numpy.typing import NDArray
    from torch import Tensor

    from fpbench_distortion.base import Draw

    Pixels = NDArray[np.uint8]

OLD = int(cv2.__version__.split(".")[0]) < 5
"""OpenCV 4 computes some things in too few bits; torch's form stands in for them."""

# Pillow's "L" before the fraction is cut off; in float32 these and all sums with bytes are exact.
LUMA = np.array([[19595, 38470, 7471, 32768]]) / 65536


def recode(images: Tensor, attack: str, suffix: str, options: Sequence[int]) -> Tensor:
    """Encode and decode each image with OpenCV's codec, on the CPU.

    Args:
        images: (N, 3, H, W) uint8, on any device; so is what comes back.
        attack: name for messages.
        suffix: of the file format, ".jpg".
        options: as `cv2.imencode` takes them.

    Raises:
        RuntimeError: this OpenCV has no such codec, or the codec failed.
    """
    missing = (
        f"{attack}: expected an OpenCV that writes and reads {suffix}, got {cv2.__version__} "
        "without; install the wheel opencv-python-headless, which brings the codec"
    )
    if not cv2.haveImageWriter("image" + suffix):
        raise RuntimeError(missing)

    def work(chunk: slice, part: Pixels, out: Pixels) -> None:
        del chunk
        # OpenCV's order is BGR. All images of a chunk are turned at once: at 64 × 64 a call, with
        # the interpreter's lock passed on at its end, costs as much as a fifth of the codec.
        turned = cv2.cvtColor(_lines(part), cv2.COLOR_RGB2BGR).reshape(part.shape)
        for number, image in enumerate(turned):
            written, data = cv2.imencode(suffix, image, options)
            decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if written else None
            if decoded is None:
                raise RuntimeError(missing)
            turned[number] = decoded
        cv2.cvtColor(_lines(turned), cv2.COLOR_BGR2RGB, dst=_lines(out))

    return _by_chunk(images.cpu(), work).to(images.device)


def add_noise(images: Tensor, draw: Draw, scale: float) -> Tensor:
    """See `Operators.add_noise`."""

    def one(image: Pixels, out: Pixels, number: int) -> None:
        cv2.addWeighted(image, 1, draw(number), scale, 0, dst=out, dtype=cv2.CV_8U)

    return _each(images, one)


def salt_pepper(images: Tensor, draw: Draw, share: float) -> Tensor:
    """See `Operators.salt_pepper`."""
    black = np.zeros(_pixels(images).shape[1:], np.uint8)
    white = np.full_like(black, 255)

    def one(image: Pixels, out: Pixels, number: int) -> None:
        drawn = draw(number)
        np.copyto(out, image)
        cv2.copyTo(black, (drawn < share / 2).view(np.uint8), out)
        cv2.copyTo(white, (drawn >= 1 - share / 2).view(np.uint8), out)

    return _each(images, one)


def look_up(images: Tensor, table: Pixels) -> Tensor:
    """See `Operators.look_up`."""
    return _rows(images, lambda rows, out: cv2.LUT(rows, table, dst=out))


def tint(images: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """See `Operators.tint`."""
    if OLD:  # rounds factors to 10 bits
        return tensors.tint(images, factors)
    matrices = factors[:, :, None] * np.eye(3)

    def one(image: Pixels, out: Pixels, number: int) -> None:
        cv2.transform(image, matrices[number], dst=out)

    return _each(images, one)


def mean_luma(images: Tensor) -> NDArray[np.float64]:
    """See `Operators.mean_luma`."""
    pixels = _pixels(images)
    means = np.empty(len(pixels))

    def work(chunk: slice) -> None:
        part = pixels[chunk]
        means[chunk] = _luma(_lines(part)).reshape(len(part), -1).mean(1)

    in_chunks(len(pixels), pixels[0].nbytes, work)
    return means


def spread(images: Tensor, levels: NDArray[np.uint8], factor: float) -> Tensor:
    """See `Operators.spread`."""

    def work(chunk: slice, part: Pixels, out: Pixels) -> None:
        grey = np.repeat(levels[chunk], part[0].size).reshape(part.shape)
        cv2.addWeighted(_lines(part), factor, _lines(grey), 1 - factor, 0, dst=_lines(out))

    return _by_chunk(images, work)


def saturate(images: Tensor, factor: float) -> Tensor:
    """See `Operators.saturate`."""

    def change(rows: Pixels, out: Pixels) -> None:
        grey = cv2.cvtColor(_luma(rows), cv2.COLOR_GRAY2RGB)
        cv2.addWeighted(rows, factor, grey, 1 - factor, 0, dst=out)

    return _rows(images, change)


def turn_hue(images: Tensor, turns: NDArray[np.float64]) -> Tensor:
    """See `Operators.turn_hue`."""

    def one(image: Pixels, out: Pixels, number: int) -> None:
        # In float, OpenCV's hue is in degrees and may pass 360 but not 0; value keeps its scale.
        hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
        hsv[..., 0] += 360 * (turns[number] % 1)
        _round(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), out)

    return _each(images, one)


def blur(images: Tensor, taps: NDArray[np.float64], amount: float) -> Tensor:
    """See `Operators.blur`."""
    # cv2.GaussianBlur rounds its weights to 8 bits and errs by up to one level in a quarter of the
    # pixels. The general filter computes in float, rounds once and is the faster of the two.
    mirror = cv2.BORDER_REFLECT_101

    def one(image: Pixels, out: Pixels, number: int) -> None:
        del number
        if amount == 1:
            cv2.sepFilter2D(image, -1, taps, taps, dst=out, borderType=mirror)
            return
        soft = cv2.sepFilter2D(image, cv2.CV_32F, taps, taps, borderType=mirror)
        cv2.addWeighted(image, 1 - amount, soft, amount, 0, dst=out, dtype=cv2.CV_8U)

    return _each(images, one)


def median(images: Tensor, side: int) -> Tensor:
    """See `Operators.median`."""

    def one(image: Pixels, out: Pixels, number: int) -> None:
        del number
        cv2.medianBlur(image, side, dst=out)

    return _each(images, one)


def shrink(images: Tensor, height: int, width: int) -> Tensor:
    """See `Operators.shrink`."""

    def work(chunk: slice, part: Pixels, out: Pixels) -> None:
        del chunk
        # In float, since on bytes halves would go up where the factor is 2.
        wide, small = part.astype(np.float32), np.empty(out.shape, np.float32)
        for image, result in zip(wide, small, strict=True):
            cv2.resize(image, (width, height), dst=result, interpolation=cv2.INTER_AREA)
        _round(_lines(small), _lines(out))

    return _by_chunk(images, work, (height, width))


def stretch(
    images: Tensor, corners: NDArray[np.int64], window: tuple[int, int], full: Sequence[int]
) -> Tensor:
    """See `Operators.stretch`."""
    height, width = window
    size = (full[1], full[0])

    def work(chunk: slice, part: Pixels, out: Pixels) -> None:
        # On bytes, OpenCV would truncate on the way: an eighth of a level too dark on average.
        wide, large = part.astype(np.float32), np.empty(out.shape, np.float32)
        for image, result, (top, left) in zip(wide, large, corners[chunk].tolist(), strict=True):
            cut = image[top : top + height, left : left + width]
            cv2.resize(cut, size, dst=result, interpolation=cv2.INTER_LINEAR)
        _round(_lines(large), _lines(out))

    return _by_chunk(images, work, full)


def flip(images: Tensor) -> Tensor:
    """See `Operators.flip`."""
    return tensors.flip(images)  # reverses channels-last pixels in vectors, on threads of its own


def warp(images: Tensor, matrices: NDArray[np.float64]) -> Tensor:
    """See `Operators.warp`."""
    if OLD:  # rounds coordinates to 1/32 pixel, which errs by several levels at edges
        return tensors.warp(images, matrices)
    size = (images.shape[3], images.shape[2])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

    def one(image: Pixels, out: Pixels, number: int) -> None:
        cv2.warpPerspective(image, matrices[number], size, dst=out, flags=flags)

    return _each(images, one)


def blacken(images: Tensor, boxes: NDArray[np.int64]) -> Tensor:
    """See `Operators.blacken`."""
    out = images.clone()
    pixels = _pixels(out)
    for image, (top, left, height, width) in zip(pixels, boxes.tolist(), strict=True):
        image[top : top + height, left : left + width] = 0
    return out


def whiten(images: Tensor, corners: NDArray[np.int64], cover: NDArray[np.float32]) -> Tensor:
    """See `Operators.whiten`."""
    height, width = cover.shape
    alpha = np.repeat(cover[..., None], 3, 2)
    keep, light = 1 - alpha, 255 * alpha
    places = corners.tolist()

    def one(image: Pixels, out: Pixels, number: int) -> None:
        top, left = places[number]
        np.copyto(out, image)
        box = out[top : top + height, left : left + width]
        cv2.add(cv2.multiply(box, keep, dtype=cv2.CV_32F), light, dst=box, dtype=cv2.CV_8U)

    return _each(images, one)


def _round(values: MatLike, out: Pixels) -> None:
    # To nearest, half to even, and clipped; of what is not below 0.
    cv2.convertScaleAbs(values, dst=out)


def _luma(rows: Pixels) -> Pixels:
    # (R, W) as Pillow's "L": (19595 R + 38470 G + 7471 B + 32768) >> 16.
    return cv2.transform(rows.astype(np.float32), LUMA).astype(np.uint8)


def _pixels(images: Tensor) -> Pixels:
    # A view: channels-last memory is (N, H, W, 3) order.
    pixels: Pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    return pixels


def _each(images: Tensor, one: Callable[[Pixels, Pixels, int], None]) -> Tensor:
    # Images that one(image, out, number) has written.
    def work(chunk: slice, part: Pixels, out: Pixels) -> None:
        for number, (image, result) in enumerate(zip(part, out, strict=True), chunk.start):
            one(image, result, number)

    return _by_chunk(images, work)


def _lines(pixels: NDArray[Any]) -> NDArray[Any]:
    # Images one below the other, as a view: (N·H, W, 3).
    return pixels.reshape(-1, *pixels.shape[2:])


def _by_chunk(
    images: Tensor,
    work: Callable[[slice, Pixels, Pixels], None],
    size: Sequence[int] | None = None,
) -> Tensor:
    # Images of `size` (or the former), where work(chunk, part, out) has written some at a time.
    pixels = _pixels(images)
    count, *shape = pixels.shape
    out = np.empty((count, *(size or shape[:2]), 3), np.uint8)
    in_chunks(count, pixels[0].nbytes, lambda chunk: work(chunk, pixels[chunk], out[chunk]))
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def _rows(images: Tensor, change: Callable[[Pixels, Pixels], object]) -> Tensor:
    # Images whose lines (N·H, W, 3) `change` has written, for what treats all lines alike.
    def work(chunk: slice, part: Pixels, out: Pixels) -> None:
        del chunk
        change(_lines(part), _lines(out))

    return _by_chunk(images, work)
