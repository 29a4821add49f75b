from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fpbench.builtin.toy_faces.faces import draw

SIZES = (32, 64)


@pytest.mark.parametrize("size", SIZES)
def test_shape_and_dtype(size: int) -> None:
    images = draw(np.arange(5), size)
    assert images.shape == (5, size, size, 3)
    assert images.dtype == np.uint8


@pytest.mark.parametrize("size", [1, 7, 33])
def test_any_positive_size_can_be_drawn(size: int) -> None:
    assert draw(np.arange(2), size).shape == (2, size, size, 3)


def test_no_indices_give_no_images() -> None:
    assert draw(np.array([], np.int64), 32).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("size", SIZES)
def test_image_does_not_depend_on_the_batch(size: int) -> None:
    # More than two chunks, so that places inside, across and after a chunk are seen.
    count = 150 if size == 32 else 40
    images = draw(np.arange(count), size)
    for index in range(0, count, 13):
        np.testing.assert_array_equal(draw(np.array([index]), size)[0], images[index])


@pytest.mark.parametrize("size", SIZES)
def test_permuted_indices_give_permuted_images(size: int) -> None:
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_array_equal(draw(order, size), draw(np.arange(100), size)[order])


@pytest.mark.parametrize(
    ("size", "digest"),
    [
        (32, "92628b664bdfe8b3da6ff997d78de7e4401ab4ed84477ad24fabb5b7f98dc067"),
        (64, "4a19f8bfe59e904a405ff6200a1b9a3b193889d606fb7b7653bf76990b3d060c"),
    ],
)
def test_bytes_never_change(size: int, digest: str) -> None:
    images = draw(np.array([0, 1, 2, 97, 2**40]), size)
    assert hashlib.sha256(images.tobytes()).hexdigest() == digest


def test_an_index_is_the_same_face_at_both_sizes() -> None:
    indices = np.arange(64)
    small = draw(indices, 32).astype(np.float64)
    halved = draw(indices, 64).reshape(64, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    same = np.abs(small - halved).mean(axis=(1, 2, 3))
    others = np.abs(small - np.roll(halved, 1, axis=0)).mean(axis=(1, 2, 3))
    assert same.max() < 4.0
    assert others.min() > 12.0


def test_faces_differ_from_one_another() -> None:
    images = draw(np.arange(100), 32).reshape(100, -1).astype(np.float64)
    gaps = [np.abs(images[: i + 1] - images[i + 1]).mean(axis=1) for i in range(99)]
    assert min(gap.min() for gap in gaps) > 12.0
    assert np.concatenate(gaps).mean() > 40.0


def test_negative_index_is_refused_by_value() -> None:
    with pytest.raises(ValueError, match=r"expected indices >= 0, got -3"):
        draw(np.array([4, -3]), 32)


@pytest.mark.parametrize("size", [0, -32])
def test_size_without_pixels_is_refused_by_value(size: int) -> None:
    with pytest.raises(ValueError, match=rf"expected a size >= 1 pixel, got {size}"):
        draw(np.arange(2), size)
