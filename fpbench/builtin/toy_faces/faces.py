"""Cartoon faces drawn from an index, in numpy alone.

Image i is a pure function of i and the size. A counter-based hash turns (index, parameter number)
into uniforms, and the pixel path uses only + - * /, square root, comparison and absolute value.
IEEE 754 rounds these the same everywhere, so the bytes do not depend on the machine or the batch.

Lengths are in half image sides, from the middle of the head, y down; colours are sRGB in [0, 1].
Letters: N images, S image side in pixels, K colours. A parameter is (N, 1, 1), a colour
(3, N, 1, 1), a plane of pixels (N, S, S) or a window of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw"]

# Always float32: numpy's stubs lose it where an array meets a Python float.
Floats = NDArray[Any]

# Fastest of 8 to 256 thousand: smaller pays numpy's overhead per call, larger leaves the cache.
_PIXELS_PER_CHUNK = 64 * 32 * 32
_PARAMETERS = 89
# Edges a little wider than a pixel keep the images learnable by a small generator.
_EDGE = 0.03


def draw(indices: NDArray[np.int64], size: int) -> NDArray[np.uint8]:
    """Returns the faces as (N, S, S, 3) uint8 sRGB.

    Args:
        indices: (N,) int64, each >= 0. An index is the same person at every size.
        size: S, the side in pixels, >= 1. Every feature can be seen from 32 up.

    Raises:
        ValueError: If an index is negative or the size is not positive.
    """
    if indices.size and indices.min() < 0:
        raise ValueError(f"toy-faces: expected indices >= 0, got {indices.min()}")
    if size < 1:
        raise ValueError(f"toy-faces: expected a size >= 1 pixel, got {size}")
    images = np.empty((len(indices), size, size, 3), np.uint8)
    step = max(1, _PIXELS_PER_CHUNK // size**2)
    for start in range(0, len(indices), step):
        dice = _Dice(indices[start : start + step])
        face = _Face(dice)
        canvas = _Canvas.around(face, size)
        for paint in (_paint_back, _paint_skin, _paint_mouth, _paint_fringe, _paint_eyes):
            paint(canvas, face, dice)
        colours = (canvas.pixels * 255.0 + 0.5).astype(np.uint8)
        images[start : start + step] = np.moveaxis(colours, 0, 3)
    return images


class _Dice:
    """Rolls the parameters of each image, one after the other."""

    def __init__(self, indices: NDArray[np.int64]) -> None:
        numbers = np.arange(1, _PARAMETERS + 1, dtype=np.uint64)[:, None]
        streams = _splitmix64(indices.astype(np.uint64))
        bits = _splitmix64(streams + numbers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        # 24 bits fit a float32 exactly, so none is rounded up to 1.
        self._rolls: Iterator[Floats] = iter(bits.astype(np.float32)[:, :, None, None] / 2**24)

    def roll(self, low: float, high: float) -> Floats:
        """Returns uniforms between two numbers."""
        return next(self._rolls) * (high - low) + low

    def chance(self, probability: float) -> Floats:
        """Returns 1 with the given probability, else 0."""
        return (next(self._rolls) < probability).astype(np.float32)

    def pick(self, palette: Floats) -> Floats:
        """Returns a colour of the (K, 3) palette, with some of another so tones are continuous."""
        places = [(next(self._rolls) * len(palette)).astype(np.int64) for _ in range(2)]
        return _mix(palette.T[:, places[0]], palette.T[:, places[1]], self.roll(0.0, 0.25))


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Returns the next output of the generator of Steele et al. (OOPSLA 2014) for each state."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _palette(codes: str) -> Floats:
    """Returns (K, 3) from hexadecimal RGB codes."""
    return np.array(list(bytes.fromhex(codes)), np.float32).reshape(-1, 3) / np.float32(255)


_SKINS = _palette("FFE3CF FBD3B0 F0BC92 D99C6C B5764A 8B5636 66402A")
_HAIRS = _palette("1E1B22 2B1D1A 4A2C1C 6B3F24 8C4A25 B5562A DD8A36 EBC169 F5DFA0 A7A7B2 A83A55")
_WALLS = _palette("8ECAE6 BDE0FE 9ADBC5 CDB4DB FFB3C6 FFD08A FDF0A6 F28F6B 5C86C4 5FAE7B 7A6FB0")
_CLOTHS = _palette("E63946 26406B F7F4EA 2A9D8F F4A261 6D597A 22404A FFB703 8D99AE 9BC53D D96BA0")
_IRISES = _palette("5B3A1E 3A2415 2F6FB0 3F8F5B 7A8B99")
_LIPS = _palette("C2453F B03A48 D9606B 8E3B3B")
_INK, _WHITE, _SHADE, _BLUSH, _MOUTH = (
    colour.reshape(3, 1, 1, 1) for colour in _palette("241A20 FFFFFF C68D7E F0605A 5A1420")
)


def _mix(first: Floats, second: Floats, share: float | Floats) -> Floats:
    """Returns the first colour with the given share of the second."""
    return first + (second - first) * share


def _farthest(candidates: list[Floats], others: list[Floats]) -> Floats:
    """Returns per image the candidate farthest from its nearest other colour, for contrast."""
    best, best_gap = candidates[0], np.float32(-1)
    for candidate in candidates:
        gap = np.float32(3)
        for red, green, blue in (np.abs(candidate - other) for other in others):
            # Weights near those of luma: eyes tell lightness apart better than hue.
            gap = np.minimum(gap, 0.3 * red + 0.5 * green + 0.2 * blue)
        best, best_gap = np.where(gap > best_gap, candidate, best), np.maximum(gap, best_gap)
    return best


class _Face:
    """What several features share: colours, pose and lengths."""

    def __init__(self, dice: _Dice) -> None:
        roll, pick = dice.roll, dice.pick
        self.skin = pick(_SKINS)
        self.shade = self.skin * _SHADE
        self.hair = _farthest([pick(_HAIRS), pick(_HAIRS)], [self.skin])
        near = [self.skin, self.hair]
        self.wall = _farthest([pick(_WALLS), pick(_WALLS), pick(_WALLS)], near)
        self.cloth = _farthest([pick(_CLOTHS), pick(_CLOTHS)], [*near, self.wall])
        self.light_x, self.light_y = roll(-0.8, 0.8), roll(-0.8, -0.3)
        self.x, self.y, self.tilt = roll(-0.035, 0.035), roll(0.0, 0.05), roll(-0.04, 0.04)
        self.width, self.height = roll(0.56, 0.65), roll(0.63, 0.71)
        self.eye_x, self.eye_y = self.width * roll(0.43, 0.48), self.height * roll(0.02, 0.09)
        self.eye_radius, self.mouth_y = roll(0.14, 0.175), self.height * roll(0.5, 0.57)
        # A bald head has hair that ends inside the face, and a hairline above it.
        hairy = 1.0 - dice.chance(0.06)
        self.hair_width = self.width - 0.05 + roll(0.11, 0.24) * hairy
        self.hair_height = self.height - 0.05 + roll(0.13, 0.25) * hairy
        # A product, so that most hair is short: long hair hides the wall.
        self.hair_end = roll(0.0, 1.0) * roll(0.2, 1.0) * hairy + 0.05
        self.shows_ears = (self.hair_end < 0.4).astype(np.float32)
        self.hairline = self.height * roll(-0.74, -0.52) + hairy - 1.0


class _Canvas:
    """The images under the brush: pixels (3, N, S, S), each at u, v (N, S, S) along the head."""

    def __init__(self, size: int, pixels: Floats, u: Floats, v: Floats) -> None:
        self.size, self.pixels, self.u, self.v = size, pixels, u, v

    @staticmethod
    def around(face: _Face, size: int) -> _Canvas:
        """Returns an unpainted canvas that knows the pose of the head."""
        ticks = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0
        right, down = ticks[None, None, :] - face.x, ticks[None, :, None] - face.y
        # The half-angle form of a rotation needs no sine.
        scale = 1.0 / (1.0 + face.tilt * face.tilt)
        cosine, sine = 2.0 * scale - 1.0, 2.0 * face.tilt * scale
        u, v = cosine * right + sine * down, cosine * down - sine * right
        return _Canvas(size, np.empty((3, *u.shape), np.float32), u, v)

    @contextmanager
    def window(self, top: float, bottom: float, side: float = 1.0) -> Iterator[_Canvas]:
        """Lends what a feature can reach, as a small contiguous copy, and takes it back painted."""
        part = ..., self._cells(top, bottom), self._cells(-side, side)
        pixels, u, v = (np.ascontiguousarray(old[part]) for old in (self.pixels, self.u, self.v))
        yield _Canvas(self.size, pixels, u, v)
        self.pixels[part] = pixels

    def _cells(self, low: float, high: float) -> slice:
        return slice(int((low + 1.0) * self.size / 2.0), int((high + 1.0) * self.size / 2.0) + 1)

    def paint(self, distance: Floats, colour: Floats, share: float | Floats = 1) -> Floats:
        """Paints where the distance to an outline is negative; returns the mask, in [0, 1]."""
        mask = distance * np.float32(-1.0 / (2.0 / self.size + _EDGE))
        mask += 0.5
        np.clip(mask, 0.0, 1.0, out=mask)
        mask *= share
        self.blend(mask, colour)
        return mask

    def blend(self, mask: Floats, colour: Floats) -> None:
        """Lays a colour over the pixels as far as the mask, in [0, 1], covers them."""
        for plane, tone in zip(self.pixels, colour, strict=True):
            coat = tone - plane
            coat *= mask
            plane += coat


def _ellipse(u: Floats, v: Floats, width: float | Floats, height: float | Floats) -> Floats:
    """Returns the distance to an ellipse with these half axes around (0, 0); exact for a circle."""
    across, down = u * (1.0 / width), v * (1.0 / height)
    distance: Floats = np.sqrt(across * across + down * down) - 1.0
    distance *= np.minimum(width, height)
    return distance


def _paint_back(canvas: _Canvas, face: _Face, dice: _Dice) -> None:
    """Paints the wall, hair that hangs down, shoulders, collar, neck and ears."""
    canvas.pixels[...] = _mix(face.wall, _WHITE, dice.roll(0.0, 0.35))
    end = _mix(face.wall, dice.pick(_WALLS), dice.roll(0.1, 0.5)) * dice.roll(0.75, 1.0)
    along = dice.roll(-0.4, 0.4) * canvas.u + dice.roll(0.3, 0.6) * canvas.v + 0.5
    canvas.blend(np.clip(along, 0.0, 1.0), end)
    hang = canvas.v - np.clip(canvas.v, 0.0, face.hair_end)
    hair = _ellipse(canvas.u, np.maximum(hang, 2.0 * hang), face.hair_width, face.hair_height)
    canvas.paint(hair, face.hair * 0.85)
    with canvas.window(0.4, 1.0) as body:
        u, v = body.u, body.v - dice.roll(0.62, 0.7)
        body.paint(_ellipse(u, v - 0.6, dice.roll(0.82, 0.98), 0.6), face.cloth)
        neck = face.width * dice.roll(0.42, 0.55)
        collar = _ellipse(u, v, neck + 0.03, dice.roll(0.14, 0.3))
        body.paint(collar - 0.08, _mix(face.cloth, _WHITE, 0.35))
        body.paint(np.minimum(collar, np.maximum(np.abs(u) - neck, v)), face.shade)
    with canvas.window(-0.25, 0.4) as sides:
        u, v = np.abs(sides.u) - face.width, sides.v - 0.06
        ear = _ellipse(u, v, dice.roll(0.09, 0.13), dice.roll(0.13, 0.18))
        sides.paint(ear, _mix(face.skin, face.shade, 0.45), face.shows_ears)


def _paint_skin(canvas: _Canvas, face: _Face, dice: _Dice) -> None:
    """Paints the face, lit like half an ellipsoid by Lambert's law, and the cheeks."""
    u, v = canvas.u * (1.0 / face.width), canvas.v * (1.0 / face.height)
    u *= np.maximum(v, 0.0) * dice.roll(0.0, 0.22) + 1.0
    reach = u * u + v * v
    mask = canvas.paint((np.sqrt(reach) - 1.0) * face.width, face.shade)
    depth = np.sqrt(np.maximum(1.0 - reach, 0.0))
    lit = 0.68 * depth + 0.9 * (face.light_x * u + face.light_y * v) + 0.35
    canvas.blend(mask * np.clip(lit, 0.0, 1.0), face.skin)
    with canvas.window(-0.05, 0.65, 0.7) as cheeks:
        u, v = np.abs(cheeks.u) - face.width * 0.62, cheeks.v - face.height * 0.36
        blush = np.clip(_ellipse(u, v, 0.22, 0.19) * -6.0, 0.0, 1.0)
        cheeks.blend(blush * dice.roll(0.05, 0.4), _mix(_BLUSH, face.skin, 0.3))


