"""Pillow's operation for every attack, on one image with one parameter."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

BILINEAR = Image.Resampling.BILINEAR


def parameters(name: str, strength: float, side: int, rng: np.random.Generator) -> Any:
    """What one image's operation takes, drawn as the attack draws it."""
    drawn = {
        "crop-resize": _window, "centre-crop": _middle, "rotation": _angle, "erase": _hole,
        "perspective": _corners, "hue": _shift, "relight": _light, "overlay": _place,
        "gaussian-noise": lambda *_: rng, "salt-pepper": lambda *_: rng, "combination": _chain,
    }.get(name, lambda strength, *_: strength)  # fmt: skip
    return drawn(strength, side, rng)


def _window(kept: float, side: int, rng: np.random.Generator) -> tuple[int, int, int]:
    size = max(1, round(kept * side))
    u, v = rng.random(2)
    return int(u * (side - size + 1)), int(v * (side - size + 1)), size


def _middle(kept: float, side: int, _: np.random.Generator) -> tuple[int, int, int]:
    size = max(1, round(kept * side))
    return (side - size) // 2, (side - size) // 2, size


def _angle(angle: float, _: int, rng: np.random.Generator) -> float:
    return angle if rng.random() < 0.5 else -angle


def _shift(shift: float, _: int, rng: np.random.Generator) -> float:
    return shift if rng.random() < 0.5 else -shift


def _light(change: float, _: int, rng: np.random.Generator) -> np.ndarray:
    return 1 + change * (2 * rng.random(3) - 1)


def _hole(area: float, side: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    a, u, v = rng.random(3)
    aspect = 2 ** (2 * a - 1)
    h = min(side, round(math.sqrt(area * aspect) * side))
    w = min(side, round(math.sqrt(area / aspect) * side))
    return int(u * (side - h + 1)), int(v * (side - w + 1)), h, w


def _place(size: float, side: int, rng: np.random.Generator) -> tuple[int, int, int]:
    box = round(size * side)
    u, v = rng.random(2)
    return int(u * (side - box + 1)), int(v * (side - box + 1)), box


def _corners(distortion: float, side: int, rng: np.random.Generator) -> np.ndarray:
    """Where the corners go, (4, 2) as (x, y)."""
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    return square(side) + inward * distortion * rng.random((4, 2)) * (side - 1) / 2


def square(side: int) -> np.ndarray:
    """The corners of an image, (4, 2) as (x, y), in the order of the attack."""
    return np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float) * (side - 1)


def _chain(level: float, side: int, rng: np.random.Generator) -> list[tuple[str, Any]]:
    full = [
        ("crop-resize", 1, 0.8), ("rotation", 0, 20), ("gaussian-blur", 0, 1.5),
        ("brightness", 1, 1.5), ("gaussian-noise", 0, 0.1), ("erase", 0, 0.2), ("jpeg", 100, 50),
    ]  # fmt: skip
    chosen = rng.random(len(full)) < 0.5
    steps = []
    for (name, none, most), taken in zip(full, chosen, strict=True):
        strength = none + level * (most - none)
        if taken:
            steps.append((name, strength, parameters(name, strength, side, rng)))
    return steps


def _file(image: Image.Image, quality: float, _: Any, ending: str) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, ending, quality=round(quality))
    opened = Image.open(buffer)
    opened.load()
    return opened


def _noise(image: Image.Image, sigma: float, rng: np.random.Generator) -> np.ndarray:
    levels = np.asarray(image)
    noise = rng.standard_normal(levels.shape, dtype=np.float32)
    return np.clip(np.rint(levels + np.float32(255 * sigma) * noise), 0, 255).astype(np.uint8)


def _salt(image: Image.Image, share: float, rng: np.random.Generator) -> np.ndarray:
    levels = np.array(image)
    u = rng.random(levels.shape[:2], dtype=np.float32)
    levels[u < share / 2] = 0
    levels[u >= 1 - share / 2] = 255
    return levels


def _resized(image: Image.Image, scale: float, _: Any) -> Image.Image:
    small = image.resize((round(scale * image.width),) * 2, Image.Resampling.BOX)
    return small.resize(image.size, BILINEAR)


