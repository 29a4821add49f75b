"""Carriers: a code that acts on a batch is the code that is folded into weights."""

import copy

import numpy as np
import pytest
import torch
from fpbench_wouaf.carriers import CARRIERS, Embedding, layers_of
from torch import nn

BITS, COUNT = 6, 5
CODES = (
    torch.tensor(np.random.default_rng(3).integers(0, 2, (COUNT, BITS)), dtype=torch.float32) * 2
    - 1
)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.value = nn.Linear(width, width), nn.Linear(width, width, bias=False)

    def forward(self, x):
        flat = x.flatten(2).transpose(1, 2)
        weights = (self.query(flat) @ flat.transpose(1, 2)).softmax(-1)
        return x + (weights @ self.value(flat)).transpose(1, 2).view_as(x)


def network():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(4, 9, 3, padding=1),
            nn.GroupNorm(3, 9),
            nn.SiLU(),
            Attention(9),
            nn.Conv2d(9, 8, 3, padding=1, stride=2, bias=False),
            nn.ReLU(),
            nn.Conv2d(8, 8, 5, padding=1),
            nn.Conv2d(8, 3, 1),
        )
        nn.init.normal_(made[1].weight)
        return made.eval()


def made(title, own, *, deep=False):
    kind = CARRIERS[title]
    layers = list(layers_of(own, kind.on, attention=True).values())
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        return kind(layers, Embedding(BITS, 16, deep=deep), BITS, 0.4), layers


X = torch.from_numpy(np.random.default_rng(1).normal(size=(COUNT, 4, 12, 12))).float()


@pytest.mark.parametrize("title", CARRIERS)
@pytest.mark.parametrize("deep", [False, True])
def test_a_folded_copy_computes_what_its_code_does_within_a_batch(title, deep):
    own = network()
    carrier, layers = made(title, own, deep=deep)
    with torch.no_grad():
        settings = carrier(CODES)
        with carrier.around(layers, settings):
            together = own(X)
        assert (together - own(X)).abs().max() > 1e-2  # the hooks are gone, and did something
        for row in range(COUNT):
            one = network()
            one_layers = list(layers_of(one, carrier.on, attention=True).values())
            names = {name: tensor.shape for name, tensor in one.state_dict().items()}
            carrier.fold(one_layers, [setting[row] for setting in settings])
            assert {name: tensor.shape for name, tensor in one.state_dict().items()} == names
            assert torch.allclose(one(X[row : row + 1]), together[row : row + 1], atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3


@pytest.mark.parametrize("title", CARRIERS)
def test_a_code_of_no_loudness_is_the_host(title):
    own = network()
    carrier, layers = made(title, own)
    with torch.no_grad(), carrier.around(layers, carrier(0 * CODES)):
        assert torch.allclose(own(X), network()(X), atol=1e-5)


@pytest.mark.parametrize("title", CARRIERS)
def test_a_gradient_reaches_every_part_of_a_carrier(title):
    own = network()
    carrier, layers = made(title, own)
    with carrier.around(layers, carrier(CODES)):
        own(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in carrier.parameters())


def test_amplitude_is_a_factor_of_each_input_channel():
    layer = nn.Conv2d(4, 3, 3)
    carrier = CARRIERS["amplitude"]([layer], Embedding(BITS, 16, deep=False), BITS, 0.3)
    changed = copy.deepcopy(layer)
    carrier.fold([changed], [torch.tensor([0.0, 1.0, -0.5, 0.2])])
    factors = torch.tensor([1.0, 2.0, 0.5, 1.2])
    assert torch.allclose(changed.weight, layer.weight * factors[None, :, None, None])
    assert torch.equal(changed.bias, layer.bias)


@pytest.mark.parametrize("title", ["demodulated", "rotation"])
def test_norms_of_filters_stay(title):
    own, folded = network(), network()
    carrier, _ = made(title, own)
    layers = list(layers_of(folded, "weights", attention=True).values())
    with torch.no_grad():
        carrier.fold(layers, [setting[0] for setting in carrier(CODES)])
    for before, after in zip(
        layers_of(own, "weights", attention=True).values(), layers, strict=True
    ):
        assert not torch.allclose(before.weight, after.weight, atol=1e-3)
        norms = (layer.weight.flatten(1).norm(dim=1) for layer in (before, after))
        assert torch.allclose(*norms, atol=1e-5)


@pytest.mark.parametrize(("title", "ranks"), [("low-rank", BITS), ("separable", BITS)])
def test_an_added_update_has_a_direction_for_each_bit(title, ranks):
    own, folded = network(), network()
    carrier, layers = made(title, own)
    changed = list(layers_of(folded, "weights", attention=True).values())
    with torch.no_grad():
        carrier.fold(changed, carrier(CODES)[0].new_ones(len(changed), BITS).unbind())
        for index, (before, after) in enumerate(zip(layers, changed, strict=True)):
            update = after.weight - before.weight
            parts = carrier.tensors(index, before)
            assert torch.allclose(update, parts.sum(0), atol=1e-6)
            assert all(torch.linalg.matrix_rank(p.flatten(1)) == 1 for p in parts)
            if title == "low-rank" and update.dim() == 4:
                off = update.clone()
                off[:, :, update.shape[2] // 2, update.shape[3] // 2] = 0
                assert off.abs().max() == 0


def test_layers_are_found_by_what_they_compute():
    class Odd(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    own = nn.Sequential(
        nn.Conv2d(4, 4, 3),
        Odd(4, 4, 3),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Linear(4, 4),
        nn.GroupNorm(2, 4),
    )
    assert list(layers_of(own, "weights", attention=False)) == ["0"]
    assert list(layers_of(own, "weights", attention=True)) == ["0", "3"]
    assert list(layers_of(own, "norms", attention=True)) == ["4"]
