"""What a method reads in images without a mark, once more than its run did."""

from __future__ import annotations

import numpy as np
import torch

from fpbench.plan import Fit, Want
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, chunks
from fpbench.stages.interrupt import Interrupt, Stopped
from fpbench.stages.reading import ImageReader


def read_unmarked(bench: Bench, fit: Fit, interrupt: Interrupt) -> dict[str, np.ndarray]:
    """Source -> (n, U) scores: of every source on which the method must not fire, in its order.

    Args:
        bench: with the users that are told apart.
        fit: the training.
        interrupt: ends it between two batches.

    Raises:
        MissingResource: the data set is out of reach.
        Stopped: the user wants to stop.
    """
    sources = fit.method.component.negatives & set(bench.plan.sources(fit, None))
    found = {}
    for source in sorted(sources):
        reader = ImageReader(bench, fit, (source,), [Want()])
        with boundary.unharmed(f"{fit.method.label}: extract", *bench.loans(fit)):
            for chunk in chunks(bench.plan.negatives(source, None)):
                if interrupt.requested:
                    raise Stopped
                reader.read(_images(bench, source, chunk), chunk)
        found[source] = reader.arrays(lambda want: "")["/logits"]
    return found


def _images(bench: Bench, source: str, chunk: np.ndarray) -> torch.Tensor:
    if source == "real":
        return bench.test_images.read(chunk)
    host, wanted = bench.host.generator, bench.host_images(int(chunk[-1]) + 1)
    return boundary.drawn(host, bench.latents(host, [wanted[i] for i in chunk]))
