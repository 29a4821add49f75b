"""What lies in the files of an autoencoder, read off their headers; no torch.

A file in the layout of TAESD (madebyollin/taesd, MIT) holds the tensors of one chain of layers
under their numbers: `1.weight` of a convolution, `3.conv.0.weight` of a block. What has no tensors
(an activation, a doubling of the side) has a number and nothing else. A folder of diffusers holds
`config.json` and `diffusion_pytorch_model.safetensors`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fpbench.api import ContractError, MissingResource

__all__ = [
    "PICKLES",
    "Chain",
    "Files",
    "Layer",
    "chain_of",
    "config_of",
    "doublings",
    "find",
    "renamed",
    "shapes_of",
]

_CLASSES = ("AutoencoderKL", "AutoencoderTiny")  # of diffusers
_CONFIG = "config.json"
_WEIGHTS = "diffusion_pytorch_model.safetensors"
PICKLES = (".bin", ".pt", ".ckpt")
"""Endings of files whose weights are not read: opening them may run programs."""
_PARTS = {"decoder", "encoder", "post_quant_conv", "quant_conv"}
_ATTENTION = {
    ".query.": ".to_q.",
    ".key.": ".to_k.",
    ".value.": ".to_v.",
    ".proj_attn.": ".to_out.0.",
}
_COLOURS = 3
_NUMBER = re.compile(r"(\d{1,3})\.")
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Layer:
    """One layer of a chain.

    Attributes:
        number: its place in the chain, the prefix of its tensors.
        inputs: channels that it reads.
        outputs: channels that it makes.
        block: whether it is a residual block, else a convolution.
        pool: channels of the block's branch over single pixels; 0 where it has none.
        bias: whether the convolution has one.
    """

    number: int
    inputs: int
    outputs: int
    block: bool = False
    pool: int = 0
    bias: bool = True


Chain = Sequence[Layer]


@dataclass(frozen=True)
class Files:
    """The files of an autoencoder.

    Attributes:
        kind: "chain", or a class of diffusers.
        decoder: its file; of a class of diffusers the whole autoencoder's.
        encoder: its file.
        config: of a class of diffusers.
    """

    kind: str
    decoder: Path
    encoder: Path
    config: Mapping[str, Any]

    def factor(self) -> int:
        """Pixels of an image along a latent's pixel."""
        if self.kind == "chain":
            chain = chain_of(str(self.decoder), shapes_of(self.decoder))
            return int(2 ** len(doublings(chain)))
        return int(2 ** (len(self.config["block_out_channels"]) - 1))

    def latent(self, size: int) -> tuple[int, int, int]:
        """(C, h, w) of images of this side."""
        if self.kind == "chain":
            channels = chain_of(str(self.decoder), shapes_of(self.decoder))[0].inputs
        else:
            channels = self.config["latent_channels"]
        side = size // self.factor()
        return channels, side, side

    def decoder_shapes(self) -> Shapes:
        """The shapes of the decoder's tensors, by their names in the module that draws images."""
        shapes = shapes_of(self.decoder)
        if self.kind == "chain":
            return {f"layers.{name}": shape for name, shape in shapes.items()}
        return {
            renamed(name): shape
            for name, shape in shapes.items()
            if name.startswith(("decoder.", "post_quant_conv."))
        }


def find(who: str, place: str, encoder: str, prefix: str = "") -> Files:
    """The files at a place.

    Args:
        who: asks, for messages.
        place: a folder, or the file of a decoder.
        encoder: the file of an encoder beside it.
        prefix: of the parameters `autoencoder` and `encoder` in a suite, "host." of a host's.

    Raises:
        MissingResource: there is nothing.
        ContractError: what is there is no autoencoder.
    """
    path = Path(place)
    if not path.exists():
        raise MissingResource(
            f"{who}: expected an autoencoder at {place}, got nothing there; bring it, or set "
            f"{prefix}autoencoder to another place"
        )
    return (_pair if path.is_file() else _folder)(who, path, encoder, prefix)


