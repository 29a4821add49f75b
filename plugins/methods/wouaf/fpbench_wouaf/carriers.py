"""How a code changes the weights of a network: one class for each modulation.

Letters: N samples, K bits, s (N, K) the code as ±1 times how loud it is, W (O, I, ...) the weight
of a convolution or a linear layer, b (O,) its bias. A carrier turns s into one setting for each
layer. The same setting acts on a batch, where each sample has its own (`around`), and is folded
into the weights of one user's copy (`fold`); both compute the same function.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fpbench.nn.equalised import EqualLinear
from fpbench.nn.modulation import Affine

__all__ = ["CARRIERS", "Carried", "Carrier", "Embedding", "LowRank", "layers_of"]

_NORMS = (nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)
_CONVS = {nn.Conv1d.forward: nn.functional.conv1d, nn.Conv2d.forward: nn.functional.conv2d}


class Embedding(nn.Module):
    """A code's embedding (N, D): linear, or two layers with a small learning rate as published.

    Args:
        bits: K.
        size: D.
        deep: as published: equalised layers at a hundredth of the rate, leaky ReLU behind each.
    """

    def __init__(self, bits: int, size: int, *, deep: bool) -> None:
        super().__init__()
        self.size = size
        if deep:
            layers = (EqualLinear(a, size, multiplier=0.01) for a in (bits, size))
            self.layers = nn.Sequential(
                *(part for layer in layers for part in (layer, nn.LeakyReLU(0.2)))
            )
            return
        linear = nn.Linear(bits, size)
        nn.init.normal_(linear.weight, std=1 / math.sqrt(bits))
        nn.init.zeros_(linear.bias)
        self.layers = nn.Sequential(linear)

    def forward(self, signs: Tensor) -> Tensor:
        """See the class."""
        embedding: Tensor = self.layers(signs)
        return embedding


class Carrier(nn.Module):
    """A modulation of some layers.

    Attributes:
        title: what a suite calls it.
        on: what it modulates: "weights", "biases" or "norms".
        default_gain: how far it takes layers from what they were at the start of a training, such
            that codes are found and images come back.
    """

    title: ClassVar[str]
    on: ClassVar[str] = "weights"
    default_gain: ClassVar[float] = 0.3

    def __init__(
        self, layers: Sequence[nn.Module], embedding: Embedding, bits: int, gain: float
    ) -> None:
        """A modulation that is not trained.

        Args:
            layers: of the network, as `layers_of` finds them.
            embedding: of codes; unused where directions belong to single bits.
            bits: K.
            gain: size of what it changes, relative to each layer.
        """
        super().__init__()
        del layers, embedding, bits, gain

    @abstractmethod
    def forward(self, signs: Tensor) -> list[Tensor]:
        """One setting for each layer, (N, ...), of s (N, K)."""

    @abstractmethod
    def around(
        self, layers: Sequence[nn.Module], settings: Sequence[Tensor]
    ) -> AbstractContextManager[None]:
        """While open, each layer computes for sample n what it would with setting n folded in."""

    @abstractmethod
    def fold(self, layers: Sequence[nn.Module], settings: Sequence[Tensor]) -> None:
        """Put the settings of one code, without the dimension N, into the layers, in place."""


class _Mapped(Carrier):
    """A modulation whose settings are affine maps of the code's embedding, 0 at the start."""

    def __init__(
        self, layers: Sequence[nn.Module], embedding: Embedding, bits: int, gain: float
    ) -> None:
        super().__init__(layers, embedding, bits, gain)
        self.embedding = embedding
        self.affines = nn.ModuleList(
            Affine(embedding.size, self._width(layer), gain=self._unit(layer) * gain, start=0.0)
            for layer in layers
        )

    def forward(self, signs: Tensor) -> list[Tensor]:
        """See `Carrier`."""
        embedding = self.embedding(signs.sign()) * signs.abs().mean(1, keepdim=True)
        return [affine(embedding) for affine in self.affines]

    def around(
        self, layers: Sequence[nn.Module], settings: Sequence[Tensor]
    ) -> AbstractContextManager[None]:
        """See `Carrier`."""
        return _hooked(
            layers,
            [partial(self._enters, setting) for setting in settings],
            [partial(self._leaves, setting) for setting in settings],
        )

    @torch.no_grad()
    def fold(self, layers: Sequence[nn.Module], settings: Sequence[Tensor]) -> None:
        """See `Carrier`."""
        for layer, setting in zip(layers, settings, strict=True):
            self._fold(layer, setting)

    @abstractmethod
    def _fold(self, layer: Any, setting: Tensor) -> None:
        """Put a setting into the weights of a layer."""

    def _enters(self, setting: Tensor, layer: Any, x: Tensor) -> Tensor:
        """What goes into a layer under settings (N, ...)."""
        del setting, layer
        return x

    def _leaves(self, setting: Tensor, layer: Any, x: Tensor, y: Tensor) -> Tensor:
        """What comes out, y, where x went in."""
        del setting, layer, x
        return y

    def _width(self, layer: Any) -> int:
        """Numbers of a layer's setting."""
        return int(layer.weight.shape[1])

    def _unit(self, layer: Any) -> float:
        """What settings are measured in."""
        del layer
        return 1.0


