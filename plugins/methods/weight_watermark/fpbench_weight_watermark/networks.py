"""Where a code lies and how it is read (Uchida, Nagai, Sakazawa, Satoh, ICMR 2017, sec. 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from fpbench.api import ContractError, Generator
from fpbench.nn.weights import Place, unit, weights

__all__ = ["carrier", "draw_key", "read"]


def carrier(generator: Generator, layer: str, room: int) -> Place:
    """The place of the kernel that carries codes, within the generator's output step.

    Args:
        generator: the host's.
        layer: name of the convolution; empty = the one of most inputs, of several the last.
        room: how many numbers its mean kernel must have, M.

    Raises:
        ContractError: there is no such convolution, or none with so much room.
    """
    sizes = {
        name.removesuffix(".weight"): weight[0].numel()
        for (step, name), weight in weights(generator).items()
        if step == generator.output and weight.dim() > 2 and name.endswith(".weight")
    }
    if not sizes or (layer and layer not in sizes):
        raise ContractError(
            f"method weight-watermark: expected {f'a layer {layer!r}' if layer else 'convolutions'}"
            f" in the host's step {generator.output!r}, got {', '.join(sizes) or 'none'}; set "
            "`layer` to one of these, or use a host with convolutions"
        )
    chosen = layer or max(reversed(sizes), key=lambda name: sizes[name])
    if sizes[chosen] < room:
        raise ContractError(
            f"method weight-watermark: expected a mean kernel of at least {room} numbers, got "
            f"{sizes[chosen]} in {chosen!r}; set fewer `bits`"
            + (", or leave `layer` empty for the largest" if layer else "")
        )
    return generator.output, f"{chosen}.weight"


def draw_key(kind: str, bits: int, size: int, rng: torch.Generator) -> Tensor:
    """The owner's secret matrix X: ``(K, M)``, rows linearly independent.

    Args:
        kind: "random", "direct" or "diff", as in the paper. There, positions are drawn for each
            bit alone; here no two bits share one, since they might contradict each other.
        bits: K.
        size: M.
        rng: of the draw.
    """
    if kind == "random":
        return torch.randn(bits, size, generator=rng)
    places = torch.randperm(size, generator=rng)
    key = torch.zeros(bits, size)
    key[torch.arange(bits), places[:bits]] = 1
    if kind == "diff":
        key[torch.arange(bits), places[bits : 2 * bits]] = -1
    return key


def read(key: Tensor, kernel: Tensor | None) -> Tensor:
    """Logits ``(1, K)``: the key times the mean filter, in units of the kernel's size.

    Args:
        key: ``(K, M)``.
        kernel: ``(O, C, k, k)`` with ``M = C k k``; of any other, and of one that holds no finite
            numbers, nothing is read: 0.
    """
    if kernel is None or kernel[0].numel() != key.shape[1] or not kernel.isfinite().all():
        return key.new_zeros(1, len(key))
    kernel = kernel.to(key)
    return (key @ (kernel / unit(kernel)).mean(0).flatten())[None]
