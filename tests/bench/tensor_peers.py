"""torchvision's and kornia's operations for the attacks that they have, on a batch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from peers import BATCH, NoPeer, Work
from pillow_peer import square


def torchvision(work: Work) -> Callable[[], torch.Tensor]:
    """The same work: the tensors that an attack is handed (8 bits, channels last), rounded once.

    One call for a batch; one an image where each image has a parameter of its own.
    """
    if work.name == "resize":
        raise NoPeer("torchvision has no shrinking by area")
    operation, batches = _torchvision(work), work.batches()
    if work.name == "centre-crop":  # on bytes it would round after each direction
        on_bytes = operation
        operation = lambda x, box: on_bytes(x.float(), box).round_().to(torch.uint8)  # noqa: E731
    own = any(not np.array_equal(draw, work.draws[0]) for draw in work.draws)

    def one(number: int, batch: torch.Tensor) -> torch.Tensor:
        if not own:
            return operation(batch, work.draws[0])
        draws = work.draws[BATCH * number :]
        parts = zip(batch.split(1), draws, strict=False)
        return torch.cat([operation(image, draw) for image, draw in parts])

    def run() -> torch.Tensor:
        done = [one(number, batch) for number, batch in enumerate(batches)]
        return done[0]

    return run


def torchvision_batch(work: Work) -> Callable[[], torch.Tensor]:
    """What it does fastest: contiguous planes, the first image's parameter for the whole batch."""
    operation = _torchvision(work)
    batches = [batch.contiguous() for batch in work.batches()]

    def run() -> torch.Tensor:
        done = [operation(batch, work.draws[0]) for batch in batches]
        return done[0]

    return run


