"""Which of the states that a training kept is used: the one whose images are nearest to real ones.

On few images a GAN is at its best long before its training ends. The judge is the Fréchet distance
to images that it was trained on, in the suite's Inception network; without its weights the last
state is used. Nothing is looked at that later measures a method: neither test images nor issued
codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fpbench.api import Generator
from fpbench.backbones.distances import fid, reference_arrays
from fpbench.execute.checks import check_images, check_state
from fpbench.execute.images import SplitStream
from fpbench.execute.readings import chunks
from fpbench.plan import Fit, PlannedBackbone
from fpbench.store import Store
from fpbench.store.objects import Arrays

if TYPE_CHECKING:
    from fpbench.execute.session import Session

Copies = Callable[[dict[str, Tensor]], Iterable[Generator]]
"""A state's generators: one for each chunk of images."""


def choose_host(session: Session) -> None:
    """Choose among the snapshots of the host, unless it is done."""
    host, plan = session.suite.host, session.plan

    def copies(state: dict[str, Tensor]) -> Iterator[Generator]:
        generator = host.assemble(state, session.context("assemble"))
        yield from (generator for _ in chunks(plan.choice_images))

    _choose(session, f"host {host.name}", plan.host_training, plan.host_key, copies)


def choose(session: Session, fit: Fit) -> None:
    """Choose among the snapshots of a method, unless it is done; copies bear training codes."""
    method, count = fit.method.component, len(chunks(session.plan.choice_images))

    def copies(state: dict[str, Tensor]) -> Iterator[Generator]:
        ctx = session.context("choice", bits=method.bits)
        for code in ctx.training_codes(count, ctx.rng("codes")):
            who = f"{fit.method.label}: issue"
            with session.visit(who, session.host_loan):
                host = session.lent_host()
                issued = check_state(who, method.issue(state, host, code, ctx))
                copy = method.assemble(state, host, issued, ctx)
            yield copy

    _choose(session, fit.method.label, fit.training, fit.key, copies)


def _choose(session: Session, who: str, training: str, key: str, copies: Copies) -> None:
    store, plan = session.store, session.plan
    if store.has(key):
        return
    states = _States(store, training, plan.snapshots_key(training))
    distances: dict[int, float] = {}
    if plan.chooser is not None and len(states.steps) > 1:
        real = _real(session, plan.chooser)
        for step in states.steps:
            state = session.on_device(states.arrays(step))
            features = _features(session, plan.chooser, f"{who}: step {step}", copies(state))
            distances[step] = fid(real, features)
            session.context("choice").progress(len(distances), len(states.steps), f"step {step}")
    last = states.steps[-1]
    chosen = min(distances, key=distances.__getitem__, default=last)
    choice = {
        "step": chosen,
        "of": last,
        # A suite without the weights gives no distances, and takes the last.
        "distances": {str(step): distance for step, distance in distances.items()},
        "images": plan.choice_images if distances else 0,
    }
    store.put(key, states.arrays(chosen), {**store.meta(training), "choice": choice})


class _States:
    """What a training has kept, by the number of its steps; `steps` ends with the last.

    Of a training that kept nothing beside its last state, that is called step 0.
    """

    def __init__(self, store: Store, training: str, snapshots: str) -> None:
        self._store, self._training, self._snapshots = store, training, snapshots
        kept = sorted(int(step) for step in store.columns(snapshots))
        last = store.shard(snapshots, str(kept[0])).meta["steps"] if kept else 0
        self.steps = [*kept, int(last)]

    def arrays(self, step: int) -> Arrays:
        """The whole state after a step."""
        if step == self.steps[-1]:
            return self._store.get(self._training).arrays
        return self._store.shard(self._snapshots, str(step)).arrays


def _features(
    session: Session, judge: PlannedBackbone, who: str, copies: Iterable[Generator]
) -> np.ndarray:
    """(N, F) features of images of the same latents, whatever the state."""
    network, size = session.network(judge), session.suite.dataset.info().size
    seeds = session.latent_seeds("choice", session.plan.choice_images)
    parts = []
    for chunk, generator in zip(chunks(len(seeds)), copies, strict=True):
        images = generator.sample(generator.prior([seeds[i] for i in chunk]))
        parts.append(network(check_images(who, images, len(chunk), size)).cpu().numpy())
    return np.concatenate(parts)


def _real(session: Session, judge: PlannedBackbone) -> Mapping[str, np.ndarray]:
    """The Gaussian of the first training images; computed once."""
    store = session.store
    key, count = session.plan.training_features_key(judge), session.plan.choice_images
    if not store.has(key):
        stream = SplitStream(session.suite.dataset, "train", session.device, count=count)
        network = session.network(judge)
        features = [network(stream.read(chunk)).cpu().numpy() for chunk in chunks(count)]
        arrays = reference_arrays(np.concatenate(features))
        store.put(key, {k: v for k, v in arrays.items() if k != "features"}, {})
    return store.get(key).arrays
