"""What real images and the host look like in the networks that distances are taken in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from fpbench.api import StageError
from fpbench.backbones.speech import LIBRARIES
from fpbench.plan import Stage
from fpbench.stages.bench import Bench, chunks
from fpbench.stages.images import SplitStream


def read_reference(stage: Stage, bench: Bench) -> None:
    """Features of the real images of the reference split."""
    key = stage.key
    if bench.store.has(key):
        return
    bench.store.put(key, {"features": _of_real(bench, bench.features)}, {})


def try_backbone(stage: Stage, bench: Bench) -> None:
    """Load a published network and try it on the real images, once for each data set."""
    from fpbench.backbones.distances import reference_arrays

    key, backbone = stage.key, stage.of_backbone
    if bench.store.has(key):
        return
    network = bench.network(backbone)
    if backbone.features:
        bench.store.put(key, reference_arrays(_of_real(bench, network)), {})
        return
    if backbone.captions:
        score = _scores_of_real(bench, network)
        if not np.isfinite(score).all():
            raise StageError(f"backbone {backbone.name}: expected finite scores, got {score}")
        bench.store.put(key, {"score": score}, {})
        return
    stream = SplitStream(bench.dataset, "reference", bench.device)
    pair = stream.read(np.arange(2))
    distance = network(pair[:1], pair[1:]).cpu().numpy()
    # Two recordings may hold too little speech for STOI.
    undefined = np.isnan(distance) & (backbone.spec.use in LIBRARIES)
    if not (np.isfinite(distance) | undefined).all():
        raise StageError(f"backbone {backbone.name}: expected a finite distance, got {distance}")
    bench.store.put(key, {"distance": distance}, {})


def read_host_features(stage: Stage, bench: Bench) -> None:
    """Features or scores of host images in a published network, once for each host."""
    if bench.store.has(stage.key):
        return
    backbone, host, parts = stage.of_backbone, bench.host.generator, []
    network, name = bench.network(backbone), "score" if backbone.captions else "features"
    wanted = bench.host_images(bench.suite.negatives.host)
    for chunk in chunks(len(wanted)):
        drawn = [wanted[i] for i in chunk]
        images = host.sample(bench.latents(host, drawn))
        given = (images, bench.conditions(drawn)) if backbone.captions else (images,)
        parts.append(network(*given).cpu().numpy())
    bench.store.put(stage.key, {name: np.concatenate(parts)}, {})


def _of_real(bench: Bench, network: Callable[[Tensor], Tensor]) -> np.ndarray:
    stream = SplitStream(bench.dataset, "reference", bench.device)
    parts = [network(stream.read(chunk)).cpu().numpy() for chunk in chunks(len(stream))]
    return np.concatenate(parts)


def _scores_of_real(bench: Bench, network: Callable[[Tensor, Sequence[str]], Tensor]) -> np.ndarray:
    stream = SplitStream(bench.dataset, "reference", bench.device)
    parts = (network(stream.read(c), stream.conditions(c)) for c in chunks(len(stream)))
    return np.concatenate([part.cpu().numpy() for part in parts])
