"""What a plugin's call may leave behind in the process, by names that people know.

The environment is not among it: libraries write there as they load.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

_FLAGS: Mapping[str, Callable[[], object]] = {
    "default dtype of torch": torch.get_default_dtype,
    "default device of torch": torch.get_default_device,
    "gradient mode": torch.is_grad_enabled,
    "inference mode": torch.is_inference_mode_enabled,
    "number of torch's threads": torch.get_num_threads,
    "torch.use_deterministic_algorithms": torch.are_deterministic_algorithms_enabled,
    "torch.backends.cudnn.benchmark": lambda: torch.backends.cudnn.benchmark,
    "torch.backends.cudnn.enabled": lambda: torch.backends.cudnn.enabled,
    "torch.backends.cudnn.allow_tf32": lambda: torch.backends.cudnn.allow_tf32,
    "precision of matrix products": torch.get_float32_matmul_precision,
    "errors of numpy": np.geterr,
    "working directory": Path.cwd,
    "garbage collection": gc.isenabled,
}


def flags() -> dict[str, object]:
    """Everything but generators, by name."""
    return {name: read() for name, read in _FLAGS.items()}


def disturb(chance: int) -> None:
    """Put the global generators of torch, numpy and Python somewhere."""
    torch.manual_seed(chance)  # noqa: TID251 - what plugins must not depend on stands anywhere
    np.random.seed(chance)  # noqa: NPY002, TID251
    random.seed(chance)  # noqa: TID251


def drawn_state() -> tuple[bytes, ...]:
    """Where the global generators of torch, numpy and Python stand."""
    return (
        torch.get_rng_state().numpy().tobytes(),
        repr(np.random.get_state()).encode(),  # noqa: NPY002
        repr(random.getstate()).encode(),
    )
