"""What is computed for somebody's own program: it leaves that as it was, and can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from fpbench.api import Generator, Latents, Modality, SampleInfo
from fpbench.api.params import Params
from fpbench.stages import boundary, process
from fpbench.stages.bench import chunks
from fpbench.stages.images import as_memory
from fpbench.stages.interrupt import Interrupt, Stopped, graceful
from fpbench.stages.torch_switches import exact


@contextmanager
def computing(threads: int, interrupt: Interrupt) -> Iterator[None]:
    """A block that computes as a run does, in what is somebody else's process.

    That is as before behind it. Ctrl-C is heeded where a plugin can be left.

    Args:
        threads: of the CPU; another number may move a pixel.
        interrupt: set where the user wants to stop.

    Raises:
        Stopped: the user wants to stop; a KeyboardInterrupt.
    """
    interrupt.requested = False
    with process.Visit():
        torch.set_num_threads(threads)
        exact()
        with graceful(interrupt), process.job():
            yield
    if interrupt.requested:
        raise Stopped


def draw(
    who: str,
    generator: Generator,
    latents: Callable[[np.ndarray], Latents],
    count: int,
    modality: Modality[Params],
    info: SampleInfo,
    interrupt: Interrupt,
) -> np.ndarray:
    """What a generator draws, as arrays are in memory: images (N, H, W, 3) uint8.

    Args:
        who: draws, for messages.
        generator: it.
        latents: of these sample numbers.
        count: N.
        modality: of the samples.
        info: what they should be.
        interrupt: ends it between two batches.
    """
    parts = []
    for chunk in chunks(count):
        if interrupt.requested:
            raise Stopped
        drawn = boundary.drawn(generator, latents(chunk))
        parts.append(as_memory(modality.check(who, drawn, len(chunk), info)))
    return np.concatenate(parts)
