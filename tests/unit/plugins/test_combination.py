"""What readers are immunised with as "combination" is what the attack of that name does."""

import numpy as np
import pytest
import torch
from distortion_references import component, context, hwc
from fpbench_scalable_gan.immunising import perturbed

from fpbench.nn import distortions
from fpbench.nn.combination import COMBINATION
from fpbench.nn.draws import Draws
from fpbench.nn.images import to_float, to_uint8

COUNT, SIDE = 64, 64
MIDDLE = (slice(None), slice(24, 40), slice(24, 40))


def flat(level):
    return np.full((SIDE, SIDE), level)


def texture():
    return np.random.default_rng(0).integers(40, 150, (SIDE, SIDE))


def ramp():
    return 2 * np.indices((SIDE, SIDE))[1] + 64


def slopes(images):
    """(N, 2): levels per pixel downwards and to the right in the middle of the image."""
    return np.stack([np.diff(images[MIDDLE], axis=axis).mean((1, 2)) for axis in (1, 2)], 1)


# A picture, and a number that grows with what the part does to it.
MEASURES = {
    "crop-resize": (ramp, lambda x: 2 / slopes(x)[:, 1]),
    "rotation": (ramp, lambda x: np.degrees(np.abs(np.arctan2(*slopes(x).T)))),
    "gaussian-blur": (texture, lambda x: 1 / x.std((1, 2))),
    "brightness": (lambda: flat(60), lambda x: x.mean((1, 2))),
    "gaussian-noise": (lambda: flat(128), lambda x: x.std((1, 2))),
    "erase": (lambda: flat(255), lambda x: (x < 128).mean((1, 2))),
    "jpeg": (texture, lambda x: np.abs(x - texture()).mean((1, 2))),
}


def batch(picture):
    levels = torch.from_numpy(picture()).to(torch.uint8)
    return levels.expand(COUNT, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def trained(images, level):
    draws = Draws(torch.Generator().manual_seed(5), COUNT)
    seen = distortions.combination(to_float(images), torch.full((COUNT,), float(level)), draws)
    return to_uint8(seen)


@pytest.mark.parametrize("level", [0.5, 1])
@pytest.mark.parametrize("name", COMBINATION)
def test_each_part_is_as_strong_as_the_attacks(name, level, tmp_path, monkeypatch):
    none, full = COMBINATION[name]
    picture, measure = MEASURES[name]
    images = batch(picture)
    strength = none + level * (full - none)
    strength = round(strength) if name == "jpeg" else strength
    ctx = context(tmp_path, name)
    attacked = component(name).apply(images, range(COUNT), strength, ctx)
    monkeypatch.setattr(distortions, "COMBINATION", {name: (none, full)})
    seen = trained(images, level)
    hit = (seen != images).flatten(1).any(1)
    assert 0.3 < hit.float().mean() < 0.7
    met, wanted, before = (
        measure(hwc(x)[..., 1].astype(float)).mean() for x in (seen[hit], attacked, images)
    )
    assert abs(wanted - before) > 0.01 * abs(before)
    assert met == pytest.approx(wanted, rel=0.05)


def test_immunised_training_meets_every_level(monkeypatch):
    levels = []
    monkeypatch.setattr(
        "fpbench_scalable_gan.immunising.combination",
        lambda images, level, draws: levels.append(level) or images,
    )
    perturbed(torch.zeros(1000, 3, 2, 2), "combination", Draws(torch.Generator(), 1000))
    (level,) = levels
    assert 0 <= level.min() < 0.02
    assert 0.98 < level.max() <= 1


def test_at_level_0_nothing_happens_but_a_jpeg_of_quality_100():
    images = batch(texture)
    assert (trained(images, 0).int() - images.int()).abs().float().mean() < 1
