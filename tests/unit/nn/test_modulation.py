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


def _conv(*, demodulate=True, kernel=3, equalised=False, up=False):
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(1)
        conv = ModulatedConv(5, 7, kernel=kernel, demodulate=demodulate, equalised=equalised, up=up)
        nn.init.normal_(conv.bias)
    return conv


def _by_definition(conv, x, style):
    """Sample by sample: write the weights out, demodulate them, insert zeros, filter, convolve."""
    rows = []
    for one, factors in zip(x, style, strict=True):
        weight = conv.weight * conv.scale * factors[None, :, None, None]
        if conv.demodulate:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        one = _filtered(one) if conv.up else one
        rows.append(functional.conv2d(one[None], weight, conv.bias, padding=conv.kernel // 2)[0])
    return torch.stack(rows)


def _filtered(x):
    """Zeros between pixels, then the binomial filter of gain 4, pixel by pixel as in the paper."""
    channels, height, width = x.shape
    wide = x.new_zeros(channels, 2 * height, 2 * width)
    wide[:, ::2, ::2] = x
    taps = x.new_tensor([1, 3, 3, 1]) / 4
    kernel = torch.outer(taps, taps).expand(channels, 1, 4, 4)
    return functional.conv2d(functional.pad(wide, (2, 1, 2, 1))[None], kernel, groups=channels)[0]


FORMS = [(True, 3, False), (True, 3, True), (True, 1, False), (False, 3, False), (False, 1, False)]


@pytest.mark.parametrize("equalised", [True, False])
@pytest.mark.parametrize(("demodulate", "kernel", "up"), FORMS)
def test_both_forms_equal_weights_written_out_per_sample(demodulate, kernel, up, equalised):
    conv = _conv(demodulate=demodulate, kernel=kernel, equalised=equalised, up=up)
    x = torch.randn(4, 5, 6, 6, generator=_rng())
    style = torch.randn(4, 5, generator=_rng(1)) + 1
    expected = _by_definition(conv, x, style)
    # Zero padding lies before the filter here and behind it there, two pixels from the border.
    inner = slice(2, -2) if up else slice(None)
    for found in (conv(x, style), conv.grouped(x, style)):
        assert found.shape == expected.shape
        torch.testing.assert_close(
            found[..., inner, inner], expected[..., inner, inner], atol=1e-5, rtol=1e-5
        )
    torch.testing.assert_close(conv(x, style), conv.grouped(x, style), atol=1e-5, rtol=1e-5)


def test_equalised_weights_start_at_unit_scale_and_act_at_their_true_one():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        equal = ModulatedConv(64, 64, equalised=True)
        torch.default_generator.manual_seed(3)
        true = ModulatedConv(64, 64)
    assert float(equal.weight.detach().std()) == pytest.approx(1, abs=0.02)
    assert equal.scale == pytest.approx(1 / 24)  # sqrt(64 * 9)
    torch.testing.assert_close(equal.weight * equal.scale, true.weight)
    x, style = torch.randn(2, 64, 4, 4), torch.rand(2, 64) + 0.5
    torch.testing.assert_close(equal(x, style), true(x, style), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["forward", "grouped"])
@pytest.mark.parametrize(("demodulate", "up"), [(True, False), (False, False), (True, True)])
def test_gradients_match_finite_differences(demodulate, up, form):
    conv = _conv(demodulate=demodulate, equalised=True, up=up).double()
    conv.forward = getattr(conv, form)
    x = torch.randn(2, 5, 4, 4, generator=_rng(), dtype=torch.float64, requires_grad=True)
    style = torch.randn(2, 5, generator=_rng(1), dtype=torch.float64, requires_grad=True)

    def run(x, style, weight, bias):
        return torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x, style))

    assert torch.autograd.gradcheck(run, (x, style, conv.weight, conv.bias))


@pytest.mark.parametrize("equalised", [True, False])
@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("demodulate", [True, False])
def test_constant_style_folds_into_an_ordinary_convolution(demodulate, up, equalised):
    conv = _conv(demodulate=demodulate, equalised=equalised, up=up)
    x = torch.randn(4, 5, 6, 6, generator=_rng())
    style = torch.randn(5, generator=_rng(1)) + 1
    plain = fold_constant_style(conv, style)
    assert isinstance(plain, nn.Conv2d)
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
