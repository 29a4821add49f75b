"""The tensors of the paper's networks by name: the layout of the public PyTorch checkpoints.

ando-khachatryan/HiDDeN (MIT) published trained networks; the modules here have the same names, so
that a checkpoint is this method's state once its two prefixes are exchanged. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fpbench.api import ContractError

__all__ = ["BLOCKS_BEFORE", "BLOCKS_READER", "COUNTER", "PREFIXES", "check", "shapes"]

BLOCKS_BEFORE = 4
"""Blocks of the embedder that see the image alone."""
BLOCKS_READER = 7
"""Blocks of the extractor before the one that has a channel for each bit."""
PREFIXES = {"encoder.": "embedder.", "decoder.": "reader."}
"""Of names in a public checkpoint, and of the same tensors in a state."""
COUNTER = "num_batches_tracked"
"""What early versions of torch did not save, and nothing is computed with."""

Shapes = Mapping[str, tuple[int, ...]]


def shapes(bits: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a state by name, embedder first, in the order of computation.

    Args:
        bits: length of a code, K.
        channels: of every block, C.
    """
    return dict(_embedder(bits, channels)) | dict(_reader(bits, channels))


def check(who: str, found: Shapes, expected: Shapes) -> None:
    """See that tensors are those of a layout; running counters of batches may be missing.

    Args:
        who: asks, for messages.
        found: shapes by name.
        expected: the same, in the order in which they are looked at.

    Raises:
        ContractError: names the first that is missing, has another shape, or is none of the layout.
    """
    for name, shape in expected.items():
        if name not in found and not name.endswith(COUNTER):
            raise ContractError(
                f"{who}: expected the tensor {name} {shape}, got none of that name; it is no "
                "checkpoint of HiDDeN's networks in the public PyTorch layout"
            )
        if name in found and found[name] != shape:
            raise ContractError(
                f"{who}: expected the tensor {name} with the shape {shape}, got {found[name]}; "
                "set `bits` and `channels` to those of the file, or bring another one"
            )
    for name in found:
        if name not in expected:
            raise ContractError(
                f"{who}: expected {len(expected)} tensors, got another one, {name}; it is no "
                "checkpoint of HiDDeN's networks in the public PyTorch layout"
            )


def _embedder(bits: int, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index in range(BLOCKS_BEFORE):
        inputs = channels if index else 3
        yield from _block(f"embedder.conv_layers.{index}", inputs, channels)
    yield from _block("embedder.after_concat_layer", bits + channels + 3, channels)
    yield "embedder.final_layer.weight", (3, channels, 1, 1)
    yield "embedder.final_layer.bias", (3,)


def _reader(bits: int, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index in range(BLOCKS_READER):
        inputs = channels if index else 3
        yield from _block(f"reader.layers.{index}", inputs, channels)
    yield from _block(f"reader.layers.{BLOCKS_READER}", channels, bits)
    yield "reader.linear.weight", (bits, bits)
    yield "reader.linear.bias", (bits,)


def _block(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.layers.0.weight", (outputs, inputs, 3, 3)
    yield f"{name}.layers.0.bias", (outputs,)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.layers.1.{part}", (outputs,)
    yield f"{name}.layers.1.{COUNTER}", ()