def _cropped(image: Image.Image, _: float, window: tuple[int, int, int]) -> Image.Image:
    top, left, size = window
    return image.crop((left, top, left + size, top + size)).resize(image.size, BILINEAR)


def _perspective(image: Image.Image, _: float, corners: np.ndarray) -> Image.Image:
    # Pillow's coordinates count from the pixel's edge, the corners from its middle.
    matrix = cv2.getPerspectiveTransform(
        (corners + 0.5).astype(np.float32), (square(image.width) + 0.5).astype(np.float32)
    )
    coefficients = (matrix / matrix[2, 2]).ravel()[:8]
    return image.transform(image.size, Image.Transform.PERSPECTIVE, coefficients, BILINEAR)


def _turned(image: Image.Image, _: float, shift: float) -> Image.Image:
    h, s, v = image.convert("HSV").split()
    h = h.point([round(level + 255 * shift) % 256 for level in range(256)])
    return Image.merge("HSV", (h, s, v)).convert("RGB")


def _gamma(image: Image.Image, gamma: float, _: Any) -> Image.Image:
    return image.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)


def _relit(image: Image.Image, _: float, light: np.ndarray) -> Image.Image:
    levels = np.rint(np.minimum(np.arange(256) * light[:, None], 255)).astype(int)
    return image.point(levels.ravel().tolist())


def _erased(image: Image.Image, _: float, hole: tuple[int, int, int, int]) -> Image.Image:
    top, left, h, w = hole
    image.paste((0, 0, 0), (left, top, left + w, top + h))
    return image


@cache
def _ring(size: int) -> Image.Image:
    """A ring with a bar; four times as large first, for smooth edges."""
    mask = Image.new("L", (4 * size, 4 * size))
    pen = ImageDraw.Draw(mask)
    pen.ellipse((0, 0, 4 * size - 1, 4 * size - 1), outline=204, width=max(1, size // 2))
    pen.rectangle((0, 2 * size - size // 4, 4 * size, 2 * size + size // 4), fill=204)
    return mask.resize((size, size), Image.Resampling.BOX)


def _marked(image: Image.Image, _: float, place: tuple[int, int, int]) -> Image.Image:
    top, left, size = place
    image.paste((255, 255, 255), (left, top), _ring(size))
    return image


def _combined(image: Image.Image, _: float, steps: list[tuple[str, float, Any]]) -> Image.Image:
    for name, strength, parameter in steps:
        changed = PILLOW[name](image, strength, parameter)
        image = changed if isinstance(changed, Image.Image) else Image.fromarray(changed)
    return image


def _posted(image: Image.Image, quality: float, _: Any) -> Image.Image:
    small = _file(_resized(image, 0.7, None), quality, None, "JPEG")
    return small.filter(ImageFilter.UnsharpMask(1, 50, 0))


PILLOW: dict[str, Callable[[Image.Image, float, Any], Image.Image | np.ndarray]] = {
    "jpeg": partial(_file, ending="JPEG"),
    "webp": partial(_file, ending="WEBP"),
    "gaussian-noise": _noise,
    "salt-pepper": _salt,
    # Pillow's blur is three box blurs, which are fewer operations than a Gaussian.
    "gaussian-blur": lambda image, sigma, _: image.filter(ImageFilter.GaussianBlur(sigma)),
    "median-blur": lambda image, kernel, _: image.filter(ImageFilter.MedianFilter(int(kernel))),
    "sharpen": lambda image, a, _: image.filter(ImageFilter.UnsharpMask(1, round(100 * a), 0)),
    "resize": _resized,
    "crop-resize": _cropped,
    "centre-crop": _cropped,
    "rotation": lambda image, _, angle: image.rotate(angle, BILINEAR),
    "flip": lambda image, _, __: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "perspective": _perspective,
    "brightness": lambda image, factor, _: ImageEnhance.Brightness(image).enhance(factor),
    "contrast": lambda image, factor, _: ImageEnhance.Contrast(image).enhance(factor),
    "saturation": lambda image, factor, _: ImageEnhance.Color(image).enhance(factor),
    "hue": _turned,
    "gamma": _gamma,
    "relight": _relit,
    "posterise": lambda image, bits, _: ImageOps.posterize(image, int(bits)),
    "erase": _erased,
    "overlay": _marked,
    "combination": _combined,
    "social-media": _posted,
}