def _pair(who: str, decoder: Path, encoder: str, prefix: str) -> Files:
    """A decoder and an encoder in the layout of TAESD."""
    if not encoder:
        raise ContractError(
            f"{who}: expected the encoder that belongs to the decoder {decoder.name}, got none; "
            f"set {prefix}encoder to its file"
        )
    if not Path(encoder).is_file():
        raise MissingResource(
            f"{who}: expected an encoder at {encoder}, got no file there; bring it"
        )
    files = Files("chain", decoder, Path(encoder), {})
    back, there = (
        chain_of(f"{who}: {part.name}", shapes_of(part)) for part in (files.decoder, files.encoder)
    )
    halvings = sum(not layer.bias for layer in there if not layer.block)
    made = there[0].inputs, there[-1].outputs, 2**halvings
    needed = back[-1].outputs, back[0].inputs, 2 ** len(doublings(back))
    if made != needed or needed[0] != _COLOURS:
        raise ContractError(
            f"{who}: expected an encoder of images of 3 channels to latents of {needed[1]} "
            f"channels at 1/{needed[2]} of the side, which {decoder.name} takes, got one of images "
            f"of {made[0]} to {made[1]} channels at 1/{made[2]}; set {prefix}encoder "
            f"and {prefix}autoencoder to files of one autoencoder"
        )
    return files


def _folder(who: str, path: Path, encoder: str, prefix: str) -> Files:
    """An autoencoder as diffusers saves it."""
    if encoder:
        raise ContractError(
            f"{who}: expected no file of an encoder beside the folder {path.name}, which has its "
            f"own; leave {prefix}encoder out"
        )
    folder = path / "vae" if (path / "vae").is_dir() else path
    config = config_of(who, folder, _CONFIG)
    kind = str(config.get("_class_name"))
    if kind not in _CLASSES:
        raise ContractError(
            f"{who}: expected {' or '.join(_CLASSES)} in {folder.name}/{_CONFIG}, got {kind}; name "
            "the folder of such an autoencoder, or of a pipeline that has one in its folder vae"
        )
    weights = folder / _WEIGHTS
    if not weights.is_file():
        others = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
        got = f"{', '.join(others)}, which may run programs" if others else "nothing"
        raise ContractError(
            f"{who}: expected {folder.name}/{_WEIGHTS}, got {got}; save the model with "
            "safe_serialization=True"
        )
    parts = {name.partition(".")[0] for name in shapes_of(weights)}
    if missing := {"encoder", "decoder"} - parts:
        raise ContractError(
            f"{who}: expected tensors of the part {min(missing)} in {folder.name}/{_WEIGHTS}, got "
            f"those of {', '.join(sorted(parts)) or 'none'}; save the whole autoencoder"
        )
    if unknown := parts - _PARTS:
        raise ContractError(
            f"{who}: expected tensors of {', '.join(sorted(_PARTS))} in {folder.name}/{_WEIGHTS}, "
            f"got also the part {min(unknown)}; save the autoencoder again with diffusers"
        )
    _check_config(who, folder, config)
    return Files(kind, weights, weights, config)


def renamed(name: str) -> str:
    """A tensor's name in the diffusers of today: those of attention were others before 2023."""
    for old, new in _ATTENTION.items():
        name = name.replace(old, new)
    return name


def _check_config(who: str, folder: Path, config: Mapping[str, Any]) -> None:
    """What is read of a configuration without diffusers."""
    widths, channels = config.get("block_out_channels"), config.get("latent_channels")
    listed = isinstance(widths, list) and widths and all(isinstance(w, int) for w in widths)
    if not (listed and isinstance(channels, int)):
        raise ContractError(
            f"{who}: expected block_out_channels, a list of whole numbers, and latent_channels in "
            f"{folder.name}/{_CONFIG}, got {widths} and {channels}; save the autoencoder again "
            "with diffusers"
        )


