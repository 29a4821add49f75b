"""Image attacks written a second time, one image at a time, with other libraries.

A reference maps (image HWC uint8, strength, the image's generator) to what the attack has to give:
float levels before the last rounding, or uint8 where the bytes themselves are defined. Nothing
here shares code with the plugin.
"""

import io
from functools import cache
from math import sqrt

import numpy as np
import scipy.stats
import torch
from PIL import Image, ImageOps
from scipy import ndimage
from skimage import color, transform

from fpbench.builtin.toy_faces.faces import draw
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store

catalogue = cache(load)
"""Everything installed, found once."""


def component(name, **params):
    """The attack called `name`."""
    cls = catalogue().component("attacks", name)
    return cls(cls.Params(**params))


def context(folder, name):
    """What the harness would hand to the attack called `name`."""
    return StageContext(torch.device("cpu"), (0, "attack", name), Store(folder))


def pictures(height, width, each=4):
    """(3 * each, 3, H, W): faces, noise without structure, and edges with texture."""
    rng = np.random.default_rng(height * 1000 + width)
    side = max(height, width)
    faces = draw(np.arange(each), side)[:, :height, :width]
    noise = rng.integers(0, 256, (each, height, width, 3), dtype=np.uint8)
    y, x = np.indices((height, width, 1))[:2] / side
    scenes = []
    for _ in range(each):
        turn, pitch, phase = rng.random((3, 3)) * (6, 40, 6) + (0, 4, 0)
        waves = np.sin((x * np.cos(turn) + y * np.sin(turn)) * pitch + phase)
        centre, radius = rng.random(2), 0.1 + 0.3 * rng.random()
        disc = np.hypot(x - centre[0], y - centre[1]) < radius
        ramp = np.broadcast_to((x + y) * 120, waves.shape)
        scenes.append(np.where(disc, rng.integers(0, 256, 3), ramp + 60 * waves))
    scenes = np.clip(np.stack(scenes), 0, 255).astype(np.uint8)
    return torch.from_numpy(np.concatenate([faces, noise, scenes])).permute(0, 3, 1, 2)


def hwc(images):
    """The images as an array (N, H, W, 3)."""
    return images.permute(0, 2, 3, 1).numpy()


def through_file(image, **options):
    """The image after Pillow wrote it and read it back."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, **options)
    return np.asarray(Image.open(buffer).convert("RGB"))


def jpeg(image, quality, _, subsampling="420"):
    """Bit for bit what Pillow gives."""
    chroma = {"444": 0, "422": 1, "420": 2}[subsampling]
    return through_file(image, format="JPEG", quality=int(quality), subsampling=chroma)


def webp(image, quality, _):
    """Lossy WebP by Pillow."""
    return through_file(image, format="WEBP", quality=int(quality))


def gaussian_noise(image, sigma, rng):
    """Independent for every pixel and channel."""
    # 16 bits give each number: the middle of one of 65,536 equally likely parts of the normal.
    words = rng.integers(0, 2**64, -(-image.size // 4), dtype=np.uint64)
    parts = np.stack([(words >> np.uint64(16 * k)) & np.uint64(0xFFFF) for k in range(4)], axis=1)
    normal = scipy.stats.norm.ppf((parts.ravel()[: image.size] + 0.5) / 65536)
    return image + 255 * sigma * normal.reshape(image.shape)


def salt_pepper(image, share, rng):
    """Half of the share black, half white, all channels together."""
    u = rng.random(image.shape[:2], dtype=np.float32)[..., None]
    return np.select([u < share / 2, u >= 1 - share / 2], [np.uint8(0), np.uint8(255)], image)


def gaussian_blur(image, sigma, _):
    """Cut at four sigma, border mirrored without repeating the edge."""
    if not sigma:
        return image
    return ndimage.gaussian_filter(
        image.astype(float), (sigma, sigma, 0), mode="mirror", truncate=4
    )


def median_blur(image, kernel, _):
    """One channel after the other, border repeated."""
    return ndimage.median_filter(image, (int(kernel), int(kernel), 1), mode="nearest")


def sharpen(image, amount, _):
    """Unsharp mask of one pixel."""
    return image + amount * (image - gaussian_blur(image, 1.0, None))


def bilinear(image, height, width):
    """Resized up by Pillow in floats, so nothing is rounded on the way."""
    planes = [Image.fromarray(image[..., c].astype(np.float32)) for c in range(3)]
    sized = [plane.resize((width, height), Image.Resampling.BILINEAR) for plane in planes]
    return np.stack([np.asarray(plane, float) for plane in sized], axis=-1)


def sides(image, share):
    """Height and width of a share of the image's sides."""
    return tuple(max(1, round(share * side)) for side in image.shape[:2])


def resize(image, scale, _, ties=0):
    """Area averages, 8 bits, and back; -1 and 1 send ties of the 8 bits down and up."""
    if scale == 1:
        return image
    small = transform.resize_local_mean(
        image.astype(float), sides(image, scale), preserve_range=True, channel_axis=-1
    )
    return bilinear(np.rint(small + ties * 1e-6), *image.shape[:2])


