"""Autoencoders from their files, as a state, and as modules."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fpbench.api import ContractError, MissingResource, State
from fpbench.nn.autoencoders.chain import ChainDecoder, ChainEncoder, chain_from
from fpbench.nn.autoencoders.layout import Files, renamed
from fpbench.nn.chains import channels_of
from fpbench.nn.channels import Channels, within
from fpbench.nn.state import filled, part

__all__ = ["decoder_of", "encoder_of", "fresh_decoder", "opened_decoder", "read"]


_RESIDUAL = "conv1", "norm2", "nonlinearity", "conv2"
"""The second half of a residual block of AutoencoderKL, as diffusers calls its layers."""


def read(who: str, files: Files) -> State:
    """Encoder and decoder of these files: ``encoder.*``, ``decoder.*``, and how they are built.

    Args:
        who: asks, for messages.
        files: of an autoencoder.

    Raises:
        ContractError: tensors are missing or left over.
        MissingResource: diffusers is not installed.
    """
    if files.kind == "chain":
        parts = {"encoder": load_file(files.encoder), "decoder": load_file(files.decoder)}
        modules: dict[str, nn.Module] = {
            "encoder": _chain_encoder(who, parts["encoder"]),
            "decoder": _chain_decoder(who, parts["decoder"]),
        }
        return _state(modules, {"kind": files.kind})
    whole = _diffusers(who, files.kind, files.config)
    try:
        tensors = load_file(files.decoder)
        whole.load_state_dict({renamed(name): t.float() for name, t in tensors.items()})
    except RuntimeError as error:
        raise ContractError(
            f"{who}: expected the tensors of {files.kind} in {files.decoder.name}, got others "
            f"({error}); save the model again with diffusers"
        ) from error
    built = {"encoder": _Encoder(whole), "decoder": _Decoder(whole)}
    return _state(built, {"kind": files.kind, "config": dict(files.config)})


def encoder_of(state: State, device: torch.device) -> nn.Module:
    """Images (N, 3, H, W) in [-1, 1] to latents (N, C, h, w), those at a posterior's mode."""
    return _module("encoder", state, device)


def decoder_of(state: State, device: torch.device) -> nn.Module:
    """Latents (N, C, h, w) to images (N, 3, H, W) near [-1, 1]."""
    return _module("decoder", state, device)


def fresh_decoder(state: State) -> nn.Module:
    """The same decoder with weights as they are drawn before any training."""
    return _build("decoder", state)


def opened_decoder(who: str, weights: State, files: Files) -> nn.Module:
    """A decoder with the weights of a file, which do not tell how one of diffusers is built.

    Args:
        who: opens it, for messages.
        weights: by their names within the decoder.
        files: of the autoencoder that the file's host was made of.

    Raises:
        ContractError: the weights are others.
    """
    expected = dict(files.decoder_shapes())
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise ContractError(
                f"{who}: expected the tensors of a copy of {files.decoder.name}, with {name} "
                f"{expected.get(name, 'absent')}, got {found.get(name, 'none')}; open it with the "
                "parameters that it was made with"
            )
    about = {"kind": files.kind, "config": dict(files.config)}
    state = _state({}, about) | {f"decoder.{name}": t for name, t in weights.items()}
    return filled(lambda: _build("decoder", state), weights)


class _Encoder(nn.Module):
    """The encoder of an autoencoder of diffusers: latents as its decoder's wrapper takes them.

    Args:
        whole: the autoencoder.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.encoder = whole.get_submodule("encoder")
        self.quant_conv = _layer(whole, "quant_conv")
        self._shift, self._scale = _scaling(whole)

    def forward(self, images: Tensor) -> Tensor:
        """See `encoder_of`."""
        x: Tensor = self.encoder(images)
        if hasattr(self.encoder, "conv_norm_out"):  # of AutoencoderKL: means and log variances
            x = self.quant_conv(x).chunk(2, dim=1)[0]
        return (x - self._shift) * self._scale


class _Decoder(nn.Module):
    """The decoder of an autoencoder of diffusers.

    Args:
        whole: the autoencoder.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self.post_quant_conv = _layer(whole, "post_quant_conv")
        self.decoder = whole.get_submodule("decoder")
        self._shift, self._scale = _scaling(whole)

    def forward(self, latents: Tensor) -> Tensor:
        """See `decoder_of`."""
        images: Tensor = self.decoder(self.post_quant_conv(latents / self._scale + self._shift))
        return images

    def channels(self) -> tuple[Channels, ...]:
        """Those between the convolutions of each residual block; others stay where they are."""
        found: list[Channels] = []
        for name, block in self.named_modules():
            plain = getattr(block, "conv", None)  # of AutoencoderTiny
            known = dict(block.named_children())
            if isinstance(plain, nn.Sequential):
                found += within(f"{name}.conv", channels_of(name, plain))
            elif known.keys() >= set(_RESIDUAL):
                layers = OrderedDict((part, known[part]) for part in _RESIDUAL)
                found += within(name, channels_of(name, nn.Sequential(layers)))
        return tuple(found)


def _layer(whole: nn.Module, name: str) -> nn.Module:
    """A layer that not every autoencoder has."""
    return getattr(whole, name, None) or nn.Identity()


def _scaling(whole: nn.Module) -> tuple[float, float]:
    config: Any = whole.config
    return float(config.get("shift_factor") or 0.0), float(config.get("scaling_factor") or 1.0)


def _diffusers(who: str, kind: str, config: Mapping[str, Any]) -> nn.Module:
    try:
        import diffusers
    except ImportError as error:
        raise MissingResource(
            f"{who}: expected the package diffusers, got none; install it with "
            "`pip install fpbench[latent]`"
        ) from error
    try:
        whole: nn.Module = getattr(diffusers, kind).from_config(dict(config))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ContractError(
            f"{who}: expected a configuration of {kind}, got one that diffusers "
            f"{diffusers.__version__} does not build ({error}); save the model again with it"
        ) from error
    return whole


def _build(what: str, state: State) -> nn.Module:
    about = json.loads(bytes(state["about"].tolist()))
    if about["kind"] == "chain":
        make = _chain_encoder if what == "encoder" else _chain_decoder
        return make("autoencoder", part(part(state, what), "layers"), loaded=False)
    whole = _diffusers("autoencoder", about["kind"], about["config"])
    return _Encoder(whole) if what == "encoder" else _Decoder(whole)


def _module(what: str, state: State, device: torch.device) -> nn.Module:
    module = filled(lambda: _build(what, state), part(state, what))
    return module.to(device).to(memory_format=torch.channels_last)


def _chain_encoder(who: str, tensors: Mapping[str, Tensor], *, loaded: bool = True) -> nn.Module:
    module = ChainEncoder(chain_from(f"{who}: encoder", tensors))
    if loaded:
        module.load(tensors)
    return module


def _chain_decoder(who: str, tensors: Mapping[str, Tensor], *, loaded: bool = True) -> nn.Module:
    module = ChainDecoder(chain_from(f"{who}: decoder", tensors))
    if loaded:
        module.load(tensors)
    return module


def _state(modules: Mapping[str, nn.Module], about: Mapping[str, object]) -> State:
    text = json.dumps(about, sort_keys=True).encode()
    state = {"about": torch.tensor(list(text), dtype=torch.uint8)}
    for name, module in modules.items():
        state |= {
            f"{name}.{key}": t.detach().contiguous() for key, t in module.state_dict().items()
        }
    return state
