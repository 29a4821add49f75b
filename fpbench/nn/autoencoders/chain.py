"""Tiny autoencoders as chains of convolutions and residual blocks (TAESD, MIT), built anew here.

The encoder takes images in [0, 1] to latents; the decoder takes latents, squashed to (-3, 3), back.
Both are wrapped so that images are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fpbench.nn.autoencoders.layout import Chain, Layer, chain_of, doublings
from fpbench.nn.chains import channels_of
from fpbench.nn.channels import Axis, Channels, inputs, outputs, within

__all__ = ["ChainDecoder", "ChainEncoder", "Unit"]

_BOUND = 3.0
"""Latents beyond it mean what those near it mean."""
_GROUPS = 4  # of the normalisation in a block's branch


class Unit(nn.Module):
    """A residual block: ``relu(f(x) + x)`` with three convolutions in f.

    Where it has a pool, x is first given what a branch over single pixels, normalised over the
    whole image, adds to it.

    Args:
        width: channels.
        pool: hidden channels of that branch; 0 for none.
    """

    def __init__(self, width: int, pool: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.pool = (
            nn.Sequential(
                nn.Conv2d(width, pool, 1, bias=False),
                nn.GroupNorm(_GROUPS, pool),
                nn.ReLU(),
                nn.Conv2d(pool, width, 1, bias=False),
            )
            if pool
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        if self.pool is not None:
            x = x + self.pool(x)
        y: Tensor = torch.relu(self.conv(x) + x)
        return y

    def reads(self) -> tuple[Axis, ...]:
        """Where its weights hold something of the channels that pass it by, as it reads them."""
        branch = (inputs("pool.0"),) if self.pool is not None else ()
        return (inputs("conv.0"), *branch)

    def writes(self) -> tuple[Axis, ...]:
        """The same, as it adds to them."""
        branch = outputs("pool.3", self.pool[3]) if self.pool is not None else ()
        return (*outputs("conv.4", self.conv[4]), *branch)

    def hidden(self) -> tuple[Channels, ...]:
        """Channels that nobody else sees."""
        found = within("conv", channels_of("a block", self.conv))
        if self.pool is not None:
            found = (*within("pool", channels_of("a block", self.pool)), *found)
        return found


class _Chain(nn.Module):
    """Layers under the numbers that their tensors have in a file.

    Args:
        chain: what it is made of.
    """

    def __init__(self, chain: Chain, *, down: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {str(layer.number): _built(layer, down=down) for layer in chain}
        )

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the tensors of a file, as float32."""
        self.layers.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})


def _built(layer: Layer, *, down: bool) -> nn.Module:
    if layer.block:
        return Unit(layer.outputs, layer.pool)
    stride = 2 if down and not layer.bias else 1
    return nn.Conv2d(layer.inputs, layer.outputs, 3, stride, padding=1, bias=layer.bias)


class ChainEncoder(_Chain):
    """Images (N, 3, H, W) in [-1, 1] to latents (N, C, h, w); convolutions without a bias halve.

    Args:
        chain: what it is made of.
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain, down=True)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = images.add(1).div(2)
        for layer in self.layers.values():
            x = layer(x)
        return x


class ChainDecoder(_Chain):
    """Latents (N, C, h, w) to images (N, 3, H, W) in [-1, 1].

    Args:
        chain: what it is made of.
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain, down=False)
        self._doubled = {str(layer.number) for layer in chain} & {
            str(number + 1) for number in doublings(chain)
        }
        self._first = str(chain[0].number)

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        x = torch.tanh(latents / _BOUND) * _BOUND
        for name, layer in self.layers.items():
            if name in self._doubled:
                x = nn.functional.interpolate(x, scale_factor=2)
            x = layer(x)
            if name == self._first:
                x = torch.relu(x)
        # No clamp: whoever rounds to 8 bits clamps, and a gradient is wanted until then.
        return x.mul(2).sub(1)

    def channels(self) -> tuple[Channels, ...]:
        """Its hidden channels: those that pass by the blocks of a stage, and each block's own.

        Nothing but ReLU and sums stands between them, so that all may be scaled.
        """
        found: list[Channels] = []
        shared: list[Axis] = []
        count = 0
        for name, layer in self.layers.items():
            place = f"layers.{name}"
            if isinstance(layer, Unit):
                ends = within(place, [Channels(count, (*layer.reads(), *layer.writes()))])[0]
                shared += ends.axes
                found += within(place, layer.hidden())
                continue
            assert isinstance(layer, nn.Conv2d)
            if shared:
                found.append(Channels(count, (*shared, inputs(place)), positive=True))
            shared, count = list(outputs(place, layer)), layer.out_channels
        return tuple(found)


def chain_from(who: str, tensors: Mapping[str, Tensor]) -> Chain:
    """The layers of these tensors; see `chain_of`."""
    return chain_of(who, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
