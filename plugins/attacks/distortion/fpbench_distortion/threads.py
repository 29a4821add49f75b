"""A small pool of threads, kept for the life of the process, that works off batches in chunks."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

CHUNK_BYTES = 2**20  # fits the second-level cache; handing out a chunk costs some 20 µs


def in_chunks(count: int, bytes_each: int, work: Callable[[slice], None]) -> None:
    """Call `work` on slices that cover range(count), on torch's number of threads.

    Args:
        count: of images.
        bytes_each: of one image.
        work: spends its time in calls that let go of the interpreter's lock (OpenCV, numpy).
    """
    threads = torch.get_num_threads()
    # As many chunks as threads, or a multiple, so that no thread waits for the last one.
    rounds = max(1, round(count * bytes_each / (threads * CHUNK_BYTES)))
    size = max(1, math.ceil(count / (threads * rounds)))
    chunks = [slice(start, min(start + size, count)) for start in range(0, count, size)]
    if threads == 1 or len(chunks) == 1:
        for chunk in chunks:
            work(chunk)
        return
    for _ in _pool(os.getpid(), threads).map(work, chunks):
        pass  # taking the results raises what a chunk raised


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    del process  # a forked child inherits the cache but no threads
    return ThreadPoolExecutor(threads, thread_name_prefix="distortion")
