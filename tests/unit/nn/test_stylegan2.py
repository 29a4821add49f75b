import math

import pytest
import torch

from fpbench.nn.equalised import EqualConv, EqualLinear
from fpbench.nn.modulation import modulated_convs
from fpbench.nn.stylegan2 import (
    Mapping,
    ResidualTrunk,
    StyleSynthesis,
    path_lengths,
    stage_widths,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def synthesis(size, most=16, strength=0.3):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        widths = stage_widths(size, base=256, most=most)
        network = StyleSynthesis(image_size=size, widths=widths, style_dim=6).eval()
    for layer in network.convs:
        layer.strength.data.fill_(strength)
    return network


def test_widths_are_the_papers():
    assert stage_widths(256) == [512, 512, 512, 512, 256, 128, 64]
    assert stage_widths(128) == [512, 512, 512, 512, 256, 128]


@pytest.mark.parametrize("size", [8, 48, 100])
def test_other_sizes_are_refused(size):
    with pytest.raises(ValueError, match="power of two from 16"):
        stage_widths(size)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_folded_equals_unfolded_at_every_resolution(size):
    network = synthesis(size)
    entry = torch.randn(3, 16, 4, 4, generator=rng())
    w = torch.randn(6, generator=rng(1))
    with torch.no_grad():
        expected = network(entry, w.expand(3, -1))
        plain = network.folded(w)
        assert (plain(entry) - expected).abs().max() < 1e-4
        for conv in network.convs:  # and by the grouped form
            conv.conv.forward = conv.conv.grouped
        assert (plain(entry) - network(entry, w.expand(3, -1))).abs().max() < 1e-4
    assert expected.abs().mean() > 0.05
    assert not modulated_convs(plain)
    assert not [key for key in plain.state_dict() if "affine" in key or "strength" in key]


def test_every_layer_has_an_embedding_of_its_own():
    network = synthesis(32)
    assert network.layers == 2 * int(math.log2(32)) - 2
    entry, w = torch.randn(2, 16, 4, 4), torch.randn(2, 6)
    same = w[:, None].expand(-1, network.layers, -1)
    with torch.no_grad():
        torch.testing.assert_close(network(entry, same), network(entry, w))
        for layer in range(network.layers):
            changed = same.clone()
            changed[:, layer] += 1
            assert (network(entry, changed) - network(entry, w)).abs().max() > 1e-3


def test_noise_is_drawn_in_training_and_constant_in_evaluation():
    network, entry, w = synthesis(16), torch.randn(2, 16, 4, 4), torch.randn(2, 6)
    with torch.no_grad():
        assert torch.equal(network(entry, w), network(entry, w))
        alone = network(entry[:1], w[:1])
        torch.testing.assert_close(alone, network(entry, w)[:1], atol=1e-5, rtol=1e-4)
        network.train()
        assert not torch.equal(network(entry, w), network(entry, w))


def test_mapping_normalises_only_where_asked():
    x = torch.randn(4, 5, generator=rng())
    fixed, free = (Mapping(5, 8, layers=2, normalise=asked) for asked in (True, False))
    torch.testing.assert_close(fixed(x), fixed(3 * x))
    assert not torch.allclose(free(x), free(3 * x))


def test_equalised_learning_rate_scales_as_stated():
    linear, conv = EqualLinear(400, 300, multiplier=0.01), EqualConv(64, 32, 3)
    assert float(linear.weight.detach().std()) == pytest.approx(100, rel=0.02)
    assert linear.scale == pytest.approx(0.01 / 20)
    assert float(conv.weight.detach().std()) == pytest.approx(1, rel=0.05)
    assert conv.scale == pytest.approx(1 / 24)
    x = torch.ones(1, 400)
    with torch.no_grad():
        # What reaches the output has unit variance, whatever the multiplier.
        assert float(linear(torch.randn(2000, 400)).std()) == pytest.approx(1, rel=0.1)
        # A step of a weight moves the output as much as the multiplier says.
        before = linear(x)
        linear.weight += 1
        assert float((linear(x) - before).mean()) == pytest.approx(400 * 0.01 / 20, rel=1e-3)


def trunk(group):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(2)
        widths = stage_widths(32, base=256, most=16)
        return ResidualTrunk(image_size=32, widths=widths, outputs=5, group=group)


def test_a_reader_sees_one_image_alone_and_a_discriminator_sees_the_batch():
    images = torch.rand(4, 3, 32, 32, generator=rng()) * 2 - 1
    reader, judge = trunk(0), trunk(4)
    for mode in (True, False):
        reader.train(mode)
        torch.testing.assert_close(reader(images[:1]), reader(images)[:1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(judge(images[:1]), judge(images)[:1], atol=1e-3)
    assert not [m for m in reader.modules() if "Norm" in type(m).__name__]


def test_path_lengths_are_those_of_the_embedding_by_finite_differences():
    network = synthesis(16).double()
    entry = torch.randn(2, 16, 4, 4, generator=rng(), dtype=torch.float64)
    w = torch.randn(2, network.layers, 6, generator=rng(1), dtype=torch.float64).requires_grad_()
    draws = torch.randn(2, 3, 16, 16, generator=rng(2), dtype=torch.float64)
    found = path_lengths(network(entry, w), w, draws)
    assert found.requires_grad
    with torch.no_grad():
        slopes = torch.zeros(2, network.layers, 6, dtype=torch.float64)
        for layer in range(network.layers):
            for part in range(6):
                step = torch.zeros_like(w)
                step[:, layer, part] = 1e-6
                moved = network(entry, w + step) - network(entry, w - step)
                slopes[:, layer, part] = (moved * draws).sum((1, 2, 3)) / 2e-6 / 16
    expected = slopes.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-6)
