"""What torch keeps for a whole process or thread, beside the modes of autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.backends import cuda, cudnn, mkldnn
from torch.utils import deterministic

Switch = tuple[Callable[[], Any], Callable[[Any], object]]
"""How something global is read, as a value that can be compared, and how it is set."""


def _attribute(owner: Any, name: str) -> Switch:
    return (lambda: getattr(owner, name)), (lambda value: setattr(owner, name, value))


def _autocast(device: str) -> Switch:
    def put(state: tuple[bool, torch.dtype]) -> None:
        torch.set_autocast_enabled(device, state[0])
        torch.set_autocast_dtype(device, state[1])

    return (lambda: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))), put


def _set_device(device: torch.device) -> None:
    # A default that was set costs time in every call, even where it is the usual one.
    torch.set_default_device(None)
    if torch.get_default_device() != device:
        torch.set_default_device(device)


def _determinism() -> tuple[bool, bool]:
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), warn_only


def _set_determinism(modes: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])


def _draws() -> bytes:
    return torch.get_rng_state().numpy().tobytes()


def _set_draws(state: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _gpu_draws() -> tuple[bytes, ...]:
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return ()
    return tuple(state.numpy().tobytes() for state in torch.cuda.get_rng_state_all())


def _set_gpu_draws(states: tuple[bytes, ...]) -> None:
    for number, state in enumerate(states):
        words = torch.frombuffer(bytearray(state), dtype=torch.uint8)
        torch.cuda.set_rng_state(words, number)


_cudnn: Any = cudnn  # torch's annotations leave out what its backends consist of
_mkldnn: Any = mkldnn
# Parents before children, which inherit from them.
_PRECISIONS: list[Any] = [torch.backends, cuda.matmul, _cudnn, _cudnn.conv, _cudnn.rnn]
_PRECISIONS += [_mkldnn, _mkldnn.matmul, _mkldnn.conv, _mkldnn.rnn]

SWITCHES: tuple[Switch, ...] = (
    (torch.get_default_device, _set_device),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (_determinism, _set_determinism),
    _attribute(deterministic, "fill_uninitialized_memory"),
    *(_attribute(owner, "fp32_precision") for owner in _PRECISIONS),
    *(_autocast(device) for device in ("cpu", "cuda")),
    *(_attribute(cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
    _attribute(cuda.matmul, "allow_fp16_reduced_precision_reduction"),
    _attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction"),
    (_draws, _set_draws),
    (_gpu_draws, _set_gpu_draws),
)


def exact() -> None:
    """Products and convolutions as the keys of stages say they are."""
    # Of matrix products torch's default is exact, of convolutions it is not.
    cudnn.allow_tf32 = False
    cudnn.deterministic = True