class Amplitude(_Mapped):
    """W[o, i] (1 + a[i]): a factor for each input channel, without demodulation.

    Kim, Min, Patel, Cheng, Yang, CVPR 2024 (WOUAF), sec. 3: what is called amplitude shift.
    """

    title = "amplitude"

    def _enters(self, setting: Tensor, layer: Any, x: Tensor) -> Tensor:
        scaled: Tensor = x * _spread_over(1 + setting, layer, x)
        return scaled

    def _fold(self, layer: Any, setting: Tensor) -> None:
        layer.weight.mul_(_along(1 + setting, layer.weight, 1))


class Demodulated(Amplitude):
    """W[o, i] (1 + a[i]) d[o]: d brings each filter back to its norm (Karras et al. 2020)."""

    title = "demodulated"

    def _leaves(self, setting: Tensor, layer: Any, x: Tensor, y: Tensor) -> Tensor:
        factor = _spread_over(_renormed(layer.weight, 1 + setting), layer, y)
        if layer.bias is None:
            return y * factor
        bias = _spread_over(layer.bias[None], layer, y)
        shifted: Tensor = (y - bias) * factor + bias
        return shifted

    def _fold(self, layer: Any, setting: Tensor) -> None:
        factor = _renormed(layer.weight, (1 + setting)[None])[0]
        super()._fold(layer, setting)
        layer.weight.mul_(_along(factor, layer.weight, 0))


class Bias(_Mapped):
    """b[o] + a[o]."""

    title = "bias"
    on = "biases"

    def _leaves(self, setting: Tensor, layer: Any, x: Tensor, y: Tensor) -> Tensor:
        shifted: Tensor = y + _spread_over(setting, layer, y)
        return shifted

    def _fold(self, layer: Any, setting: Tensor) -> None:
        layer.bias.add_(setting)

    def _width(self, layer: Any) -> int:
        return int(layer.bias.shape[0])

    def _unit(self, layer: Any) -> float:
        # What the layer makes of inputs of size 1.
        return float(layer.weight.detach().flatten(1).norm(dim=1).mean())


class Norm(_Mapped):
    """Scale and shift of a normalisation: γ (1 + a) and β + b.

    A module personalised for each user: Fei et al., arXiv:2606.12977, has bits in coefficients of
    its own there.
    """

    title = "norm"
    on = "norms"

    def _leaves(self, setting: Tensor, layer: Any, x: Tensor, y: Tensor) -> Tensor:
        scale, shift = setting.chunk(2, dim=1)
        beta = _spread_over(layer.bias[None], layer, y)
        scaled: Tensor = (y - beta) * (1 + _spread_over(scale, layer, y))
        shifted: Tensor = scaled + beta + _spread_over(shift, layer, y)
        return shifted

    def _fold(self, layer: Any, setting: Tensor) -> None:
        scale, shift = setting.chunk(2)
        layer.weight.mul_(1 + scale)
        layer.bias.add_(shift)

    def _width(self, layer: Any) -> int:
        return 2 * int(layer.weight.shape[0])


class Rotation(_Mapped):
    """W R(a): input channels turned in pairs by angles a, which keeps every filter's norm."""

    title = "rotation"

    def _enters(self, setting: Tensor, layer: Any, x: Tensor) -> Tensor:
        # W (R x): the pairs of x are turned.
        dim = x.dim() - 1 if isinstance(layer, nn.Linear) else 1
        return _turned(x, setting, dim)

    def _fold(self, layer: Any, setting: Tensor) -> None:
        # (W R)[o, i] = sum_j W[o, j] R[j, i]: the transpose acts on W's input channels.
        layer.weight.copy_(_turned(layer.weight, -setting[None], 1))

    def _width(self, layer: Any) -> int:
        return int(layer.weight.shape[1]) // 2


