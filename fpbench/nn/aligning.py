"""Laying one copy over another whose hidden channels stand elsewhere, or at other scales.

Copies may hold the same function in different weights, so that their mean is no copy at all. Every
order and scale that draws the same images is open to whoever compares them, too: here each group of
channels is matched with the other copy's by linear assignment, as in Ainsworth, Hayase, Srinivasa
(ICLR 2023), and brought to its scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fpbench.api import Generator
from fpbench.nn.chains import hidden_channels
from fpbench.nn.channels import Axis, Channels, rearranged, slices
from fpbench.nn.weights import Place, exchanged, reachable

__all__ = ["aligned"]

_SWEEPS = 5
"""Most passes over all groups behind the first one."""
_GONE = 1e-30

Group = tuple[str, Channels]
Values = Mapping[Place, Tensor]


def aligned(who: str, copy: Generator, reference: Generator) -> Generator:
    """The copy with its hidden channels in the reference's order and at its scales.

    It draws the same images as before.

    Args:
        who: asks, for messages.
        copy: any whose channels are known.
        reference: of the same shapes.

    Raises:
        ContractError: it is not known where the copy's hidden channels are.
    """
    groups = hidden_channels(who, copy)
    theirs = {place: value.double() for place, value in reachable(reference).items()}
    mine = {place: value.double() for place, value in reachable(copy).items()}
    before = dict(mine)
    left = list(groups)
    while left:
        # What is next to the latents is known first, and then what reads it.
        group = next((one for one in left if _seen(one, left)), left[0])
        order, factors = _fitted(group, _seen(group, left), mine, theirs)
        mine |= rearranged(mine, *group, order, factors)
        left.remove(group)
    for _ in range(_SWEEPS):
        moved = False
        for group in groups:
            order, factors = _fitted(group, group[1].axes, mine, theirs)
            mine |= rearranged(mine, *group, order, factors)
            moved |= not torch.equal(order, torch.arange(len(order)))
        if not moved:
            break
    return exchanged(copy, {p: value for p, value in mine.items() if value is not before[p]})


def _seen(group: Group, left: Sequence[Group]) -> list[Axis]:
    """The axes of a group along which nothing of its channels' entries is still to be moved."""
    step, channels = group
    others = [other for where, other in left if where == step and other is not channels]
    found = []
    for axis in channels.axes:
        beside = [a for other in others for a in other.axes if a.tensor == axis.tensor]
        # Others along the same dimension only scale what is to be matched as a whole.
        if all(a.dim == axis.dim and channels.moves for a in beside):
            found.append(axis)
    return found


def _fitted(
    group: Group, axes: Sequence[Axis], mine: Values, theirs: Values
) -> tuple[Tensor, Tensor]:
    """The order (C,) and the factors (C,) that bring my channels nearest to theirs."""
    step, channels = group
    like = {False: torch.zeros(channels.count, channels.count, dtype=torch.float64)}
    like[True] = like[False].clone()  # of the entries whose sign a channel's sign changes
    sizes = []
    for axis in axes:
        my, their = (
            slices(v[step, axis.tensor], channels, axis).flatten(1) for v in (mine, theirs)
        )
        if my.shape[1] == 1:
            continue  # a single number has no direction
        my_size, their_size = (part.norm(dim=1).clamp_min(_GONE) for part in (my, their))
        cosines = (their / their_size[:, None]) @ (my / my_size[:, None]).T
        like[bool(axis.power)] += cosines.cpu()
        if axis.power:
            sizes.append((axis.power, my_size.cpu(), their_size.cpu()))
    signed = like[True].abs() if channels.flips else like[True]
    order = torch.arange(channels.count)
    if channels.moves:
        order = _matched(like[False] + signed, channels.blocks)
    factors = torch.ones(channels.count, dtype=torch.float64)
    if channels.scales and sizes:
        ratios = torch.stack([power * _ratio(my[order], their) for power, my, their in sizes])
        factors = (ratios.sum(0) / sum(power**2 for power, *_ in sizes)).exp()
    if channels.flips:
        factors = factors * torch.where(like[True][torch.arange(len(order)), order] < 0, -1, 1)
    return order, factors


def _ratio(mine: Tensor, theirs: Tensor) -> Tensor:
    """log(theirs / mine) of sizes (C,); 0 where one of them is gone."""
    return torch.where(torch.minimum(mine, theirs) > _GONE, (theirs / mine).log(), 0)


def _matched(like: Tensor, blocks: int) -> Tensor:
    """The order (C,) of my channels that is most like theirs.

    Args:
        like: (C, C) likeness of their channels, in rows, with mine.
        blocks: into which the channels are cut; each goes to one of theirs as a whole.
    """
    size = len(like) // blocks
    tiles = like.view(blocks, size, blocks, size).transpose(1, 2).numpy()
    inside = [[linear_sum_assignment(t, maximize=True)[1] for t in row] for row in tiles]
    rows = torch.arange(size).numpy()
    worth = [
        [tile[rows, order].sum() for tile, order in zip(*both, strict=True)]
        for both in zip(tiles, inside, strict=True)
    ]
    taken = linear_sum_assignment(worth, maximize=True)[1]
    parts = [torch.from_numpy(inside[i][j] + j * size) for i, j in enumerate(taken)]
    return torch.cat(parts)
