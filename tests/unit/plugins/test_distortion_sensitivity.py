"""The limits of the comparison are tight: a reference with one common mistake does not pass."""

from functools import partial

import numpy as np
import pytest
from distortion_references import (
    LIMITS,
    REFERENCES,
    WARP,
    bilinear,
    component,
    context,
    distance,
    expected,
    jpeg,
    luma,
    pictures,
    through_file,
)
from PIL import Image
from scipy import ndimage
from skimage import transform


class Drawn:
    """A generator that changes what it draws."""

    def __init__(self, rng, change):
        self._rng, self._change = rng, change

    def random(self, *args, **kwargs):
        return self._change(self._rng.random(*args, **kwargs))


def redrawn(name, change):
    """The reference of `name` with changed draws."""
    return lambda x, s, rng: REFERENCES[name](x, s, Drawn(rng, change))


def renoised(change):
    """The reference of `gaussian-noise` with changed noise."""
    return lambda x, s, rng: x + change(REFERENCES["gaussian-noise"](x, s, rng) - x)


def planes_first(n):
    """The same numbers, drawn as (3, H, W)."""
    return n.reshape(3, *n.shape[:2]).transpose(1, 2, 0)


def swapped(name):
    """The reference of `name` that takes red for blue."""
    return lambda x, s, rng: REFERENCES[name](x[..., ::-1], s, rng)[..., ::-1]


def shifted(name, dy=0.5, dx=0.5):
    """The reference of `name` half a pixel off."""
    return lambda x, s, rng: ndimage.shift(
        REFERENCES[name](x, s, rng), (dy, dx, 0), order=1, mode="nearest", output=float
    )


def cut(name):
    """The reference of `name` that cuts fractions off."""
    return lambda x, s, rng: np.floor(np.clip(REFERENCES[name](x, s, rng), 0, 255))


def stronger(name, by):
    """The reference of `name` slightly off its strength."""
    return lambda x, s, rng: REFERENCES[name](x, s * by, rng)


def blur(image, sigma, _, mode="mirror", truncate=4):
    size = (sigma, sigma, 0)
    return ndimage.gaussian_filter(image.astype(float), size, mode=mode, truncate=truncate)


def sharpen(image, amount, _, **options):
    return image + amount * (image - blur(image, 1, None, **options))


def warp(image, angle, rng, **options):
    sign = 1 if rng.random() < 0.5 else -1
    return transform.rotate(image.astype(float), sign * angle, **(WARP | options))


def grown(image, kept, rng, order=1, mode="edge"):
    """Crop and resize with another filter."""
    (u, v), size = rng.random(2), len(image)
    side = round(kept * size)
    top, left = int(u * (size - side + 1)), int(v * (size - side + 1))
    window = image[top : top + side, left : left + side].astype(float)
    return transform.resize(window, (size, size), order=order, mode=mode, anti_aliasing=False)


def decimated(image, scale, _, down=Image.Resampling.BILINEAR):
    small = Image.fromarray(image).resize((round(scale * len(image)),) * 2, down)
    return bilinear(np.asarray(small), *image.shape[:2])


def grey(image, factor, _, weights=(1 / 3, 1 / 3, 1 / 3)):
    mean = np.rint(image @ np.array(weights))[..., None]
    return mean + factor * (image - mean)


