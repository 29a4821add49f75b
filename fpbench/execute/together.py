"""One training on several devices: processes that each compute a share of every batch.

The process that leads it starts one helper for each further device. All of them run the same
stage on the same draws; `TrainingRun.pieces` deals out the batch and `Peers.average` brings the
gradients together, so that weights stay equal everywhere. Only the first process saves and stores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from fpbench.api.context import Peers
from fpbench.execute.request import Request


class Group(Peers):
    """Processes that `torch.distributed` has joined.

    Args:
        rank: number of this process.
        count: how many there are.
    """

    def __init__(self, rank: int, count: int) -> None:
        self.rank = rank
        self.count = count

    def average(self, tensors: Sequence[Tensor]) -> None:
        """See `Peers.average`; one message for all of them."""
        if not tensors:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        distributed.all_reduce(flat)
        parts = torch.split(flat / self.count, [t.numel() for t in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))


@contextmanager
def group_of(
    request: Request, key: str, slot: int, device: torch.device, count: int
) -> Iterator[Peers]:
    """Start the helpers of one training, and end them behind it.

    Args:
        request: what is run.
        key: of the training.
        slot: of this process.
        device: of this process.
        count: of processes, this one among them.
    """
    if count == 1:
        yield Peers()
        return
    with tempfile.TemporaryDirectory() as folder:
        task = {"stage": key, "slot": slot, "count": count, "meeting": f"{folder}/meeting"}
        helpers: list[subprocess.Popen[str]] = []
        try:
            helpers += (_start(request, task | {"rank": rank}) for rank in range(1, count))
            with joined(0, count, f"{folder}/meeting", device) as peers:
                yield peers
        finally:
            for helper in helpers:
                helper.kill()
                helper.communicate()


def _start(request: Request, task: dict[str, object]) -> subprocess.Popen[str]:
    # Ctrl-C reaches the whole group; only the first process may stop a training, between steps.
    start = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "from fpbench.execute.helper import main; main()"
    )
    helper = subprocess.Popen(  # noqa: S603 - a text of ours
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=sys.stderr, text=True
    )
    assert helper.stdin is not None
    helper.stdin.write(json.dumps({"request": request.to_json(), **task}) + "\n")
    helper.stdin.flush()  # left open: its end tells the helper that nobody leads any more
    return helper


@contextmanager
def joined(rank: int, count: int, meeting: str, device: torch.device) -> Iterator[Group]:
    """Be one of the processes that train together, who meet in a file."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # One machine: nothing of it needs to be seen outside.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    distributed.init_process_group(
        backend,
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=count,
        timeout=timedelta(minutes=5),  # one that died must not be waited for much longer
    )
    try:
        yield Group(rank, count)
    finally:
        distributed.destroy_process_group()
