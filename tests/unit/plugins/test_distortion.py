import numpy as np
import pytest
from distortion_references import (
    LIMITS,
    REFERENCES,
    ROUNDED,
    catalogue,
    component,
    context,
    distance,
    expected,
    hwc,
)
from distortion_references import pictures as draw_pictures
from PIL import Image, ImageEnhance
from skimage import filters

# name: (family, strength's name, default grid, low, high, identity); low and high are legal.
CATALOGUE = {
    "jpeg": ("compression", "quality", (90, 70, 50), 1, 100, None),
    "webp": ("compression", "quality", (90, 70, 50), 1, 100, None),
    "gaussian-noise": ("noise", "sigma", (0.02, 0.05, 0.1), 0, 1, 0),
    "salt-pepper": ("noise", "share", (0.01, 0.03, 0.1), 0, 1, 0),
    "gaussian-blur": ("filtering", "sigma", (0.5, 1, 1.5), 0, 64, 0),
    "median-blur": ("filtering", "kernel", (3, 5, 7), 1, 31, 1),
    "sharpen": ("filtering", "amount", (0.5, 1, 2), 0, 10, 0),
    "resize": ("filtering", "scale", (0.75, 0.5, 0.25), 0.05, 1, 1),
    "crop-resize": ("geometric", "kept", (0.9, 0.8, 0.7), 0.1, 1, 1),
    "centre-crop": ("geometric", "kept", (0.9, 0.8, 0.7), 0.1, 1, 1),
    "rotation": ("geometric", "angle", (5, 10, 20), 0, 180, 0),
    "flip": ("geometric", None, (), None, None, None),
    "perspective": ("geometric", "distortion", (0.1, 0.2, 0.4), 0, 0.9, 0),
    "brightness": ("colour", "factor", (1.2, 1.5, 2), 0, 10, 1),
    "contrast": ("colour", "factor", (1.2, 1.5, 2), 0, 10, 1),
    "saturation": ("colour", "factor", (1.5, 2, 3), 0, 10, 1),
    "hue": ("colour", "shift", (0.02, 0.05, 0.1), 0, 0.5, 0),
    "gamma": ("colour", "gamma", (1.2, 1.5, 2), 0.1, 10, 1),
    "relight": ("colour", "change", (0.1, 0.2, 0.4), 0, 1, 0),
    "posterise": ("colour", "bits", (5, 4, 3), 1, 8, 8),
    "erase": ("occlusion", "area", (0.05, 0.1, 0.2), 0, 1, 0),
    "overlay": ("occlusion", "size", (0.15, 0.3, 0.45), 0, 1, 0),
    "combination": ("combination", "level", (0.25, 0.5, 1), 0, 1, 0),
    "social-media": ("combination", "quality", (85, 70, 50), 1, 100, None),
}
WHOLE = {"jpeg", "webp", "posterise", "social-media"}
# Faces are square; the third shows that height and width are not mixed up.
SIZES = [(32, 32), (64, 64), (24, 40)]
# Every default strength and both ends of what a suite may ask for.
POINTS = [
    pytest.param(name, strength, id=f"{name}-{strength}")
    for name in REFERENCES
    for strength in dict.fromkeys((*CATALOGUE[name][2], *CATALOGUE[name][3:5]))
]


@pytest.fixture(scope="module")
def pictures():
    return {size: draw_pictures(*size, each=2) for size in SIZES}


@pytest.fixture
def run(tmp_path):
    def apply(name, images, strength, **params):
        ctx = context(tmp_path, name)
        strength = 0.0 if strength is None else strength
        return component(name, **params).apply(images, range(len(images)), strength, ctx), ctx

    return apply


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_knob_is_the_documented_one(name):
    family, knob, grid, low, high, identity = CATALOGUE[name]
    cls = catalogue().component("attacks", name)
    assert cls.family == family
    if knob is None:
        assert cls.strength is None
        return
    strength = cls.strength
    assert (strength.name, strength.grid, strength.identity) == (knob, grid, identity)
    assert (strength.low, strength.high) == (low, high)
    assert strength.whole == (name in WHOLE)
    assert strength.odd == (name == "median-blur")


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize(("name", "strength"), POINTS)
def test_agrees_with_an_independent_implementation(run, pictures, name, strength, size):
    got, ctx = run(name, pictures[size], strength)
    wanted = expected(name, pictures[size], strength, ctx)
    assert distance(got, wanted).max() <= LIMITS[name]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.75, 0.5, 0.25, 0.05])
def test_resize_is_free_in_ties_of_the_small_image_alone(run, pictures, scale, size):
    got, ctx = run("resize", pictures[size], scale)
    # No weight of the bilinear filter is negative, so these are the least and the most.
    down, up = (expected("resize", pictures[size], scale, ctx, ties=way) for way in (-1, 1))
    assert (hwc(got) >= down - ROUNDED).all()
    assert (hwc(got) <= up + ROUNDED).all()


