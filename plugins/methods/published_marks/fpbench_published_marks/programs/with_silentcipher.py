"""The library `silentcipher`, its published model for 44.1 kHz, one channel after the other.

Weights are read from a folder that is given, and never fetched. The library asks for torch 2.0,
where reading tensors alone can be tricked (CVE-2025-32434): the files must be its authors'. Bits
are read without a degree: +1 and -1, and 0 where the library finds no message.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import silentcipher
import sounding
import torch


def opened(variant: str, weights: str) -> tuple[Any, Any]:
    """How to mark (N, C, T) int16 sounds with a code (K,) at a rate, and to read K logits."""
    del variant
    torch.set_num_threads(1)  # the same numbers on every machine of a kind
    torch.load = partial(torch.load, weights_only=True)  # noqa: TID251 - what this torch can do
    settings = str(Path(weights) / "hparams.yaml")
    model = silentcipher.get_model("44.1k", weights, settings, device="cpu")

    def mark(sounds: np.ndarray, code: np.ndarray, rate: int) -> Any:
        message = np.packbits(code).tolist()
        return sounding.marked(
            sounds, lambda one: model.encode_wav(one, rate, message, calc_sdr=False)[0]
        )

    def read(sounds: np.ndarray, bits: int, rate: int) -> Any:
        def values(one: np.ndarray) -> Any:
            found = model.decode_wav(one, rate, phase_shift_decoding=False)
            if not found["status"] or 8 * len(found["messages"][0]) != bits:
                return np.zeros(bits)
            return np.unpackbits(np.array(found["messages"][0], np.uint8)) * 2.0 - 1

        return sounding.numbers(sounds, bits, values)

    return mark, read
