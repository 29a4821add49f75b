import numpy as np
import pytest
import torch
from distortion_references import component, context, hwc, pictures
from scipy import ndimage

SIZES = [0.15, 0.3, 0.45, 1]
KINDS = ["logo", "text"]


@pytest.fixture
def overlay(tmp_path):
    def apply(images, size, **params):
        ctx = context(tmp_path, "overlay")
        return component("overlay", **params).apply(images, range(len(images)), size, ctx), ctx

    return apply


def black(count, side):
    images = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    return images.contiguous(memory_format=torch.channels_last)


def boxes(count, side, size, kind, ctx):
    """Slices of the box of each image: where the mark may be."""
    width = round(size * side)
    height = width if kind == "logo" else max(1, round(width / 4))
    for index in range(count):
        u, v = ctx.image_rng(index).random(2)
        top, left = int(u * (side - height + 1)), int(v * (side - width + 1))
        yield np.s_[top : top + height, left : left + width]


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_changes_outside_the_box(overlay, kind, size, side):
    images = pictures(side, side, each=8)
    got, ctx = overlay(images, size, kind=kind)
    before, after = hwc(images), hwc(got)
    for old, new, box in zip(before, after, boxes(24, side, size, kind, ctx), strict=True):
        assert (new[box] >= old[box]).all()
        assert (new[box] != old[box]).any()
        new[box] = old[box]
        assert np.array_equal(new, old)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_mark_fills_its_box_and_is_the_same_everywhere(overlay, kind, size):
    got, ctx = overlay(black(16, 64), size, kind=kind, opacity=1.0)
    found = boxes(16, 64, size, kind, ctx)
    marks = np.stack([image[box] for image, box in zip(hwc(got), found, strict=True)])
    assert (marks == marks[:1]).all()
    mark = marks[0]
    assert (mark == mark[..., :1]).all()  # white
    rows, columns = np.nonzero(mark[..., 0] > 25)
    assert np.ptp(rows) + 1 >= 0.7 * mark.shape[0]
    assert np.ptp(columns) + 1 >= 0.7 * mark.shape[1]
    assert 0.15 < mark.mean() / 255 < 0.75


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("opacity", [0.8, 0.5])
def test_the_mark_is_mixed_by_coverage_and_opacity(overlay, kind, opacity, size):
    images = pictures(64, 64)
    coverage = hwc(overlay(black(len(images), 64), size, kind=kind, opacity=1.0)[0]) / 255.0
    got, _ = overlay(images, size, kind=kind, opacity=opacity)
    before = hwc(images).astype(float)
    wanted = before + opacity * coverage * (255 - before)
    # Half a level of our rounding and half a level, times opacity, of the mask read from an image.
    assert np.abs(hwc(got) - wanted).max() <= 0.501 + 0.5 * opacity


def test_opacity_is_four_fifths_unless_asked_otherwise(overlay):
    plain, stated = (overlay(black(4, 64), 0.45, **p)[0] for p in ({}, {"opacity": 0.8}))
    assert torch.equal(plain, stated)
    assert plain.max() == round(0.8 * 255)


@pytest.mark.parametrize("kind", KINDS)
def test_edges_of_the_mark_are_smooth(overlay, kind):
    image = hwc(overlay(black(1, 64), 1, kind=kind, opacity=1.0)[0])[0, ..., 0]
    assert image.max() == 255
    assert len(np.unique(image)) > 8


def test_the_logo_is_a_ring_with_a_bar(overlay):
    mark = hwc(overlay(black(1, 256), 1, kind="logo", opacity=1.0)[0])[0, ..., 0] > 127
    assert ndimage.label(mark)[1] == 1
    ground = ndimage.label(~np.pad(mark, 1))[1]
    assert ground == 3  # around the ring, and on both sides of the bar


def test_the_text_is_six_letters(overlay):
    mark = hwc(overlay(black(1, 256), 1, kind="text", opacity=1.0)[0])[0, ..., 0] > 127
    # A gap of a column between neighbours, and the holes of A and P.
    assert ndimage.label(mark, np.ones((3, 3)))[1] == 6
    assert ndimage.label(~np.pad(mark, 1))[1] == 3


def test_no_size_no_mark(overlay):
    images = pictures(32, 32)
    assert torch.equal(overlay(images, 0)[0], images)