class LowRank(Carrier):
    """W + sum_k s[k] u[k] v[k]ᵀ, on the centre of a kernel: a rank-one direction for each bit.

    Key-dependent additive adapters are those of MOLM (arXiv:2510.00293), where a key chooses among
    them; here its bits are their signs.
    """

    title = "low-rank"
    default_gain = 0.5

    def __init__(
        self, layers: Sequence[nn.Module], embedding: Embedding, bits: int, gain: float
    ) -> None:
        super().__init__(layers, embedding, bits, gain)
        self.up = nn.ParameterList()
        self.down = nn.ParameterList()
        for layer in layers:
            weight = _weight(layer)
            # All bits together change a layer's outputs by `gain` times what they are.
            size = float(weight.flatten(1).norm(dim=1).mean())
            self.up.append(torch.randn(weight.shape[0], bits) * (gain * size / math.sqrt(bits)))
            self.down.append(nn.functional.normalize(torch.randn(bits, weight.shape[1]), dim=1))

    def forward(self, signs: Tensor) -> list[Tensor]:
        """The signs themselves, for each layer."""
        return [signs] * len(self.up)

    def around(
        self, layers: Sequence[nn.Module], settings: Sequence[Tensor]
    ) -> AbstractContextManager[None]:
        """See `Carrier`."""
        adding = [
            partial(_added, *self.directions(i), setting) for i, setting in enumerate(settings)
        ]
        return _hooked(layers, [_as_it_is] * len(adding), adding)

    @torch.no_grad()
    def fold(self, layers: Sequence[nn.Module], settings: Sequence[Tensor]) -> None:
        """See `Carrier`."""
        for index, (layer, setting) in enumerate(zip(layers, settings, strict=True)):
            _weight(layer).add_(torch.tensordot(setting, self.tensors(index, layer), 1))

    def directions(self, index: int) -> tuple[Tensor, Tensor]:
        """(O, K) and (K, I), or (K, I, k, k), of a layer."""
        return self.up[index], self.down[index]

    def keep(self, bits: Tensor) -> None:
        """Leave nothing but the directions of some bits, by number, in this order."""
        self.up = nn.ParameterList(up.detach()[:, bits] for up in self.up)
        self.down = nn.ParameterList(down.detach()[bits] for down in self.down)

    @torch.no_grad()
    def tensors(self, index: int, layer: nn.Module) -> Tensor:
        """(K, O, I, ...): what each bit adds to the weight of a layer."""
        up, down = self.directions(index)
        updates = up.T.view(*up.T.shape, *[1] * (down.dim() - 1)) * down[:, None]
        weight = _weight(layer)
        if updates.dim() == weight.dim() + 1:
            return updates
        full = weight.new_zeros(len(updates), *weight.shape)
        centre: Any = (..., *(size // 2 for size in weight.shape[2:]))
        full[centre] = updates
        return full


class Separable(LowRank):
    """W + sum_k s[k] u[k] v[k] t[k]: rank one over outputs, inputs and the kernel's taps. Own.

    A direction that also has a shape in the image plane, or in time: with nearly as few weights, a
    bit can be an edge or a ripple and not only a tint.
    """

    title = "separable"

    def __init__(
        self, layers: Sequence[nn.Module], embedding: Embedding, bits: int, gain: float
    ) -> None:
        super().__init__(layers, embedding, bits, gain)
        shapes = [tuple(_weight(layer).shape[2:]) for layer in layers]
        self.taps = nn.ParameterList(
            nn.functional.normalize(torch.randn(bits, math.prod(shape)), dim=1).view(
                bits, 1, *shape
            )
            for shape in shapes
        )

    def keep(self, bits: Tensor) -> None:
        """See `LowRank`."""
        super().keep(bits)
        self.taps = nn.ParameterList(taps.detach()[bits] for taps in self.taps)

    def directions(self, index: int) -> tuple[Tensor, Tensor]:
        """See `LowRank`."""
        up, down, taps = self.up[index], self.down[index], self.taps[index]
        return up, down.view(*down.shape, *[1] * (taps.dim() - 2)) * taps


class Filter(LowRank):
    """W + sum_k s[k] u[k] F[k]: rank one over outputs, with a whole filter F for each bit. Own.

    What `Separable` has, with a shape of its own for each input; it costs the same in a batch.
    """

    title = "filter"

    def __init__(
        self, layers: Sequence[nn.Module], embedding: Embedding, bits: int, gain: float
    ) -> None:
        super().__init__(layers, embedding, bits, gain)
        shapes = [_weight(layer).shape[1:] for layer in layers]
        self.down = nn.ParameterList(
            nn.functional.normalize(torch.randn(bits, shape.numel()), dim=1).view(bits, *shape)
            for shape in shapes
        )


@dataclass(frozen=True)
class Carried:
    """A network with the layers that carry codes, and their carrier.

    Attributes:
        network: the output step.
        carrier: of codes.
        layers: of the network, in the carrier's order.
    """

    network: nn.Module
    carrier: Carrier
    layers: Sequence[nn.Module]

    def __call__(self, entry: Any, signs: Tensor) -> Tensor:
        """Images of what enters the step, sample n with code n: s (N, K)."""
        with self.carrier.around(self.layers, self.carrier(signs)):
            images: Tensor = self.network(entry)
        return images


CARRIERS: dict[str, type[Carrier]] = {
    carrier.title: carrier
    for carrier in (Amplitude, Demodulated, LowRank, Separable, Filter, Bias, Norm, Rotation)
}


def layers_of(
    network: nn.Module, on: str, *, attention: bool, chosen: Any = None
) -> dict[str, nn.Module]:
    """The layers that a carrier modulates, by name, in order of registration.

    Args:
        network: any.
        on: see `Carrier.on`.
        attention: linear layers beside convolutions.
        chosen: compiled pattern that a layer's name must contain; None = all.
    """

    def fits(module: nn.Module) -> bool:
        if on == "norms":
            return isinstance(module, _NORMS) and module.weight is not None
        # A subclass with a forward of its own need not compute weight times input plus bias.
        conv = type(module).forward in _CONVS and getattr(module, "groups", 0) == 1
        linear = attention and type(module).forward is nn.Linear.forward
        return (conv or linear) and (on == "weights" or module.bias is not None)

    return {
        name: module
        for name, module in network.named_modules()
        if fits(module) and (chosen is None or chosen.search(name))
    }


def _spread_over(values: Tensor, layer: nn.Module, x: Tensor) -> Tensor:
    """(N, C) beside (N, C, ...), or beside (N, ..., C) of a linear layer."""
    values = values.to(x.dtype)
    if isinstance(layer, nn.Linear):
        return values.view(len(values), *[1] * (x.dim() - 2), -1)
    return values.view(*values.shape, *[1] * (x.dim() - 2))


def _along(values: Tensor, weight: Tensor, dim: int) -> Tensor:
    shape = [1] * weight.dim()
    shape[dim] = -1
    return values.view(shape)


def _renormed(weight: Tensor, factors: Tensor) -> Tensor:
    """(N, O): what brings the filters of a weight times factors (N, I) back to their norms."""
    squares = weight.square().flatten(2).sum(2) if weight.dim() > 2 else weight.square()
    return (squares.sum(1) / (factors.square() @ squares.T).clamp_min(1e-12)).sqrt()


def _turned(x: Tensor, angles: Tensor, dim: int) -> Tensor:
    """Pairs of neighbours along `dim` turned by angles (N, C // 2); N may be 1."""
    pairs = 2 * angles.shape[1]
    shape = [len(angles), *[1] * (x.dim() - 1)]
    shape[dim] = angles.shape[1]
    cos, sin = angles.cos().to(x.dtype).view(shape), angles.sin().to(x.dtype).view(shape)
    paired = x.narrow(dim, 0, pairs)
    even, odd = (
        paired.index_select(dim, torch.arange(i, pairs, 2, device=x.device)) for i in (0, 1)
    )
    turned = torch.stack([cos * even - sin * odd, sin * even + cos * odd], dim + 1)
    turned = turned.flatten(dim, dim + 1)
    rest = x.shape[dim] - pairs
    return torch.cat([turned, x.narrow(dim, pairs, rest)], dim) if rest else turned


def _weight(layer: Any) -> Tensor:
    weight: Tensor = layer.weight.detach()
    return weight


@contextmanager
def _hooked(
    layers: Sequence[nn.Module], enters: Sequence[Any], leaves: Sequence[Any]
) -> Iterator[None]:
    """While open, what goes into each layer and comes out of it passes through a function."""

    def before(enter: Any, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return enter(layer, args[0]), *args[1:]

    def after(leave: Any, layer: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        result: Tensor = leave(layer, args[0], y)
        return result

    handles: list[Any] = []
    try:
        for layer, enter, leave in zip(layers, enters, leaves, strict=True):
            handles.append(layer.register_forward_pre_hook(partial(before, enter)))
            handles.append(layer.register_forward_hook(partial(after, leave)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _as_it_is(layer: nn.Module, x: Tensor) -> Tensor:
    del layer
    return x


def _added(up: Tensor, down: Tensor, signs: Tensor, layer: Any, x: Tensor, y: Tensor) -> Tensor:
    """A layer's outputs with what its low-rank update makes of its inputs."""
    if isinstance(layer, nn.Linear):
        seen = nn.functional.linear(x, down.flatten(1))
        return y + nn.functional.linear(seen * _spread_over(signs, layer, seen), up)
    convolve = _CONVS[type(layer).forward]
    point = [1] * (x.dim() - 2)
    if down.dim() == 2:
        # The centre of the kernel sees the place itself.
        for dim, (k, p) in enumerate(zip(layer.kernel_size, layer.padding, strict=True), start=2):
            x = x.narrow(dim, k // 2 - p, x.shape[dim] - 2 * (k // 2 - p))
        seen = convolve(x, down.view(*down.shape, *point), stride=layer.stride)
    else:
        seen = convolve(x, down, stride=layer.stride, padding=layer.padding)
    return y + convolve(seen * _spread_over(signs, layer, seen), up.view(*up.shape, *point))
