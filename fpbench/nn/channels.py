"""Hidden channels: in which orders and at which scales a network computes the same function.

The channels between two layers may change places, and where nothing but a positively homogeneous
activation (ReLU, leaky ReLU) stands between the layers, each may be multiplied by a positive factor
that the next layer takes out again. Neither changes an image, and both change every tensor.

A block says what it knows of itself as `Ends`, a network as `Channels` by a method `channels()`;
`fpbench.nn.chains` finds them in a generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from fpbench.api import ContractError
from fpbench.nn.weights import Place

__all__ = [
    "Axis",
    "Channels",
    "Ends",
    "checked",
    "inputs",
    "outputs",
    "rearranged",
    "slices",
    "stacked",
    "within",
]


@dataclass(frozen=True)
class Axis:
    """Where a tensor holds something of each channel.

    Attributes:
        tensor: its name.
        dim: the dimension along which the channels lie.
        power: what a channel's factor f does to its entries: they are multiplied by f ** power. 0:
            they only move. None: no factor can be moved through here.
        first: place of the first channel's entries along the dimension.
        width: entries of each channel, one behind the other.
    """

    tensor: str
    dim: int
    power: int | None = None
    first: int = 0
    width: int = 1


@dataclass(frozen=True)
class Channels:
    """Hidden channels that may change places together, or be scaled, without any effect.

    Attributes:
        count: how many, C.
        axes: everything that belongs to them.
        positive: whether what stands between the layers lets positive factors through.
        negative: whether it lets a change of sign through.
        moves: whether they may change places; else they are only scaled.
        blocks: they are normalised in so many blocks of neighbours; these change places as a whole,
            and channels within them.
    """

    count: int
    axes: tuple[Axis, ...]
    positive: bool = False
    negative: bool = False
    moves: bool = True
    blocks: int = 1

    @property
    def scales(self) -> bool:
        """Whether they may be multiplied by positive factors."""
        return self.positive and self._open

    @property
    def flips(self) -> bool:
        """Whether they may change sign."""
        return self.negative and self._open

    @property
    def _open(self) -> bool:
        return all(axis.power is not None for axis in self.axes)


@dataclass(frozen=True)
class Ends:
    """What a block has of the channels that it shares with others, and its own.

    Attributes:
        reads: of the channels that enter it.
        writes: of the channels that it makes.
        styles: of the embedding that drives it.
        own: channels that it shares with nobody.
        count: channels that it makes.
    """

    reads: tuple[Axis, ...] = ()
    writes: tuple[Axis, ...] = ()
    styles: tuple[Axis, ...] = ()
    own: tuple[Channels, ...] = ()
    count: int = 0

    def at(self, name: str) -> Ends:
        """The same of a block that is called so within another."""
        return Ends(
            _at(self.reads, name),
            _at(self.writes, name),
            _at(self.styles, name),
            within(name, self.own),
            self.count,
        )


def inputs(name: str, *, power: int | None = -1, first: int = 0, width: int = 1) -> Axis:
    """The axis of a weight (O, I, ...) that reads channels."""
    return Axis(f"{name}.weight", 1, power, first, width)


def outputs(
    name: str, layer: nn.Module, *, power: int | None = 1, width: int = 1
) -> tuple[Axis, ...]:
    """The axes of a layer's weight (O, I, ...), and of its bias if any, that make channels."""
    names = ["weight"] + ["bias"] * (getattr(layer, "bias", None) is not None)
    return tuple(Axis(f"{name}.{part}", 0, power, width=width) for part in names)


def stacked(layers: Sequence[tuple[Ends, Sequence[Ends]]]) -> Ends:
    """Layers one behind the other, with a leaky ReLU behind each.

    Args:
        layers: each layer, and what reads its channels beside the next one.
    """
    own: list[Channels] = []
    styles: list[Axis] = []
    for index, (layer, beside) in enumerate(layers):
        behind = [*beside, *(following for following, _ in layers[index + 1 : index + 2])]
        shared = (*layer.writes, *(axis for reader in behind for axis in reader.reads))
        own += [*layer.own, Channels(layer.count, shared, positive=True)]
        for part in beside:
            own += part.own
        styles += [axis for part in (layer, *beside) for axis in part.styles]
    return Ends(layers[0][0].reads, (), tuple(styles), tuple(own))


def within(name: str, groups: Sequence[Channels]) -> tuple[Channels, ...]:
    """The same groups of a module that is called so within another."""
    return tuple(replace(group, axes=_at(group.axes, name)) for group in groups)


def checked(who: str, groups: Sequence[Channels], values: Mapping[str, Tensor]) -> None:
    """Refuse groups that do not fit the tensors of their module.

    Raises:
        ContractError: a tensor is not there, or too short.
    """
    for group in groups:
        for axis in group.axes:
            shape = tuple(values[axis.tensor].shape) if axis.tensor in values else ()
            needed = axis.first + group.count * axis.width
            if len(shape) <= axis.dim or shape[axis.dim] < needed:
                raise ContractError(
                    f"{who}: expected channels() to name weights of its own, got {axis.tensor!r} "
                    f"with {needed} entries along dimension {axis.dim}, whose shape is "
                    f"{shape or 'not known'}; correct its channels()"
                )


def rearranged(
    values: Mapping[Place, Tensor], step: str, group: Channels, order: Tensor, factors: Tensor
) -> dict[Place, Tensor]:
    """The tensors of a generator with some channels in another order, at other scales.

    Args:
        values: all that the group names.
        step: whose channels they are.
        group: the channels.
        order: (C,) channel j of the result is channel order[j] of what is given ...
        factors: (C,) ... times factors[j]; all 1 where the group does not scale.

    Returns:
        What changes.
    """
    changed: dict[Place, Tensor] = {}
    for axis in group.axes:
        where = step, axis.tensor
        if where not in changed:
            changed[where] = values[where].clone()
        place = slices(changed[where], group, axis)
        part = place[order]
        if axis.power:
            shape = -1, *[1] * (part.dim() - 1)
            part = part * factors.to(part).view(shape) ** axis.power
        place.copy_(part)
    return changed


def slices(tensor: Tensor, group: Channels, axis: Axis) -> Tensor:
    """(C, width, ...) what a tensor holds of each channel; in its own memory."""
    part = tensor.narrow(axis.dim, axis.first, group.count * axis.width).movedim(axis.dim, 0)
    return part.view(group.count, axis.width, *part.shape[1:])


def _at(axes: Sequence[Axis], name: str) -> tuple[Axis, ...]:
    return tuple(replace(axis, tensor=f"{name}.{axis.tensor}") for axis in axes)
