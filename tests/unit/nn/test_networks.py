import copy

import pytest
import torch

from fpbench.nn.discriminator import Discriminator, minibatch_deviation
from fpbench.nn.ema import Average, warmed_decay
from fpbench.nn.losses import code_loss, gradient_penalty, l1g
from fpbench.nn.modulation import modulated_convs
from fpbench.nn.reader import Reader
from fpbench.nn.schedule import adam, set_rates, warm_cosine
from fpbench.nn.state import part, prefixed
from fpbench.nn.synthesis import SkipSynthesis


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        yield


@pytest.mark.parametrize("size", [16, 32, 64])
def test_synthesis_makes_images_of_the_size_asked_for(size):
    synthesis = SkipSynthesis(image_size=size, channels=8, style_dim=6)
    assert synthesis(torch.randn(2, 8, 4, 4), torch.randn(2, 6)).shape == (2, 3, size, size)


@pytest.mark.parametrize("size", [8, 48])
def test_synthesis_refuses_other_sizes(size):
    with pytest.raises(ValueError, match="power of two from 16"):
        SkipSynthesis(image_size=size, channels=8, style_dim=6)


def test_folded_synthesis_has_no_styles_left_and_draws_the_same():
    synthesis = SkipSynthesis(image_size=32, channels=8, style_dim=6)
    x, w = torch.randn(3, 8, 4, 4), torch.randn(6)
    plain = synthesis.folded(w)
    assert not modulated_convs(plain)
    assert not [name for name, _ in plain.named_parameters() if "affine" in name]
    torch.testing.assert_close(plain(x), synthesis(x, w.expand(3, -1)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [32, 64])
def test_an_image_reads_the_same_alone_and_in_a_batch(size):
    reader = Reader(image_size=size, outputs=5, channels=8).train()
    images = torch.randn(32, 3, size, size)
    alone = torch.cat([reader(image[None]) for image in images])
    torch.testing.assert_close(alone, reader(images), atol=1e-5, rtol=1e-5)
    assert not list(reader.buffers())


@pytest.mark.parametrize("size", [16, 32, 64])
def test_discriminator_gives_one_logit_per_image(size):
    assert Discriminator(image_size=size, channels=12)(torch.randn(8, 3, size, size)).shape == (8,)


def test_minibatch_deviation_is_zero_for_equal_images_and_not_otherwise():
    equal = torch.randn(1, 3, 4, 4).expand(8, -1, -1, -1)
    assert minibatch_deviation(equal, 4).max() < 1e-3
    assert minibatch_deviation(torch.randn(8, 3, 4, 4), 4).min() > 0.1


def test_l1g_of_a_constant_shift_is_the_shift():
    images = torch.randn(2, 3, 8, 8)
    assert l1g(images + 0.25, images).item() == pytest.approx(0.25, abs=1e-6)
    assert l1g(images, images).item() == 0


def test_code_loss_at_zero_logits_is_ln_2():
    codes = torch.rand(4, 9, generator=_rng()) < 0.5
    assert code_loss(torch.zeros(4, 9), codes).item() == pytest.approx(0.693147, abs=1e-5)


def test_gradient_penalty_of_a_linear_map_is_half_its_squared_norm():
    weight = torch.randn(3, 4, 4)

    class Linear(torch.nn.Module):
        def forward(self, x):
            return (x * weight).sum((1, 2, 3))

    expected = weight.square().sum().item() / 2
    assert gradient_penalty(Linear(), torch.randn(5, 3, 4, 4)).item() == pytest.approx(expected)


def test_average_moves_towards_its_source_by_the_decay():
    module = torch.nn.Linear(2, 2)
    average = Average(module)
    start = copy.deepcopy(module.weight.detach())
    with torch.no_grad():
        module.weight.add_(1)
    average.update(0.75)
    torch.testing.assert_close(average.module.weight, start + 0.25)
    assert not average.module.weight.requires_grad


def test_warmed_decay_rises_to_its_value():
    assert warmed_decay(0.99, 0) == pytest.approx(0.1)
    assert warmed_decay(0.99, 10_000) == 0.99


def test_schedule_warms_up_and_ends_at_its_low():
    assert warm_cosine(0, 1000, low=0.1, warmup=10) == pytest.approx(0.1, abs=1e-3)
    assert warm_cosine(999, 1000, low=0.1) == pytest.approx(0.1, abs=1e-3)


def test_rates_keep_the_proportion_of_their_groups():
    first, second = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    optimiser = adam([(first.parameters(), 1e-2), (second.parameters(), 1e-3)], betas=(0.9, 0.99))
    set_rates(optimiser, 0.5)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([5e-3, 5e-4])


def test_state_takes_modules_apart_again():
    first, second = torch.nn.Linear(2, 1), torch.nn.Linear(3, 1)
    state = prefixed({"a": first, "ab": second})
    torch.nn.Linear(2, 1).load_state_dict(part(state, "a"))
    torch.nn.Linear(3, 1).load_state_dict(part(state, "ab"))
