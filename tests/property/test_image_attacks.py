"""What every image attack has to keep, whatever it does; a new one is covered by being registered.

Each runs with its defaults and with every other choice its parameters offer.
"""

from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fpbench.api import Attack, SampleAttack, Surface
from fpbench.builtin.toy_faces.faces import draw
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store


def chain(catalogue):
    """The one attack that is nothing without parameters."""
    used = [("crop-resize", 0.8), ("gaussian-noise", 0.05), ("jpeg", 70)]
    classes = [catalogue.component("attacks", name) for name, _ in used]
    cls = catalogue.component("attacks", "chain")
    params = cls.Params(parts=tuple({"use": name} for name, _ in used))
    return cls(params, [(c(c.Params()), s) for c, (_, s) in zip(classes, used, strict=True)])


QUICK = {"steps": 2, "pgd_steps": 4, "marked": 16, "codes": 4}
"""What those that learn are given here: they need to be no good at it."""


def learns(cls, field):
    return cls.fit is not Attack.fit and field in cls.Params.model_fields


def attacks():
    """Every registered image attack, once for each choice."""
    catalogue = load()
    for name in catalogue.names("attacks"):
        cls = catalogue.component("attacks", name)
        if not issubclass(cls, SampleAttack) or "image" not in (cls.modalities or {"image"}):
            continue
        if name == "chain":
            yield pytest.param(chain(catalogue), id=name)
            continue
        quick = {key: value for key, value in QUICK.items() if learns(cls, key)}
        if name == "regenerate":
            quick["steps"] = 60  # after two steps every pass gives the same grey
        yield pytest.param(cls(cls.Params(**quick)), id=name)
        for field, info in cls.Params.model_fields.items():
            choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
            for choice in choices:
                if choice != info.default:
                    other = cls(cls.Params(**quick, **{field: choice}))
                    yield pytest.param(other, id=f"{name}-{field}-{choice}")


ATTACKS = list(attacks())
every_attack = pytest.mark.parametrize("attack", ATTACKS)
graded = pytest.mark.parametrize("attack", [p for p in ATTACKS if p.values[0].strength])


