import copy as copying

import pytest
import torch
from fpbench_coalition.plugin import Collude
from fpbench_model_change.plugin import WeightNoise
from fpbench_pipeline.plugin import Bypass
from torch import nn

from fpbench.api.post import PostStep
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.weights import exchanged, parameters
from fpbench.stages.effect import effect_of
from fpbench.testing.networks import BlockEmbedder, LinearImages

NOISE = WeightNoise(WeightNoise.Params())
CODE = torch.ones(4, dtype=torch.bool)


@pytest.fixture
def plain():
    return ChainGenerator({"generator": LinearImages(16)}, 8, torch.device("cpu"))


@pytest.fixture
def marked(plain):
    post = PostStep(BlockEmbedder(4, torch.tensor([0.25])), CODE)
    return plain.replace("post", post, after="generator")


def changed(generator, step):
    values = {place: v + 1 for place, v in parameters(generator).items() if place[0] == step}
    return exchanged(generator, values)


def test_a_copy_of_the_same_numbers_is_unchanged(plain, marked):
    for generator in (plain, marked):
        twin = generator
        for name, step in generator.steps.items():
            twin = twin.replace(name, copying.deepcopy(step))
        assert effect_of(NOISE, generator, twin) == {"no_effect": True, "unchanged": True}


def test_the_step_that_marks_decides_whether_there_is_an_effect(plain, marked):
    assert effect_of(NOISE, plain, changed(plain, "generator"))["no_effect"] is False
    only_host = effect_of(NOISE, marked, changed(marked, "generator"))
    assert only_host == {"no_effect": True, "unchanged": False}
    reached = effect_of(NOISE, marked, changed(marked, "post"))
    assert reached == {"no_effect": False, "unchanged": False}


def test_a_mark_that_is_dropped_or_covered_is_reached(marked):
    dropped, covered = (
        marked.replace("post", None),
        marked.replace("over", nn.Identity(), after="post"),
    )
    for attacked in (dropped, covered):
        assert effect_of(NOISE, marked, attacked) == {"no_effect": False, "unchanged": False}


def test_other_latents_are_an_effect(plain):
    class Truncated(ChainGenerator):
        def prior(self, seeds, conditions=()):
            return super().prior(seeds, conditions) / 2

    attacked = Truncated(plain.steps, 8, torch.device("cpu"))
    assert effect_of(NOISE, plain, attacked) == {"no_effect": False, "unchanged": False}


def test_attacks_without_a_knob_and_coalitions_are_exempt(plain):
    for attack in (Bypass(Bypass.Params()), Collude(Collude.Params())):
        assert effect_of(attack, plain, plain) == {}