def _torchvision(work: Work) -> Callable[[torch.Tensor, Any], torch.Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from torchvision.transforms import InterpolationMode
            from torchvision.transforms.v2 import functional as tv
        except ImportError as error:
            raise NoPeer(f"torchvision is not installed: {error}") from error
    strength, size = work.strength, [work.side, work.side]
    bilinear = InterpolationMode.BILINEAR

    def cropped(x: torch.Tensor, box: Any) -> torch.Tensor:
        top, left, kept = box
        return tv.resized_crop(x, top, left, kept, kept, size, bilinear, antialias=False)

    def resized(x: torch.Tensor, _: Any) -> torch.Tensor:
        small = tv.resize(x, [round(strength * work.side)] * 2, bilinear, antialias=True)
        return tv.resize(small, size, bilinear, antialias=False)

    def noisy(x: torch.Tensor, _: Any) -> torch.Tensor:
        floats = tv.to_dtype(x, torch.float32, scale=True)
        return tv.to_dtype(tv.gaussian_noise(floats, 0.0, strength), torch.uint8, scale=True)

    operations: dict[str, Callable[[torch.Tensor, Any], torch.Tensor]] = {
        "jpeg": lambda x, _: tv.jpeg(x, int(strength)),
        "gaussian-noise": noisy,
        "gaussian-blur": lambda x, _: tv.gaussian_blur(x, [_taps(strength)] * 2, [strength] * 2),
        "resize": resized,
        "crop-resize": cropped,
        "centre-crop": cropped,
        "rotation": lambda x, angle: tv.rotate(x, angle, bilinear),
        "flip": lambda x, _: tv.horizontal_flip(x),
        # Its coordinates, too, count from the pixel's edge.
        "perspective": lambda x, moved: tv.perspective(
            x, (square(work.side) + 0.5).tolist(), (moved + 0.5).tolist(), bilinear
        ),
        "brightness": lambda x, _: tv.adjust_brightness(x, strength),
        "contrast": lambda x, _: tv.adjust_contrast(x, strength),
        "saturation": lambda x, _: tv.adjust_saturation(x, strength),
        "hue": lambda x, turn: tv.adjust_hue(x, turn),
        "gamma": lambda x, _: tv.adjust_gamma(x, strength),
        "posterise": lambda x, _: tv.posterize(x, int(strength)),
        "erase": lambda x, box: tv.erase(x, *box, torch.zeros(3, 1, 1, dtype=torch.uint8)),
    }
    if work.name not in operations:
        raise NoPeer("torchvision has no such operation")
    return operations[work.name]


def _taps(sigma: float) -> int:
    """Side of the Gaussian's kernel."""
    return 2 * int(4 * sigma + 0.5) + 1


def kornia(work: Work) -> Callable[[], torch.Tensor]:
    """One call for a batch, with one parameter an image where the attack has that; in [0, 1]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from kornia import augmentation, enhance, filters, geometry
        except ImportError as error:
            raise NoPeer(f"kornia is not installed: {error}") from error
    s, side = float(work.strength), work.side
    size = (side, side)
    pick: Callable[[int], list[Any]] = lambda i: work.draws[BATCH * i : BATCH * (i + 1)]  # noqa: E731

    def boxes(i: int) -> torch.Tensor:
        # Where the middles of the outermost pixels come from, so that kornia's rule (corners on
        # corners) gives the usual one (half a pixel in).
        found = []
        for top, left, kept in pick(i):
            rim = kept / side / 2 - 0.5
            x, y = left + rim, top + rim
            far = kept - 1 - 2 * rim
            found.append([(x, y), (x + far, y), (x + far, y + far), (x, y + far)])
        return torch.tensor(found)

    def cropped(x: torch.Tensor, box: torch.Tensor) -> torch.Tensor:
        return geometry.crop_and_resize(x, box, size)

    def homographies(i: int) -> torch.Tensor:
        moved = torch.tensor(np.array(pick(i)), dtype=torch.float32)
        corners = torch.tensor(square(side), dtype=torch.float32).expand_as(moved)
        return geometry.get_perspective_transform(corners, moved)

    def resized(x: torch.Tensor, _: Any) -> torch.Tensor:
        small = geometry.resize(x, (round(s * side),) * 2, interpolation="area")
        return geometry.resize(small, size, interpolation="bilinear", align_corners=False)

    nothing: Callable[[int], None] = lambda i: None  # noqa: E731
    values: Callable[[int], torch.Tensor] = lambda i: torch.tensor(pick(i))  # noqa: E731
    operations: dict[str, tuple[Callable[[torch.Tensor, Any], torch.Tensor], Callable[..., Any]]]
    operations = {
        "jpeg": (
            lambda x, q: enhance.jpeg_codec_differentiable(x, q),
            lambda i: torch.full((len(pick(i)),), s),
        ),
        "gaussian-noise": (
            lambda x, op: op(x).clamp_(0, 1),
            lambda i: augmentation.RandomGaussianNoise(mean=0.0, std=s, p=1.0),
        ),
        "salt-pepper": (
            lambda x, op: op(x),
            lambda i: augmentation.RandomSaltAndPepperNoise((s, s), (0.5, 0.5), p=1.0),
        ),
        "gaussian-blur": (
            lambda x, _: filters.gaussian_blur2d(x, (_taps(s), _taps(s)), (s, s), "reflect"),
            nothing,
        ),
        "median-blur": (lambda x, _: filters.median_blur(x, int(s), "replicate"), nothing),
        "sharpen": (lambda x, _: filters.unsharp_mask(x, 9, (1.0, 1.0)).clamp_(0, 1), nothing),
        "resize": (resized, nothing),
        "crop-resize": (cropped, boxes),
        "centre-crop": (cropped, boxes),
        "rotation": (geometry.rotate, lambda i: torch.tensor(pick(i), dtype=torch.float32)),
        "flip": (lambda x, _: geometry.hflip(x), nothing),
        "perspective": (lambda x, m: geometry.warp_perspective(x, m, size), homographies),
        "brightness": (lambda x, _: enhance.adjust_brightness_accumulative(x, s), nothing),
        "contrast": (lambda x, _: enhance.adjust_contrast_with_mean_subtraction(x, s), nothing),
        "saturation": (
            lambda x, _: enhance.adjust_saturation_with_gray_subtraction(x, s), nothing
        ),
        "hue": (enhance.adjust_hue, lambda i: values(i).float() * 2 * math.pi),
        "gamma": (lambda x, _: enhance.adjust_gamma(x, s), nothing),
        "posterise": (lambda x, _: enhance.posterize(x, int(s)), nothing),
        "erase": (
            lambda x, op: op(x),
            lambda i: augmentation.RandomErasing((s, s), (0.5, 2.0), p=1.0),
        ),
    }  # fmt: skip
    if work.name not in operations:
        raise NoPeer("kornia has no such operation")
    operation, prepare = operations[work.name]
    batches = [batch.contiguous() / 255 for batch in work.batches()]
    ready = [prepare(i) for i in range(len(batches))]

    @torch.inference_mode()
    def run() -> torch.Tensor:
        done = [operation(x, parameter) for x, parameter in zip(batches, ready, strict=True)]
        return done[0]

    return run
