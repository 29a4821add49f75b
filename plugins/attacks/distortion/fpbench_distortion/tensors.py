"""The operators in torch: whole batches, on the device where the images are.

Noise alone is drawn on the CPU, so that every device sees the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fpbench_distortion import weights
from fpbench_distortion.threads import in_chunks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fpbench_distortion.base import Draw

PART_BYTES = 2**28  # of what an operator holds at a time where it needs many times the image


def add_noise(images: Tensor, draw: Draw, scale: float) -> Tensor:
    """See `Operators.add_noise`."""
    return _levels(images + scale * _drawn(images, draw, (3,)).permute(0, 3, 1, 2))


def salt_pepper(images: Tensor, draw: Draw, share: float) -> Tensor:
    """See `Operators.salt_pepper`."""
    drawn = _drawn(images, draw, ())[:, None]
    hit = images.masked_fill(drawn < share / 2, 0).masked_fill(drawn >= 1 - share / 2, 255)
    return hit.contiguous(memory_format=torch.channels_last)


def look_up(images: Tensor, table: NDArray[np.uint8]) -> Tensor:
    """See `Operators.look_up`."""
    return torch.from_numpy(table).to(images.device)[images.int()]


def tint(images: Tensor, factors: NDArray[np.float64]) -> Tensor:
    """See `Operators.tint`."""
    return _levels(images * _along(factors, images)[:, :, None, None])


def mean_luma(images: Tensor) -> NDArray[np.float64]:
    """See `Operators.mean_luma`."""
    means: NDArray[np.float64] = _luma(images).double().mean((1, 2, 3)).cpu().numpy()
    return means


def spread(images: Tensor, levels: NDArray[np.uint8], factor: float) -> Tensor:
    """See `Operators.spread`."""
    grey = torch.from_numpy(levels).to(images.device).view(-1, 1, 1, 1).float()
    return _levels(grey + factor * (images - grey))


def saturate(images: Tensor, factor: float) -> Tensor:
    """See `Operators.saturate`."""
    grey = _luma(images)
    return _levels(grey + factor * (images - grey))


def turn_hue(images: Tensor, turns: NDArray[np.float64]) -> Tensor:
    """See `Operators.turn_hue`."""
    x = images.float()
    red, green, blue = x.unbind(1)
    value, brightest = x.max(1)
    chroma = value - x.amin(1)
    # Hue in sixths of the circle; where there is no chroma it does not matter.
    ahead = torch.stack((green - blue, blue - red, red - green), 1)
    sixth = ahead.gather(1, brightest[:, None])[:, 0] / chroma.clamp(min=1) + 2 * brightest
    sixth = sixth + 6 * _along(turns, images).view(-1, 1, 1)
    # A channel is dark by the chroma, times how near the hue is to it (Smith 1978).
    near = torch.stack([(shift + sixth) % 6 for shift in (5, 3, 1)], 1)
    return _levels(value[:, None] - chroma[:, None] * torch.minimum(near, 4 - near).clamp(0, 1))


def blur(images: Tensor, taps: NDArray[np.float64], amount: float) -> Tensor:
    """See `Operators.blur`."""
    height, width = images.shape[2:]
    x = images.float()
    soft = _separable(x, weights.mirrored(taps, height), weights.mirrored(taps, width))
    return _levels(soft if amount == 1 else x + amount * (soft - x))


def median(images: Tensor, side: int) -> Tensor:
    """See `Operators.median`."""
    edge = side // 2

    def part(chunk: slice) -> Tensor:
        wide = functional.pad(images[chunk].float(), (edge,) * 4, mode="replicate")
        near = wide.to(torch.uint8).unfold(2, side, 1).unfold(3, side, 1)
        return near.flatten(4).median(-1).values

    return _in_parts(images, 2 * side * side, part)


def shrink(images: Tensor, height: int, width: int) -> Tensor:
    """See `Operators.shrink`."""
    rows, columns = weights.area(height, images.shape[2]), weights.area(width, images.shape[3])
    return _levels(_separable(images.float(), rows, columns))


def stretch(
    images: Tensor, corners: NDArray[np.int64], window: tuple[int, int], full: Sequence[int]
) -> Tensor:
    """See `Operators.stretch`."""
    cut = images[_box(images, corners, window)].permute(0, 3, 1, 2)
    rows, columns = (weights.bilinear(f, w) for f, w in zip(full, window, strict=True))
    return _levels(_separable(cut.float(), rows, columns))


def flip(images: Tensor) -> Tensor:
    """See `Operators.flip`."""
    return images.flip(3)


def warp(images: Tensor, matrices: NDArray[np.float64]) -> Tensor:
    """See `Operators.warp`."""
    height, width = images.shape[2:]
    # grid_sample wants the edges of the image at -1 and 1; pixel centres are half a pixel inside.
    to_unit = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device, dtype=torch.float64),
        torch.arange(width, device=images.device, dtype=torch.float64),
        indexing="ij",
    )
    points = torch.stack((x, y, torch.ones_like(x)), -1).view(1, -1, 3)
    # float64 until the coordinates are known: a hundredth of a pixel can be a level.
    maps = torch.from_numpy(to_unit @ matrices).to(images.device).transpose(1, 2)

    def part(chunk: slice) -> Tensor:
        sent = points @ maps[chunk]
        grid = (sent[..., :2] / sent[..., 2:]).float().view(-1, height, width, 2)
        return _levels(
            functional.grid_sample(
                images[chunk].float(),
                grid,
                mode="bilinear",
                padding_mode="zeros",
                align_corners=False,
            )
        )

    return _in_parts(images, 32, part)


def blacken(images: Tensor, boxes: NDArray[np.int64]) -> Tensor:
    """See `Operators.blacken`."""
    top, left, height, width = (
        torch.from_numpy(boxes).to(images.device).T.contiguous().view(4, -1, 1, 1, 1)
    )
    y = torch.arange(images.shape[2], device=images.device).view(-1, 1)
    x = torch.arange(images.shape[3], device=images.device)
    inside = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
    return images.masked_fill(inside, 0).contiguous(memory_format=torch.channels_last)


def whiten(images: Tensor, corners: NDArray[np.int64], cover: NDArray[np.float32]) -> Tensor:
    """See `Operators.whiten`."""
    height, width = cover.shape
    out = images.clone()
    box = _box(images, corners, (height, width))
    alpha = torch.from_numpy(cover).to(images.device)[..., None]
    out[box] = (out[box] * (1 - alpha) + 255 * alpha).round().to(torch.uint8)
    return out


def _levels(values: Tensor) -> Tensor:
    # Rounded half to even, clipped, in channels-last memory.
    levels = values.round().clamp(0, 255).to(torch.uint8)
    return levels.contiguous(memory_format=torch.channels_last)


def _luma(images: Tensor) -> Tensor:
    # (N, 1, H, W) int32 as Pillow's "L".
    red, green, blue = images.int().unbind(1)
    luma: Tensor = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    return luma[:, None]


def _along(values: NDArray[np.float64], images: Tensor) -> Tensor:
    return torch.from_numpy(values).to(images.device, torch.float32)


def _drawn(images: Tensor, draw: Draw, channels: tuple[int, ...]) -> Tensor:
    # (N, H, W, *channels) float32 on the images' device.
    count, _, height, width = images.shape
    drawn = torch.empty((count, height, width, *channels), pin_memory=images.is_cuda)
    array = drawn.numpy()

    def work(chunk: slice) -> None:
        for number in range(chunk.start, chunk.stop):
            array[number] = draw(number)

    in_chunks(count, array[0].nbytes, work)
    return drawn.to(images.device)


def _separable(x: Tensor, rows: NDArray[np.float64], columns: NDArray[np.float64]) -> Tensor:
    # (N, 3, h, w) float: matrices (h, H) and (w, W) applied along the two axes of (N, 3, H, W).
    return _along(rows, x) @ x.contiguous() @ _along(columns, x).T


def _box(
    images: Tensor, corners: NDArray[np.int64], size: tuple[int, int]
) -> tuple[Tensor, slice, Tensor, Tensor]:
    # An index of equal boxes; it moves the channels last: (N, h, w, 3).
    top, left = torch.from_numpy(corners).to(images.device).T.contiguous().view(2, -1, 1, 1)
    image = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    y = top + torch.arange(size[0], device=images.device).view(-1, 1)
    x = left + torch.arange(size[1], device=images.device)
    return image, slice(None), y, x


def _in_parts(images: Tensor, times: int, change: Callable[[slice], Tensor]) -> Tensor:
    # A few images at a time, for what needs `times` bytes for each byte of an image.
    size = max(1, PART_BYTES // (images[0].numel() * times))
    parts = [change(slice(start, start + size)) for start in range(0, len(images), size)]
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)
