import pytest
import torch
from torch import nn
from torch.nn import functional

from fpbench.nn.modulation import (
    Affine,
    ModulatedConv,
    fold_constant_style,
    fold_scale,
    modulated_convs,
    scaled_styles,
)


def _rng(seed=0):
    return torch.Generator().manual_seed(seed)


def _conv(*, demodulate=True, kernel=3):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        conv = ModulatedConv(5, 7, kernel=kernel, demodulate=demodulate)
        nn.init.normal_(conv.bias)
    return conv


def _grouped(conv, x, style):
    """The reference: weights of each sample written out, demodulated, one group per sample."""
    n, c, height, width = x.shape
    weights = conv.weight[None] * style[:, None, :, None, None]
    if conv.demodulate:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    y = functional.conv2d(
        x.reshape(1, n * c, height, width),
        weights.reshape(-1, c, conv.kernel, conv.kernel),
        padding=conv.kernel // 2,
        groups=n,
    )
    return y.reshape(n, -1, height, width) + conv.bias[None, :, None, None]


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_scale_form_equals_explicit_weights_per_sample(demodulate, kernel):
    conv = _conv(demodulate=demodulate, kernel=kernel)
    x = torch.randn(4, 5, 6, 6, generator=_rng())
    style = torch.randn(4, 5, generator=_rng(1)) + 1
    torch.testing.assert_close(conv(x, style), _grouped(conv, x, style), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("demodulate", [True, False])
def test_gradients_match_finite_differences(demodulate):
    conv = _conv(demodulate=demodulate).double()
    x = torch.randn(2, 5, 4, 4, generator=_rng(), dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 5, generator=_rng(1), dtype=torch.float64, requires_grad=True)

    def run(x, style, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x, style))

    assert torch.autograd.gradcheck(run, (x, style, conv.weight, conv.bias))


@pytest.mark.parametrize("demodulate", [True, False])
def test_constant_style_folds_into_an_ordinary_convolution(demodulate):
    conv = _conv(demodulate=demodulate)
    x = torch.randn(4, 5, 6, 6, generator=_rng())
    style = torch.randn(5, generator=_rng(1)) + 1
    plain = fold_constant_style(conv, style)
    assert type(plain) is nn.Conv2d
    torch.testing.assert_close(plain(x), conv(x, style.expand(4, -1)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("demodulate", [True, False])
def test_folded_scale_equals_scaled_style(demodulate):
    conv = _conv(demodulate=demodulate)
    x = torch.randn(4, 5, 6, 6, generator=_rng())
    style = torch.randn(4, 5, generator=_rng(1)) + 1
    scale = torch.rand(5, generator=_rng(2)) + 0.5
    expected = conv(x, style * scale)
    with torch.no_grad():
        conv.weight.copy_(fold_scale(conv.weight, scale))
    torch.testing.assert_close(conv(x, style), expected, atol=1e-5, rtol=1e-5)


def test_scaled_styles_acts_only_while_open_and_passes_gradients():
    conv = _conv()
    x = torch.randn(2, 5, 4, 4, generator=_rng())
    style = torch.ones(2, 5)
    scale = torch.full((2, 5), 2.0)
    scale[:, 0] = 3.0
    scale.requires_grad_(True)
    with scaled_styles([conv], [scale]):
        inside = conv(x, style)
    torch.testing.assert_close(inside, conv(x, scale))
    inside.square().sum().backward()
    assert scale.grad is not None
    assert scale.grad.abs().sum() > 0
    assert not torch.allclose(conv(x, style), inside)


def test_scaled_styles_wants_one_scale_per_layer():
    with pytest.raises(ValueError, match="zip"), scaled_styles([_conv()], []):
        pass


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd kernel"):
        ModulatedConv(2, 2, kernel=2)


def test_modulated_convs_are_found_by_name_in_order():
    network = nn.ModuleDict({"b": _conv(), "a": nn.Sequential(_conv(), nn.ReLU())})
    assert list(modulated_convs(network)) == ["b", "a.0"]


def test_affine_starts_near_its_bias():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        styles = Affine(64, 500, gain=0.3)(torch.randn(100, 64))
    assert styles.mean().item() == pytest.approx(1, abs=0.02)
    assert styles.std().item() == pytest.approx(0.3, abs=0.03)
