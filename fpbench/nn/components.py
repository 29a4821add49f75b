"""Principal components with normal weights: what stands before a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Components", "fit_components"]


class Components(nn.Module):
    """Normal weights (N, Z) to maps (N, *shape): mean + weights @ basis.

    Mean and basis are how a host draws, no weights of a network: attacks that change weights pass
    them by, while files of copies hold them. That is what torch calls extra state.

    Args:
        mean: (D,) of the data's maps, D numbers each.
        basis: (Z, D), each row a component times the spread of its weights.
        shape: of a map.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, mean: Tensor, basis: Tensor, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer("mean", mean, persistent=False)
        # A product's last digit depends on the order in memory, which files do not keep.
        self.register_buffer("basis", basis.contiguous(), persistent=False)

    def forward(self, weights: Tensor) -> Tensor:
        """See the class."""
        return torch.addmm(self.mean, weights, self.basis).view(-1, *self.shape)

    def weights_of(self, latents: Tensor) -> Tensor:
        """(N, Z) weights whose maps are nearest to these (N, *shape)."""
        scale = self.basis.square().sum(1).clamp_min(1e-12)  # of what never varies
        return (latents.flatten(1) - self.mean) @ self.basis.T / scale

    def get_extra_state(self) -> Tensor:
        """(1 + Z, *shape) mean and basis."""
        return torch.cat([self.mean[None], self.basis]).view(-1, *self.shape)

    def set_extra_state(self, state: Tensor) -> None:
        """What `get_extra_state` gave."""
        self.shape = tuple(state.shape[1:])
        flat = state.flatten(1).to(self.mean)
        self.mean, self.basis = flat[0], flat[1:].contiguous()


@torch.no_grad()
def fit_components(latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and principal components of maps, each component times its standard deviation.

    The sign of each is such that its largest entry is positive, so that one set of maps gives
    one basis.

    Args:
        latents: (N, ...), D numbers each.
        count: how many, Z; at most N - 1 and D.

    Returns:
        (D,) and (Z, D) float32.
    """
    rows = latents.flatten(1).double()
    mean = rows.mean(0)
    centred = rows - mean
    # The smaller of the two products has the same values.
    if len(rows) < rows.shape[1]:
        values, vectors = torch.linalg.eigh(centred @ centred.T / len(rows))
        values, vectors = values[-count:].flip(0), vectors[:, -count:].flip(1)
        basis = (centred.T @ vectors).T / len(rows) ** 0.5
    else:
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
        values, vectors = values[-count:].flip(0), vectors[:, -count:].flip(1)
        basis = (vectors * values.clamp_min(0).sqrt()).T
    peaks = basis.gather(1, basis.abs().argmax(1, keepdim=True))
    return mean.float(), (basis * peaks.sign()).float()