@pytest.mark.parametrize("quality", [90, 70, 50])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_jpeg_is_pillow_at_every_subsampling(run, pictures, subsampling, quality):
    images = pictures[32, 32]
    got, ctx = run("jpeg", images, quality, subsampling=subsampling)
    wanted = expected("jpeg", images, quality, ctx, subsampling=subsampling)
    assert np.array_equal(hwc(got), wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kept", [0.9, 0.8, 0.7, 0.1])
def test_centre_crop_may_leave_a_black_frame(run, pictures, kept, size):
    got, ctx = run("centre-crop", pictures[size], kept, fill="black")
    wanted = expected("centre-crop", pictures[size], kept, ctx, fill="black")
    assert np.array_equal(hwc(got), wanted)


@pytest.mark.parametrize(
    ("name", "enhance", "factors"),
    [
        ("brightness", ImageEnhance.Brightness, (1.2, 1.5, 2)),
        ("contrast", ImageEnhance.Contrast, (1.2, 1.5, 2)),
        ("saturation", ImageEnhance.Color, (1.5, 2, 3)),
    ],
)
def test_colours_are_enhanced_as_in_pillow(run, pictures, name, enhance, factors):
    images = pictures[32, 32]
    for factor in factors:
        got, _ = run(name, images, factor)
        for image, ours in zip(hwc(images), hwc(got), strict=True):
            pillow = np.asarray(enhance(Image.fromarray(image)).enhance(factor), int)
            # Pillow cuts the fraction off where we round.
            assert np.isin(ours - pillow, (0, 1)).all()


def test_sharpening_is_the_unsharp_mask_of_scikit_image(run, pictures):
    images = pictures[64, 64]
    got, _ = run("sharpen", images, 2)
    wanted = [
        filters.unsharp_mask(x.astype(float), 1, 2, preserve_range=True, channel_axis=2)
        for x in hwc(images)
    ]
    # scikit-image repeats the edge pixel where it mirrors, so four pixels of the rim differ.
    assert distance(got, np.stack(wanted))[:, 4:-4, 4:-4].max() <= LIMITS["sharpen"]


@pytest.mark.parametrize("sigma", [0.02, 0.05, 0.1])
def test_noise_is_normal_with_the_stated_spread(run, pictures, sigma):
    grey = pictures[64, 64] * 0 + 128
    noise = (hwc(run("gaussian-noise", grey, sigma)[0]).astype(float) - 128) / 255
    assert abs(noise.mean()) < 4 * sigma / np.sqrt(noise.size) + 1e-4
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    # Eight-bit steps move the thresholds by up to a tenth of sigma.
    for times, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        assert np.mean(np.abs(noise) > times * sigma) == pytest.approx(share, rel=0.3)
    flat = noise.ravel()
    for lag in (1, 2, 3, 4, 3 * 64, 64 * 64 * 3):
        chance = np.corrcoef(flat[lag:], flat[:-lag])[0, 1]
        assert abs(chance) < 4 / np.sqrt(len(flat) - lag)


def test_salt_and_pepper_come_in_equal_parts(run, pictures):
    grey = pictures[64, 64] * 0 + 128
    got = hwc(run("salt-pepper", grey, 0.1)[0])
    assert (got == 0).all(axis=-1).mean() == pytest.approx(0.05, abs=0.005)
    assert (got == 255).all(axis=-1).mean() == pytest.approx(0.05, abs=0.005)


def test_a_stronger_attack_goes_further_the_same_way(run, pictures):
    grey = pictures[64, 64] * 0 + 128
    weak, strong = (hwc(run("salt-pepper", grey, share)[0]) for share in (0.03, 0.1))
    assert np.array_equal(strong[weak != 128], weak[weak != 128])
    weak, strong = (hwc(run("gaussian-noise", grey, s)[0]).astype(int) - 128 for s in (0.02, 0.05))
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    weak, strong = (hwc(run("relight", grey, change)[0]).astype(int) - 128 for change in (0.1, 0.4))
    assert (np.sign(weak) * np.sign(strong) >= 0).all()


def test_rotation_goes_both_ways(run, pictures):
    dot = pictures[32, 32] * 0
    dot[:, :, 15:17, 26:28] = 255
    turned = hwc(run("rotation", dot, 20)[0])[..., 0].astype(float)
    rows = (turned * np.arange(32)[:, None]).sum((1, 2)) / turned.sum((1, 2))
    # Right of the centre, counter-clockwise is up.
    assert {"up" if row < 13 else "down" if row > 18 else "?" for row in rows} == {"up", "down"}


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("jpeg", {"subsampling": "411"}),
        ("centre-crop", {"fill": "white"}),
        ("overlay", {"kind": "stamp"}),
        ("overlay", {"opacity": 1.5}),
        ("social-media", {"scale": 0.0}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        component(name, **params)
