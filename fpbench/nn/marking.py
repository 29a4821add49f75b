"""The step of a copy that asks a program; see `fpbench.nn.programs`."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.api.images import to_float, to_uint8
from fpbench.nn.foreign import Program
from fpbench.nn.opaque import Opaque

__all__ = ["Embedder", "read"]


class Embedder(Opaque):
    """Has a program mark images."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Marked images ``(N, 3, H, W)`` from images in [-1, 1] and codes ``(N, K)`` bool."""
        pixels = to_uint8(images).cpu().contiguous()
        marked = torch.empty_like(pixels)
        for code in torch.unique(codes.cpu(), dim=0):
            rows = (codes.cpu() == code).all(1)
            asked = pixels[rows].numpy(), code.numpy()
            made = self._program.ask("mark", len(code), asked, "uint8", asked[0].shape)
            marked[rows] = torch.from_numpy(made)
        return to_float(marked.to(images.device))


def read(program: Program, images: Tensor, bits: int) -> Tensor:
    """Logits ``(N, K)`` of uint8 images ``(N, 3, H, W)``."""
    pixels = images.cpu().contiguous().numpy()
    logits = program.ask("read", bits, (pixels,), "float32", (len(pixels), bits))
    return torch.from_numpy(logits).to(images.device)