class Watched(StageContext):
    """Keeps the generators it hands out, those of its branches too."""

    def __init__(self, store, root=(0, "attack"), fitted=None):
        super().__init__(torch.device("cpu"), root, store, fitted=fitted)
        self.handed = {}

    def image_rng(self, index):
        rng = super().image_rng(index)
        self.handed.setdefault((*self._root, index), []).append(rng)
        return rng

    def image_uniforms(self, indices, count):
        for index in indices:
            self.image_rng(index).random(count)  # what it stands for
        return super().image_uniforms(indices, count)

    def branch(self, purpose, *indices):
        part = Watched(self._store, (*self._root, purpose, *indices), self.fitted)
        part.handed = self.handed
        return part

    def rng(self, purpose, *indices):
        raise AssertionError("the draws of an image attack belong to an image")

    def next_draws(self):
        """What each generator would give next: equal where equally much was drawn."""
        return {key: [rng.random() for rng in rngs] for key, rngs in self.handed.items()}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def learnt(store):
    """What an attack has learnt of images of a side; nothing of most."""
    known = {}

    def of(attack, side):
        if type(attack).fit is Attack.fit:
            return {}
        if (id(attack), side) not in known:
            clean = torch.from_numpy(draw(np.arange(100, 116), side)).permute(0, 3, 1, 2)
            surface = Surface(
                attack.access,
                attack.name,
                _clean_images=clean,
                _marked_images=lambda count: (clean[:count] // 2) + 64,
                _embed=lambda images, code: images // 2 + 64 * int(code[0]),
                _bits=4,
            )
            ctx = StageContext(torch.device("cpu"), (0, "fit"), store)
            known[id(attack), side] = attack.fit(surface, ctx)
        return known[id(attack), side]

    return of


@pytest.fixture
def ctx(store, attack, learnt):
    return Watched(store, fitted=learnt(attack, 32))


@pytest.fixture(scope="module")
def faces():
    return torch.from_numpy(draw(np.arange(64), 32)).permute(0, 3, 1, 2)


def grid(attack):
    """Its default strengths; what the harness passes where there is none."""
    return attack.strength.grid if attack.strength else (0.0,)


def middle(attack):
    return grid(attack)[len(grid(attack)) // 2]


def packed(images):
    return images.contiguous(memory_format=torch.channels_last)


@every_attack
def test_shape_type_and_layout_stay_and_the_input_is_not_touched(attack, faces, ctx):
    images = packed(faces[:16])
    before = images.clone()
    for strength in grid(attack):
        changed = attack.apply(images, range(16), strength, ctx)
        assert changed.dtype == torch.uint8
        assert changed.shape == images.shape
        assert changed.device == images.device
        assert changed.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(images, before)
        assert not torch.equal(changed, before)


@pytest.mark.parametrize(
    "attack",
    [p for p in ATTACKS if (knob := p.values[0].strength) and knob.identity is not None],
)
def test_identity_strength_changes_nothing(attack, faces, ctx):
    before = faces.clone()
    changed = attack.apply(faces, range(64), attack.strength.identity, ctx)
    assert torch.equal(changed, before)
    assert changed.is_contiguous(memory_format=torch.channels_last)


@graded
def test_stronger_never_means_less_damage(attack, faces, ctx):
    start = [] if attack.strength.identity is None else [attack.strength.identity]
    errors = [
        (attack.apply(faces, range(64), s, ctx).float() - faces.float()).square().mean().item()
        for s in (*start, *attack.strength.grid)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0 or start


@every_attack
def test_an_image_is_attacked_alike_in_every_batch(attack, faces, ctx):
    strength, count = middle(attack), 24
    images = packed(faces[:count])
    whole = attack.apply(images, range(count), strength, ctx)
    order = torch.from_numpy(np.random.default_rng(0).permutation(count))
    shuffled = attack.apply(packed(images[order]), order.tolist(), strength, ctx)
    assert torch.equal(shuffled, whole[order])
    neighbours = images.flip(2)
    for i in (0, 7, 23):
        alone = attack.apply(packed(images[i : i + 1]), [i], strength, ctx)
        assert torch.equal(alone[0], whole[i])
        mixed = torch.cat([neighbours[:3], images[i : i + 1], neighbours[3:6]])
        among = attack.apply(packed(mixed), [101, 102, 103, i, 104, 105, 106], strength, ctx)
        assert torch.equal(among[3], whole[i])


@every_attack
def test_equal_images_with_equal_indices_stay_equal(attack, faces, ctx):
    twice = packed(torch.cat([faces[:1], faces[:1]]))
    first, second = attack.apply(twice, [5, 5], middle(attack), ctx)
    assert torch.equal(first, second)


@every_attack
def test_memory_layout_of_the_input_does_not_matter(attack, faces, store, learnt):
    ctx = Watched(store, fitted=learnt(attack, 24))
    images = packed(faces[:12, :, 4:28, 4:28])
    strength = middle(attack)
    wanted = attack.apply(images, range(12), strength, ctx)
    wide = torch.zeros(24, 3, 32, 40, dtype=torch.uint8)
    wide[::2, :, 4:28, 8:32] = images
    others = {
        "planes": images.contiguous(),
        "part of planes": wide[::2, :, 4:28, 8:32],
        "part of packed": packed(wide)[::2, :, 4:28, 8:32],
        "turned": images.flip(3).transpose(2, 3).contiguous().transpose(2, 3).flip(3),
    }
    for layout, given_images in others.items():
        assert torch.equal(given_images, images)
        before = given_images.clone()
        changed = attack.apply(given_images, list(range(12)), strength, ctx)
        assert torch.equal(changed, wanted), layout
        assert changed.is_contiguous(memory_format=torch.channels_last), layout
        assert torch.equal(given_images, before), layout


@every_attack
def test_images_that_share_memory_are_attacked_one_by_one(attack, faces, ctx):
    repeated = faces[:1].expand(4, 3, 32, 32)
    copies = packed(repeated.clone())
    changed = attack.apply(repeated, range(4), middle(attack), ctx)
    assert torch.equal(changed, attack.apply(copies, range(4), middle(attack), ctx))
    assert torch.equal(repeated, copies)


@graded
def test_both_ends_of_the_legal_range_run(attack, faces, ctx):
    images = packed(faces[:4])
    for strength in (attack.strength.low, attack.strength.high):
        assert attack.strength.allows(strength)
        changed = attack.apply(images, range(4), strength, ctx)
        assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
        again = attack.apply(images, range(4), strength, ctx)
        assert torch.equal(changed, again)


@every_attack
def test_draws_depend_on_the_index_and_on_nothing_else_drawn(attack, faces, ctx):
    same = packed(faces[:1].expand(12, 3, 32, 32).clone())
    changed = attack.apply(same, range(100, 112), grid(attack)[-1], ctx)
    kinds = {image.numpy().tobytes() for image in changed}
    assert {key[-1] for key in ctx.handed} <= set(range(100, 112))
    # Half of the images may be turned one way and half the other, so two kinds are enough.
    assert len(kinds) >= 2 if ctx.handed else len(kinds) == 1


@graded
def test_strengths_share_their_draws(attack, faces, store, learnt):
    images, drawn = packed(faces[:8]), []
    for strength in attack.strength.grid:
        ctx = Watched(store, fitted=learnt(attack, 32))
        attack.apply(images, range(8), strength, ctx)
        drawn.append(ctx.next_draws())
    assert all(draws == drawn[0] for draws in drawn)


@every_attack
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_legal_strength_and_size_run(attack, store, learnt, data):
    side = data.draw(st.integers(8, 40))
    strength = 0.0
    if (knob := attack.strength) is not None:
        numbers = (
            st.integers(int(knob.low), int(knob.high))
            if knob.whole or knob.odd
            else st.floats(knob.low, knob.high)
        )
        strength = float(data.draw(numbers.filter(knob.allows)))
    images = torch.from_numpy(draw(np.arange(3), side)).permute(0, 3, 1, 2)
    before, ctx = images.clone(), Watched(store, fitted=learnt(attack, side))
    changed = attack.apply(images, [2, 0, 9], strength, ctx)
    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)
    alone = attack.apply(packed(images[2:]), [9], strength, ctx)
    assert torch.equal(alone[0], changed[2])