def shapes_of(path: Path) -> Shapes:
    """The shapes of all tensors in a file of safetensors, from its header alone.

    Raises:
        ContractError: it is no such file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= 100_000_000:
                raise ValueError("no header")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = 8 + length + max((about["data_offsets"][1] for about in header.values()), default=0)
        if path.stat().st_size != end:
            raise ValueError(f"it should have {end:,} bytes and has {path.stat().st_size:,}")
        return {name: tuple(int(side) for side in about["shape"]) for name, about in header.items()}
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise ContractError(
            f"{path.name}: expected weights as safetensors, got another file ({error}); pickled "
            "weights may run programs and are not opened: convert them first"
        ) from error


def chain_of(who: str, shapes: Shapes) -> Chain:
    """The layers whose tensors these are.

    Args:
        who: has them, for messages.
        shapes: of the tensors by name.

    Raises:
        ContractError: a tensor is missing, or is of no layer that is known.
    """
    left = dict(shapes)
    layers = []
    for number in sorted({int(m[1]) for name in shapes if (m := _NUMBER.match(name))}):
        own = {k.partition(".")[2]: left.pop(k) for k in list(left) if k.startswith(f"{number}.")}
        layers.append(_layer(who, number, own))
    if left or not layers:
        raise ContractError(
            f"{who}: expected tensors of numbered layers as TAESD names them, got "
            f"{sorted(left)[0] if left else 'none'}; name a file in that layout, or a folder of "
            "diffusers"
        )
    channels = layers[0].inputs
    for layer in layers:
        if layer.inputs != channels:
            raise ContractError(
                f"{who}: expected layer {layer.number} to read the {channels} channels of the "
                f"layer before it, got one that reads {layer.inputs}"
            )
        channels = layer.outputs
    return tuple(layers)


def doublings(chain: Chain) -> list[int]:
    """The numbers at which a decoder doubles the side: those that no layer and no activation has.

    The first gap behind the first convolution is its activation.
    """
    known = {layer.number for layer in chain}
    first = chain[0].number
    return [n for n in range(first + 2, chain[-1].number) if n not in known]


def _layer(who: str, number: int, own: dict[str, tuple[int, ...]]) -> Layer:
    """The layer of these tensors."""
    if set(own) <= {"weight", "bias"} and len(own.get("weight", ())) == 4:
        outputs, inputs = own["weight"][:2]
        expected: Shapes = {"weight": (outputs, inputs, 3, 3)}
        expected = {**expected, **({"bias": (outputs,)} if "bias" in own else {})}
        layer = Layer(number, inputs, outputs, bias="bias" in own)
    else:
        width = (own.get("conv.0.weight") or (0,))[0]
        pool = (own.get("pool.0.weight") or (0,))[0]
        branch: Shapes = {
            "pool.0.weight": (pool, width, 1, 1),
            "pool.1.weight": (pool,),
            "pool.1.bias": (pool,),
            "pool.3.weight": (width, pool, 1, 1),
        }
        expected = {
            **{f"conv.{i}.weight": (width, width, 3, 3) for i in (0, 2, 4)},
            **{f"conv.{i}.bias": (width,) for i in (0, 2, 4)},
            **(branch if pool else {}),
        }
        layer = Layer(number, width, width, block=True, pool=pool)
    for name in sorted(set(expected) | set(own)):
        if own.get(name) != expected.get(name):
            raise ContractError(
                f"{who}: expected {name} of layer {number} to be "
                f"{expected.get(name, 'absent')}, got {own.get(name, 'nothing')}"
            )
    return layer


def config_of(who: str, folder: Path, name: str) -> Mapping[str, Any]:
    """A configuration in a folder.

    Raises:
        ContractError: there is none, or it is no table.
    """
    try:
        config = json.loads((folder / name).read_text("utf-8"))
    except FileNotFoundError:
        raise ContractError(
            f"{who}: expected {name} in the folder {folder.name}, got none; name a folder as "
            "diffusers saves it, or the file of a decoder in the layout of TAESD"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ContractError(f"{who}: expected JSON in {folder.name}/{name}, got {error}") from error
    if not isinstance(config, dict):
        raise ContractError(f"{who}: expected a table in {folder.name}/{name}, got another value")
    return config
