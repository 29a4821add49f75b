"""The two forms of every image attack, OpenCV's for the CPU and torch's for a GPU, agree."""

import sys

import numpy as np
import pytest
import torch
from fpbench_distortion import arrays, tensors
from fpbench_distortion.operators import operators

from fpbench.api import SampleAttack
from fpbench.builtin.toy_faces.faces import draw
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store

# Both round correctly, so they part at ties alone, where float32 decides. Hue makes most of them:
# a shift of a twentieth turns levels that are five apart by one and a half. The small image of
# `resize` may be a level off where it is a pixel or two wide, and so is all that is made of it.
SHARE = {"hue": 0.02, "resize": 0.02}
OTHERS_SHARE = 0.002
# JPEG's quantiser makes several levels of one, so of these only the mean is held small.
COMPOSITES = {"combination", "social-media"}
COMPOSITES_MEAN = 0.25
# Written once, for every device: in torch, or as a codec that works on the CPU alone.
FORMLESS = {"flip", "jpeg", "posterise", "webp"}


def points():
    """Every attack of the package at its default strengths and the ends of the legal range."""
    catalogue = load()
    for name in catalogue.names("attacks"):
        cls = catalogue.component("attacks", name)
        if issubclass(cls, SampleAttack) and cls.__module__.startswith("fpbench_distortion"):
            knob = cls.strength
            grid = (0.0,) if knob is None else dict.fromkeys((*knob.grid, knob.low, knob.high))
            for strength in grid:
                yield pytest.param(cls(cls.Params()), strength, id=f"{name}-{strength:g}")


@pytest.fixture(scope="module")
def batches():
    """Sets of faces and of noise, one of them not square."""
    rng = np.random.default_rng(0)
    faces = draw(np.arange(6), 32)
    noise = rng.integers(0, 256, faces.shape, dtype=np.uint8)
    both = torch.from_numpy(np.concatenate([faces, noise])).permute(0, 3, 1, 2)
    return both, both[:, :, 4:24].contiguous(memory_format=torch.channels_last)


@pytest.fixture
def by(monkeypatch, tmp_path):
    """Applies an attack with one of the two forms, whatever the device."""

    def apply(form, attack, batch, strength):
        ctx = StageContext(torch.device("cpu"), (0, "attack", attack.name), Store(tmp_path))
        with monkeypatch.context() as patch:
            asked = []
            for name, module in list(sys.modules.items()):
                if name.startswith("fpbench_distortion.") and (
                    getattr(module, "operators", None) is operators
                ):
                    patch.setattr(module, "operators", lambda x: asked.append(x) or form)
            changed = attack.apply(batch, range(len(batch)), strength, ctx)
        return changed, bool(asked)

    return apply


@pytest.mark.parametrize(("attack", "strength"), list(points()))
def test_opencv_and_torch_give_the_same_images(by, batches, attack, strength):
    asked = False
    for batch in batches:
        (ours, a), (theirs, b) = (by(form, attack, batch, strength) for form in (arrays, tensors))
        assert a == b
        asked = asked or a
        assert theirs.dtype == torch.uint8
        assert theirs.is_contiguous(memory_format=torch.channels_last)
        apart = (ours.int() - theirs.int()).abs()
        if attack.name in COMPOSITES:
            assert apart.float().mean() <= COMPOSITES_MEAN
        else:
            assert apart.max() <= 1
            assert apart.float().mean() <= SHARE.get(attack.name, OTHERS_SHARE)
    knob = attack.strength
    # Else the forms were not exchanged and nothing was compared.
    assert asked or attack.name in FORMLESS or strength == knob.identity