def crop_resize(image, kept, rng):
    """A window anywhere, as large as the image again."""
    (height, width), (u, v) = sides(image, kept), rng.random(2)
    top = int(u * (image.shape[0] - height + 1))
    left = int(v * (image.shape[1] - width + 1))
    return bilinear(image[top : top + height, left : left + width], *image.shape[:2])


def centre_crop(image, kept, _, fill="resize"):
    """The window in the middle, enlarged or in a black frame."""
    height, width = sides(image, kept)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    window = np.s_[top : top + height, left : left + width]
    if fill == "resize":
        return bilinear(image[window], *image.shape[:2])
    framed = np.zeros_like(image)
    framed[window] = image[window]
    return framed


# Bilinear, black outside; scikit-image would lift what it mixes with black to the image's minimum.
WARP = {"order": 1, "mode": "constant", "clip": False, "preserve_range": True}


def rotation(image, angle, rng):
    """scikit-image turns counter-clockwise about the middle of the pixel grid."""
    sign = 1 if rng.random() < 0.5 else -1
    return transform.rotate(image.astype(float), sign * angle, **WARP)


def flip(image, _, __):
    """Left for right."""
    return np.asarray(ImageOps.mirror(Image.fromarray(image)))


def perspective(image, distortion, rng):
    """The image drawn onto a quadrilateral within it."""
    far = np.array(image.shape[1::-1]) - 1
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * far
    inward = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    moved = corners + inward * distortion * rng.random((4, 2)) * far / 2
    back = transform.ProjectiveTransform.from_estimate(moved, corners)
    return transform.warp(image.astype(float), back, **WARP)


def luma(image):
    """Pillow's grey image."""
    return np.asarray(Image.fromarray(image).convert("L"), float)


def brightness(image, factor, _):
    """Away from black."""
    return factor * image.astype(float)


def contrast(image, factor, _):
    """Away from the mean grey, a whole number as in Pillow."""
    mean = int(luma(image).mean() + 0.5)
    return mean + factor * (image.astype(float) - mean)


def saturation(image, factor, _):
    """Away from the pixel's own grey."""
    grey = luma(image)[..., None]
    return grey + factor * (image - grey)


def hue(image, shift, rng):
    """Round the colour circle, forwards or backwards."""
    sign = -1 if rng.random() >= 0.5 else 1
    hsv = color.rgb2hsv(image)
    hsv[..., 0] = (hsv[..., 0] + sign * shift) % 1
    return color.hsv2rgb(hsv) * 255


def gamma(image, exponent, _):
    """A power of the level."""
    return 255 * (image / 255.0) ** exponent


def relight(image, change, rng):
    """One factor a channel, red first."""
    return image * (1 + change * (2 * rng.random(3) - 1))


def posterise(image, bits, _):
    """Pillow's posterize."""
    return np.asarray(ImageOps.posterize(Image.fromarray(image), int(bits)))


def erase(image, area, rng):
    """A black rectangle of any shape between 1:2 and 2:1."""
    height, width = image.shape[:2]
    a, u, v = rng.random(3)
    aspect = 2 ** (2 * a - 1)
    h = min(height, round(sqrt(area * height * width * aspect)))
    w = min(width, round(sqrt(area * height * width / aspect)))
    top, left = int(u * (height - h + 1)), int(v * (width - w + 1))
    erased = image.copy()
    erased[top : top + h, left : left + w] = 0
    return erased


REFERENCES = {
    function.__name__.replace("_", "-"): function
    for function in (
        jpeg, webp, gaussian_noise, salt_pepper, gaussian_blur, median_blur, sharpen, resize,
        crop_resize, centre_crop, rotation, flip, perspective, brightness, contrast, saturation,
        hue, gamma, relight, posterise, erase,
    )
}  # fmt: skip


# Levels that an attack may be away from the unrounded reference. Half a level is perfect rounding,
# so one thousandth more leaves room for float32 alone. Where bytes are defined there is none.
EXACT, ROUNDED = 0.0, 0.501
LIMITS = dict.fromkeys(REFERENCES, ROUNDED) | {
    **dict.fromkeys(("jpeg", "webp", "salt-pepper", "median-blur"), EXACT),
    **dict.fromkeys(("flip", "posterise", "erase"), EXACT),
    # Coordinates in float32 are off by up to 64 * 2**-23 pixels, and a pixel may be 255 levels.
    **dict.fromkeys(("rotation", "perspective"), 0.505),
    # Ties of the small image's 8 bits go either way, a level, before the second rounding.
    "resize": 1.501,
}


def expected(name, images, strength, ctx, reference=None, **params):
    """The reference's answers for images numbered from 0, one after the other."""
    reference = reference or REFERENCES[name]
    return np.stack(
        [reference(x, strength, ctx.image_rng(i), **params) for i, x in enumerate(hwc(images))]
    )


def distance(got, wanted):
    """Levels between images and the references' unrounded levels, clipped to the range."""
    return np.abs(hwc(got).astype(float) - np.clip(wanted, 0, 255))
