"""What the attacks of this package share: the identity and the draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from fpbench.api import Context, Params, SampleAttack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Draw = Callable[[int], NDArray[np.float32]]  # the numbers of the n-th image of a batch

P = TypeVar("P", bound=Params)


class Distortion(SampleAttack[P]):
    """An image attack that changes nothing, to the bit, at its identity strength."""

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """See `SampleAttack.apply`; the result lies in channels-last memory on the same device."""
        import torch

        if not len(images) or (self.strength and strength == self.strength.identity):
            return images.clone(memory_format=torch.channels_last)
        return self.distort(
            images.contiguous(memory_format=torch.channels_last), indices, strength, ctx
        )

    @abstractmethod
    def distort(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """As `apply`, for at least one image, in channels-last memory, and another strength."""


def corners(
    places: NDArray[np.float64], height: int, width: int, full: Sequence[int]
) -> NDArray[np.int64]:
    """(N, 2) top and left of a height × width box that uniform (N, 2) `places` put in an image.

    Args:
        places: two numbers in [0, 1) for each image, down and across.
        height: of the box, one for all images.
        width: of the box, likewise.
        full: height and width of the image.
    """
    import numpy as np

    room = np.array([full[0] - height + 1, full[1] - width + 1])
    placed: NDArray[np.int64] = (places * room).astype(np.int64)
    return placed
