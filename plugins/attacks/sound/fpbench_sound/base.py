"""What the attacks of this package share: floats in, floats out, the identity and the draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

from fpbench.api import Context, ContractError, Params, SampleAttack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Sounds = NDArray[np.float64]

P = TypeVar("P", bound=Params)


class SoundAttack(SampleAttack[P]):
    """An attack on sounds that changes nothing, to the bit, at its identity strength."""

    modalities: ClassVar[frozenset[str] | None] = frozenset({"audio"})

    def apply(
        self, images: Tensor, indices: Sequence[int], strength: float, ctx: Context
    ) -> Tensor:
        """See `SampleAttack.apply`; computed on the CPU, given back on the sounds' device."""
        import torch

        if not len(images) or (self.strength and strength == self.strength.identity):
            return images.clone()
        sounds = ctx.modality.to_float(images).cpu().double().numpy()
        changed = torch.from_numpy(self.distort(sounds, indices, strength, ctx))
        return ctx.modality.to_file(changed).to(images.device)

    @abstractmethod
    def distort(
        self, sounds: Sounds, indices: Sequence[int], strength: float, ctx: Context
    ) -> Sounds:
        """As `apply`, for at least one sound (N, C, T) in [-1, 1], and another strength.

        What exceeds [-1, 1] is clipped afterwards.
        """


def rate_of(ctx: Context) -> int:
    """Samples of a sound in a second, hertz.

    Raises:
        ContractError: the data set does not say.
    """
    if not ctx.info.rate:
        raise ContractError(
            "attacks on sounds: expected samples at a stated rate, got none; give "
            "SampleInfo(rate=...) in the data set's info"
        )
    return ctx.info.rate
