import numpy as np
import pytest
import torch
from distortion_references import REFERENCES, component, context, hwc, pictures
from fpbench_distortion.plugin import Combination

from fpbench.builtin.chain.attack import Chain
from fpbench.registry import load

# What Yu et al. do one after the other: attack, strength at level 0, strength at level 1.
PARTS = [
    ("crop-resize", 1, 0.8),
    ("rotation", 0, 20),
    ("gaussian-blur", 0, 1.5),
    ("brightness", 1, 1.5),
    ("gaussian-noise", 0, 0.1),
    ("erase", 0, 0.2),
    ("jpeg", 100, 50),
]


@pytest.fixture(scope="module")
def images():
    return pictures(32, 32, each=8)


def parts_of(index, level, ctx):
    """(attack, strength) of the parts that image `index` goes through."""
    done = ctx.image_rng(index).random(len(PARTS)) < 0.5
    for (name, none, full), chosen in zip(PARTS, done, strict=True):
        strength = none + level * (full - none)
        if chosen:
            yield name, round(strength) if name == "jpeg" else strength


def by_the_attacks(images, level, ctx):
    """Image by image, each part by the attack of that name with draws of its own."""
    changed = []
    for index, image in enumerate(images):
        one = image[None].contiguous(memory_format=torch.channels_last)
        for name, strength in parts_of(index, level, ctx):
            one = component(name).apply(one, [index], strength, ctx.branch(name))
        changed.append(one)
    return torch.cat(changed)


def by_the_references(images, level, ctx):
    """The same without the plugin."""
    changed = []
    for index, image in enumerate(hwc(images)):
        for name, strength in parts_of(index, level, ctx):
            levels = REFERENCES[name](image, strength, ctx.branch(name).image_rng(index))
            image = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
        changed.append(image)
    return np.stack(changed)


@pytest.mark.parametrize("level", [0.1, 0.25, 0.5, 1])
def test_combination_is_its_parts_in_order(images, tmp_path, level):
    ctx = context(tmp_path, "combination")
    got = component("combination").apply(images, range(len(images)), level, ctx)
    assert torch.equal(got, by_the_attacks(images, level, ctx))
    # A level that one part rounds otherwise grows in those after it; where JPEG quantises a
    # coefficient the other way a block moves by several. The mean stays small.
    difference = np.abs(hwc(got).astype(float) - by_the_references(images, level, ctx))
    assert difference.mean() < 0.25


def test_combination_takes_each_part_for_half_of_the_images(tmp_path):
    ctx = context(tmp_path, "combination")
    black = torch.zeros(256, 3, 16, 16, dtype=torch.uint8).contiguous(
        memory_format=torch.channels_last
    )
    got = component("combination").apply(black, range(256), 1, ctx)
    # On black, nothing but the noise can be seen.
    noisy = (got > 0).flatten(1).any(1).float().mean().item()
    assert noisy == pytest.approx(0.5, abs=0.125)


@pytest.mark.parametrize("quality", [85, 70, 50, 1, 100])
def test_social_media_is_resize_jpeg_sharpen(images, tmp_path, quality):
    ctx = context(tmp_path, "social-media")
    got = component("social-media").apply(images, range(len(images)), quality, ctx)
    wanted = images
    for name, strength in (("resize", 0.7), ("jpeg", quality), ("sharpen", 0.5)):
        wanted = component(name).apply(wanted, range(len(images)), strength, ctx)
    assert torch.equal(got, wanted)


def test_social_media_may_resize_and_sharpen_otherwise(images, tmp_path):
    ctx = context(tmp_path, "social-media")
    attack = component("social-media", scale=0.5, amount=2.0)
    got = attack.apply(images, range(len(images)), 85, ctx)
    wanted = images
    for name, strength in (("resize", 0.5), ("jpeg", 85), ("sharpen", 2)):
        wanted = component(name).apply(wanted, range(len(images)), strength, ctx)
    assert torch.equal(got, wanted)


def test_the_trained_combination_is_the_five_perturbations_of_its_training_at_their_most(
    images, tmp_path
):
    """Against each part by its own name: what immunised training draws, at its far end."""
    ctx = context(tmp_path, "combination")
    attack = Combination(Combination.Params(parts="five"))
    got = attack.apply(images, range(len(images)), 1, ctx)
    most = [
        ("crop-resize", 0.5),
        ("gaussian-noise", 0.2),
        ("gaussian-blur", 1.0),
        ("jpeg", 30),
        ("relight", 0.5),
    ]
    for index, image in enumerate(images):
        one = image[None].contiguous(memory_format=torch.channels_last)
        done = ctx.image_rng(index).random(len(most)) < 0.5
        for (name, strength), chosen in zip(most, done, strict=True):
            if chosen:
                one = component(name).apply(one, [index], strength, ctx.branch(name))
        assert torch.equal(got[index : index + 1], one)


def test_what_moves_pixels_says_so_and_a_chain_of_it_too():
    moving = {"crop-resize", "centre-crop", "rotation", "flip", "perspective", "combination"}
    catalogue = load()
    found = {n for n in REFERENCES.keys() | moving if catalogue.get("attacks", n).geometric}
    assert found == moving
    for parts, geometric in ((["jpeg", "flip"], True), (["jpeg"], False)):
        chain = Chain(Chain.Params(parts=({},)), [(component(name), None) for name in parts])
        assert chain.geometric == geometric
