import pytest
import torch
from torch import nn

from fpbench.api import ContractError
from fpbench.api.post import PostStep
from fpbench.nn.generator import ChainGenerator, Tail
from fpbench.testing.networks import BlockEmbedder, LinearImages

CODE = torch.tensor([True, False, True, True])


@pytest.fixture
def copy():
    steps = {
        "generator": LinearImages(16),
        "post": PostStep(BlockEmbedder(4, torch.tensor([0.25])), CODE),
    }
    return ChainGenerator(steps, 8, torch.device("cpu"))


def levels(images):
    return ((images + 1) * 127.5).round().clamp(0, 255)


def test_images_are_those_of_8_bit_images_marked_and_rounded_again(copy):
    latents = copy.prior([1, 2, 3])
    with torch.no_grad():
        files = levels(copy.steps["generator"](latents)) * (2 / 255) - 1
        embedder = BlockEmbedder(4, torch.tensor([0.25]))
        expected = levels(embedder(files, CODE.expand(3, -1)))
    assert torch.equal(copy.sample(latents).float(), expected)
    assert copy.sample(latents).dtype == torch.uint8
    marked = copy.steps["post"](copy.replace("post", None).sample(latents))
    assert torch.equal(levels(marked), expected)


def test_a_chain_is_run_in_parts(copy):
    latents = copy.prior([1, 2])
    images = copy.run(latents, until="post")
    assert torch.equal(images, copy.steps["generator"](latents))
    assert torch.equal(copy.run(images, first="post"), copy.run(latents))
    assert torch.equal(copy.run(latents, until="generator"), latents)
    for wrong in ({"first": "prior"}, {"until": "prior"}):
        with pytest.raises(KeyError, match="no step called 'prior'"):
            copy.run(latents, **wrong)


def test_gradients_pass_the_roundings_straight_through(copy):
    latents = copy.prior([1])
    copy.run(latents).square().sum().backward()
    for step in copy.steps.values():
        assert all(bool(p.grad.abs().sum() > 0) for p in step.parameters())


def test_the_output_is_the_step_before_the_mark_and_what_is_sealed_is_known(copy):
    assert copy.output == "generator"
    assert copy.opaque == frozenset()
    copy.steps["post"].embedder.opaque = True
    assert copy.opaque == {"post"}
    behind = copy.replace("vocoder", nn.Identity(), after="generator")
    assert behind.output == "vocoder"


def test_what_is_trained_of_a_copy_starts_at_its_output_and_changes_nothing_of_it(copy):
    front = copy.replace("generator", nn.Identity())
    front = front.replace("images", LinearImages(16), after="generator")
    before = {k: v.clone() for k, v in front.steps["images"].state_dict().items()}
    tail = Tail(front).requires_grad_(True)
    assert {type(step) for step in tail.learning} == {LinearImages, PostStep}
    tail(front.prior([1])).square().sum().backward()
    with torch.no_grad():
        for parameter in tail.parameters():
            parameter -= parameter.grad
    tuned = tail.within(front)
    assert list(tuned.steps) == list(front.steps)
    assert tuned.steps["generator"] is front.steps["generator"]
    assert not any(p.requires_grad for p in tuned.steps["images"].parameters())
    assert not torch.equal(tuned.steps["images"].map.weight, before["map.weight"])
    assert all(torch.equal(v, before[k]) for k, v in front.steps["images"].state_dict().items())


def test_steps_that_end_gradients_without_a_word_are_named(copy):
    class Cut(nn.Module):
        def forward(self, images):
            return images.detach()

    tail = Tail(copy.replace("post", Cut()))
    with pytest.raises(ContractError, match="expected gradients through the steps"):
        tail(copy.prior([1]))
    sealed = Cut()
    sealed.opaque = True
    with pytest.raises(ContractError, match="got an opaque one"):
        Tail(copy.replace("post", None).replace("generator", sealed))
