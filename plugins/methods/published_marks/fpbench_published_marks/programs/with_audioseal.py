"""The library `audioseal`, its models of 16 bits, one channel after the other.

It works at 16 kHz. Weights are read from a folder that is given, and never fetched. It gives the
probability of each bit; a half is taken away.
"""

from __future__ import annotations

import typing
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import omegaconf
import sounding
import torch
from audioseal import AudioSeal, loader
from omegaconf import base, nodes

_RATE = 16_000
# What the published files hold beside tensors; no other class of theirs is made.
_SETTINGS = [
    *(omegaconf.DictConfig, omegaconf.ListConfig, base.ContainerMetadata, base.Metadata),
    *(nodes.AnyNode, typing.Any, defaultdict, dict, list, int),
]


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, C, T) int16 sounds with a code (K,) at a rate, and to read K logits."""
    del variant
    torch.set_num_threads(1)  # the same numbers on every machine of a kind

    def brought(place: str, device: str = "cpu") -> Any:
        with torch.serialization.safe_globals(_SETTINGS):
            return torch.load(Path(weights) / Path(place).name, device, weights_only=True)  # noqa: TID251 - no code of the file is run

    loader.load_model_checkpoint = brought
    generator = AudioSeal.load_generator("audioseal_wm_16bits").eval()
    detector = AudioSeal.load_detector("audioseal_detector_16bits").eval()

    @torch.no_grad()
    def mark(sounds: np.ndarray, code: np.ndarray, rate: int) -> Any:
        message = torch.tensor(code.astype(np.int64))[None]

        def marked(one: np.ndarray) -> Any:
            given = torch.tensor(sounding.resampled(one, rate, _RATE))[None, None]
            made = generator(given, sample_rate=_RATE, message=message)
            return sounding.resampled(made[0, 0].numpy(), _RATE, rate)

        return sounding.marked(sounds, marked)

    @torch.no_grad()
    def read(sounds: np.ndarray, bits: int, rate: int) -> Any:
        def values(one: np.ndarray) -> Any:
            given = torch.tensor(sounding.resampled(one, rate, _RATE))[None, None]
            return detector(given, sample_rate=_RATE)[1][0].numpy() - 0.5

        return sounding.numbers(sounds, bits, values)

    return mark, read