def _paint_mouth(canvas: _Canvas, face: _Face, dice: _Dice) -> None:
    """Paints a nose, a beard on some faces, and a parabola of lips, in half of them with teeth."""
    with canvas.window(-0.25, 1.0) as lower:
        chin = _ellipse(lower.u, lower.v - 0.04, face.width - 0.01, face.height)
        edge = face.mouth_y - dice.roll(0.1, 0.17) - 0.7 * lower.u * lower.u
        beard = np.maximum(chin, edge - lower.v)
        lower.paint(beard, _mix(face.hair, _INK, 0.12), dice.chance(0.12))
    with canvas.window(0.1, 0.7, 0.46) as lower:
        width = face.width * dice.roll(0.4, 0.55)
        arch = 1.0 - np.square(lower.u / width)
        v = lower.v - face.mouth_y - dice.roll(-0.03, 0.19) * (arch - 0.5)
        gape = dice.chance(0.5) * dice.roll(0.03, 0.09) + 0.02
        gap = np.abs(v) - np.maximum(arch, 0.0) * gape
        lips = np.maximum(gap - 0.04, (-0.5 * width) * (arch + 0.05))
        mask = lower.paint(lips, _mix(dice.pick(_LIPS), face.shade, dice.roll(0.0, 0.3)))
        mask = lower.paint(gap + 0.025, _MOUTH, mask)
        lower.paint(v + gape * 0.2, _WHITE, mask)
    with canvas.window(-0.05, 0.42, 0.22) as middle:
        width, height = dice.roll(0.07, 0.11), dice.roll(0.07, 0.1)
        down = middle.v - face.height * dice.roll(0.27, 0.33)
        middle.paint(_ellipse(middle.u, down, width, height), face.shade * 0.88, 0.75)
        across = middle.u - face.light_x * 0.04
        middle.paint(_ellipse(across, down + 0.07, width * 0.8, height + 0.03), face.skin)


