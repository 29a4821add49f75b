"""Random numbers that belong to an image's place in the whole batch, however the batch is cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["Draws", "dealt"]


class Draws:
    """Random numbers for some images of a batch: those that they would get in the whole batch.

    What is drawn is drawn for the whole batch, and the numbers of the images in hand are kept: a
    batch in pieces, or over several devices, meets what it meets as a whole.

    Args:
        rng: fresh, so that every piece begins with the same numbers; they live on its device.
        count: images of the whole batch.
        places: of the images in hand, a slice or indices; all if left out.
    """

    def __init__(
        self, rng: torch.Generator, count: int, places: slice | Tensor = slice(None)
    ) -> None:
        self._rng = rng
        self._places = places if isinstance(places, slice) else places.to(rng.device)
        self.count = count

    def uniform(self, low: float = 0.0, high: float = 1.0, shape: Sequence[int] = ()) -> Tensor:
        """Numbers in [low, high), ``(n, *shape)`` for n images in hand."""
        whole = torch.rand(self.count, *shape, generator=self._rng, device=self._rng.device)
        return whole[self._places] * (high - low) + low

    def normal(self, shape: Sequence[int] = ()) -> Tensor:
        """Standard normal numbers, ``(n, *shape)`` for n images in hand."""
        whole = torch.randn(self.count, *shape, generator=self._rng, device=self._rng.device)
        return whole[self._places]

    def shares(self, sizes: Sequence[int]) -> list[tuple[slice, Draws]]:
        """Cut the whole batch into runs.

        Args:
            sizes: images of each run, as many as the whole batch together.

        Returns:
            For each run which of the images in hand are in it, and draws of its own for these.

        Raises:
            TypeError: the images in hand are no slice of the batch.
        """
        if not isinstance(self._places, slice):
            raise TypeError(
                "Draws.shares: expected a slice of the batch, got indices; deal out pieces as "
                "TrainingRun.pieces gives them"
            )
        first, end, _ = self._places.indices(self.count)
        seeds = torch.randint(2**62, (len(sizes),), generator=self._rng).tolist()
        found, start = [], 0
        for size, seed in zip(sizes, seeds, strict=True):
            low, high = (min(max(edge, first), end) for edge in (start, start + size))
            rng = torch.Generator(self._rng.device).manual_seed(seed)
            own = Draws(rng, size, slice(low - start, high - start))
            found.append((slice(low - first, high - first), own))
            start += size
        return found


def dealt(draws: Draws, layers: Sequence[tuple[int, Callable[[slice, Draws], Tensor]]]) -> Tensor:
    """A batch of which each layer treats one run of the whole.

    Args:
        draws: of the images in hand, on the CPU.
        layers: how many images of the whole batch each takes, and what it makes of those in hand;
            one whose run is elsewhere is not called.

    Returns:
        What the layers made of the images in hand.
    """
    shares = draws.shares([size for size, _ in layers])
    return torch.cat(
        [
            layer(rows, own)
            for (rows, own), (_, layer) in zip(shares, layers, strict=True)
            if rows.stop > rows.start
        ]
    )
