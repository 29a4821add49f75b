"""The step of a copy that asks a program; see `fpbench.nn.programs`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fpbench.api import Modality
from fpbench.nn.foreign import Program
from fpbench.nn.opaque import Opaque

__all__ = ["Embedder", "read"]


class Embedder(Opaque):
    """Has a program mark samples.

    Args:
        program: that does.
        modality: of the samples.
        rate: of sounds, samples a second; None = no sounds.
    """

    def __init__(self, program: Program, modality: Modality[Any], rate: int | None) -> None:
        super().__init__()
        self._program = program
        self._modality = modality
        self._rate = rate

    def forward(self, samples: Tensor, codes: Tensor) -> Tensor:
        """Marked samples ``(N, ...)`` from samples in [-1, 1] and codes ``(N, K)`` bool."""
        levels = self._modality.to_file(samples).cpu().contiguous()
        dtype = str(levels.dtype).removeprefix("torch.")
        marked = torch.empty_like(levels)
        own = codes.cpu()
        for code in torch.unique(own, dim=0) if own.numel() else own[:1]:
            rows = (own == code).all(1)
            asked = levels[rows].numpy(), code.numpy()
            made = self._program.ask("mark", len(code), asked, dtype, asked[0].shape, self._rate)
            marked[rows] = torch.from_numpy(made)
        return self._modality.to_float(marked.to(samples.device))


def read(program: Program, samples: Tensor, columns: int, rate: int | None) -> Tensor:
    """What a program reads of samples as a file carries them, ``(N, columns)``: logits, scores.

    Args:
        program: is asked.
        samples: ``(N, ...)``.
        columns: K, or 1 of a mark without bits.
        rate: of sounds, samples a second; None = no sounds.
    """
    levels = samples.cpu().contiguous().numpy()
    shape = (len(levels), columns)
    found = program.ask("read", columns, (levels,), "float32", shape, rate)
    return torch.from_numpy(found).to(samples.device)