def _paint_fringe(canvas: _Canvas, face: _Face, dice: _Dice) -> None:
    """Paints the hair in front of the head and its shadow on the forehead."""
    with canvas.window(-1.0, 0.46) as upper:
        u = np.abs(upper.u - dice.roll(-0.35, 0.35))
        line = (u * dice.roll(0.0, 0.7) + dice.roll(-0.05, 0.5)) * u + face.hairline
        line = upper.v - np.minimum(line, np.minimum(face.hair_end, 0.3))
        cap = _ellipse(upper.u, upper.v, face.hair_width, face.hair_height)
        upper.paint(np.maximum(cap + 0.06, line - 0.07), face.shade * 0.7, 0.3)
        mask = upper.paint(np.maximum(cap, line), face.hair)
        shine = np.clip(face.light_x * upper.u + face.light_y * upper.v, 0.0, 1.0)
        upper.blend(mask * shine, _mix(face.hair, _WHITE, 0.15))


def _paint_eyes(canvas: _Canvas, face: _Face, dice: _Dice) -> None:
    """Paints lashes, whites, irises, pupils, glints and brows, and glasses on some faces."""
    with canvas.window(-0.45, 0.4, 0.7) as upper:
        out, v, radius = np.abs(upper.u) - face.eye_x, upper.v - face.eye_y, face.eye_radius
        height = radius * dice.roll(0.85, 1.1)
        eye = _ellipse(out, v, radius, height)
        upper.paint(eye + v * 0.2 - 0.02, _INK)
        white = upper.paint(eye, _WHITE)
        u = np.where(upper.u < 0.0, -out, out) - dice.roll(-0.03, 0.03)
        low = v - dice.roll(-0.02, 0.02)
        pupil = np.sqrt(u * u + low * low) - radius * 0.4
        upper.paint(pupil - radius * dice.roll(0.22, 0.35), dice.pick(_IRISES), white)
        upper.paint(pupil, _INK, white)
        upper.paint(_ellipse(u + 0.04, low + 0.05, 0.045, 0.045), _WHITE)
        bend = (out * dice.roll(0.6, 1.8) + dice.roll(-0.14, 0.14)) * out
        brow = np.abs(v + height + bend + dice.roll(0.08, 0.12)) - dice.roll(0.035, 0.055)
        upper.paint(np.maximum(brow, np.abs(out) - radius * 1.05), _mix(face.hair, _INK, 0.45))
        rim = radius + dice.roll(0.05, 0.08)
        ring, bridge = np.abs(np.sqrt(out * out + v * v) - rim), np.maximum(np.abs(v), out + rim)
        glasses = np.minimum(ring, bridge) - 0.03
        upper.paint(glasses, _mix(dice.pick(_CLOTHS), _INK, 0.6), dice.chance(0.12))