BROKEN = {
    "jpeg, no chroma subsampling": ("jpeg", 70, partial(jpeg, subsampling="444")),
    "jpeg, chroma halved one way": ("jpeg", 70, partial(jpeg, subsampling="422")),
    "jpeg, quality off by one": ("jpeg", 70, lambda x, s, _: jpeg(x, s - 1, _)),
    "jpeg, red for blue": ("jpeg", 90, swapped("jpeg")),
    "webp, red for blue": ("webp", 90, swapped("webp")),
    "webp, effort": (
        "webp", 70, lambda x, s, _: through_file(x, format="WEBP", quality=int(s), method=0)
    ),
    "noise, channels first": (
        "gaussian-noise", 0.02, renoised(planes_first)
    ),
    "noise, one sign": ("gaussian-noise", 0.02, renoised(np.negative)),
    "noise, of 256 levels": ("gaussian-noise", 0.1, stronger("gaussian-noise", 256 / 255)),
    "noise, fractions cut": ("gaussian-noise", 0.02, cut("gaussian-noise")),
    "salt for pepper": ("salt-pepper", 0.01, redrawn("salt-pepper", lambda u: 1 - u)),
    "salt-pepper, columns first": ("salt-pepper", 0.01, redrawn("salt-pepper", np.transpose)),
    "salt-pepper, twice the share": ("salt-pepper", 0.01, stronger("salt-pepper", 2)),
    "blur, edge repeated": ("gaussian-blur", 0.5, partial(blur, mode="reflect")),
    "blur, edge extended": ("gaussian-blur", 1, partial(blur, mode="nearest")),
    "blur, cut at two sigma": ("gaussian-blur", 1, partial(blur, truncate=2)),
    "blur, sigma": ("gaussian-blur", 1, stronger("gaussian-blur", 1.02)),
    "blur, half a pixel off": ("gaussian-blur", 1.5, shifted("gaussian-blur")),
    "median, edge mirrored": (
        "median-blur", 3, lambda x, k, _: ndimage.median_filter(x, (k, k, 1), mode="mirror")
    ),
    "median, a smaller square": (
        "median-blur", 5, lambda x, k, _: ndimage.median_filter(x, (k - 2, k, 1), mode="nearest")
    ),
    "sharpen, edge repeated": ("sharpen", 0.5, partial(sharpen, mode="reflect")),
    "sharpen, cut at three sigma": ("sharpen", 2, partial(sharpen, truncate=3)),
    "sharpen, blurred image rounded": (
        "sharpen", 2, lambda x, a, _: x + a * (x - np.rint(blur(x, 1, None)))
    ),
    "resize, down by interpolation": ("resize", 0.75, decimated),
    "resize, nearest down": ("resize", 0.5, partial(decimated, down=Image.Resampling.NEAREST)),
    "resize, not back by interpolation": (
        "resize", 0.5, lambda x, s, _: np.kron(x[::2, ::2], np.ones((2, 2, 1)))
    ),
    "resize, half a pixel off": ("resize", 0.5, shifted("resize")),
    "crop, rows for columns": ("crop-resize", 0.8, redrawn("crop-resize", lambda d: d[::-1])),
    "crop, corners on corners": (
        "crop-resize", 0.8, lambda x, s, rng: shifted("crop-resize", 0.1, 0.1)(x, s, rng)
    ),
    "crop, cubic": ("crop-resize", 0.8, partial(grown, order=3)),
    "crop, black beyond the window": ("crop-resize", 0.8, partial(grown, mode="constant")),
    "centre crop, a pixel off": (
        "centre-crop", 0.9, lambda x, s, _: np.roll(REFERENCES["centre-crop"](x, s, _), 1, axis=0)
    ),
    "rotation, clockwise": ("rotation", 5, redrawn("rotation", lambda u: 1 - u)),
    "rotation, other centre": ("rotation", 5, partial(warp, center=(16, 16))),
    "rotation, nearest": ("rotation", 5, partial(warp, order=0)),
    "rotation, edge extended": ("rotation", 5, partial(warp, mode="edge")),
    "rotation, angle": ("rotation", 20, stronger("rotation", 1.002)),
    "flip, upside down": ("flip", None, lambda x, _, __: x[::-1]),
    "perspective, y for x": ("perspective", 0.1, redrawn("perspective", lambda d: d[:, ::-1])),
    "perspective, other order": ("perspective", 0.1, redrawn("perspective", lambda d: d[::-1])),
    "perspective, of the whole side": ("perspective", 0.1, stronger("perspective", 2)),
    "perspective, strength": ("perspective", 0.1, stronger("perspective", 1.01)),
    "perspective, half a pixel off": ("perspective", 0.1, shifted("perspective")),
    "brightness, fractions cut": ("brightness", 1.2, cut("brightness")),
    "contrast, about the middle grey": (
        "contrast", 1.2, lambda x, f, _: 128 + f * (x.astype(float) - 128)
    ),
    "contrast, mean not rounded": (
        "contrast", 1.5, lambda x, f, _: luma(x).mean() + f * (x - luma(x).mean())
    ),
    "contrast, red for blue": ("contrast", 1.5, swapped("contrast")),
    "contrast, fractions cut": ("contrast", 1.2, cut("contrast")),
    "saturation, mean of channels": ("saturation", 1.5, grey),
    "saturation, HDTV grey": (
        "saturation", 1.5, partial(grey, weights=(0.2126, 0.7152, 0.0722))
    ),
    "saturation, red for blue": ("saturation", 1.5, swapped("saturation")),
    "saturation, fractions cut": ("saturation", 1.5, cut("saturation")),
    "hue, backwards": ("hue", 0.02, redrawn("hue", lambda u: 1 - u)),
    "hue, shift": ("hue", 0.02, stronger("hue", 1.05)),
    "hue, red for blue": ("hue", 0.05, swapped("hue")),
    "hue, fractions cut": ("hue", 0.05, cut("hue")),
    "gamma, the inverse": ("gamma", 1.2, lambda x, g, _: 255 * (x / 255.0) ** (1 / g)),
    "gamma, of 256 levels": ("gamma", 1.2, lambda x, g, _: 256 * (x / 256.0) ** g),
    "relight, blue first": ("relight", 0.1, redrawn("relight", lambda u: u[::-1])),
    "relight, brighter only": ("relight", 0.1, redrawn("relight", lambda u: (u + 1) / 2)),
    "relight, fractions cut": ("relight", 0.1, cut("relight")),
    "posterise, levels for bits": ("posterise", 3, lambda x, b, _: x // 32 * 32 + 16),
    "erase, height for width": (
        "erase", 0.1, redrawn("erase", lambda d: d * (-1, 1, 1) + (1, 0, 0))
    ),
    "erase, rows for columns": ("erase", 0.1, redrawn("erase", lambda d: d[[0, 2, 1]])),
    "erase, grey": (
        "erase", 0.1, lambda x, s, rng: np.where(REFERENCES["erase"](x, s, rng), x, 128)
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_mistake_is_noticed(tmp_path, mistake):
    name, strength, broken = BROKEN[mistake]
    images, ctx = pictures(32, 32), context(tmp_path, name)
    got = component(name).apply(images, range(len(images)), strength or 0.0, ctx)
    wanted = expected(name, images, strength, ctx, reference=broken)
    assert distance(got, wanted).max() > LIMITS[name]
