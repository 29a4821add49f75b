"""Which of the states that a training kept is used: the one whose images are nearest to real ones.

Of a host of pictures, those that it shows.

On few images a GAN is at its best long before its training ends. The judge is the Fréchet distance
to images that it was trained on, in the suite's Inception network; without its weights the last
state is used. Nothing is looked at that later measures a method: neither test images nor issued
codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from torch import Tensor

from fpbench.api import Generator, User
from fpbench.backbones.distances import fid, reference_arrays
from fpbench.plan import PlannedBackbone, Stage
from fpbench.stages.bench import Bench, chunks, images_of
from fpbench.stages.checks import check_state
from fpbench.stages.context import to_arrays
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.store.objects import Arrays

Copies = Callable[[dict[str, Tensor]], Iterable[Generator]]
"""A state's generators: one for each chunk of images."""


def choose_host(stage: Stage, bench: Bench) -> None:
    """Choose among the snapshots of the host, or the pictures that it shows, unless it is done."""
    host, plan = bench.suite.host, bench.plan
    if host.pictures:
        _choose_pictures(stage, bench)
        return

    def copies(state: dict[str, Tensor]) -> Iterator[Generator]:
        generator = host.assemble(state, bench.context("assemble"))
        yield from (generator for _ in chunks(plan.choice_images))

    _choose(bench, f"host {host.name}", plan.host_training, stage.key, copies)


def _choose_pictures(stage: Stage, bench: Bench) -> None:
    store, host = bench.store, bench.suite.host
    if store.has(stage.key):
        return
    who, stream = f"host {host.name}: shown", bench.pictures
    with bench.visit(who):
        state = check_state(who, host.shown(stream, bench.context("host-shown", key=stage.key)))
    store.put(stage.key, to_arrays(state), store.meta(bench.plan.host_training))


def choose(stage: Stage, bench: Bench) -> None:
    """Choose among the snapshots of a method, unless it is done; copies bear training codes."""
    fit = stage.of_fit
    method, count = fit.method.component, len(chunks(bench.plan.choice_images))

    def copies(state: dict[str, Tensor]) -> Iterator[Generator]:
        ctx = bench.context("choice", bits=method.bits)
        for user, code in enumerate(ctx.training_codes(count, ctx.rng("codes"))):
            who = f"{fit.method.label}: issue"
            with bench.visit(who, bench.host_loan):
                host = bench.lent_host()
                made = method.issue(state, host, User(user, code), bench.train_images, ctx)
                issued = check_state(who, made)
                copy = method.assemble(state, host, issued, ctx)
            yield copy

    _choose(bench, fit.method.label, fit.training, fit.key, copies)


def _choose(bench: Bench, who: str, training: str, key: str, copies: Copies) -> None:
    store, plan = bench.store, bench.plan
    if store.has(key):
        return
    states = _States(store, training, plan.snapshots_key(training))
    distances: dict[int, float] = {}
    if plan.chooser is not None and len(states.steps) > 1:
        real = _real(bench, plan.chooser)
        for step in states.steps:
            state = bench.on_device(states.arrays(step))
            features = _features(bench, plan.chooser, f"{who}: step {step}", copies(state))
            distances[step] = fid(real, features)
            bench.context("choice").progress(len(distances), len(states.steps), f"step {step}")
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
    bench: Bench, judge: PlannedBackbone, who: str, copies: Iterable[Generator]
) -> np.ndarray:
    """(N, F) features of images of the same latents, whatever the state."""
    network, check = bench.network(judge), bench.modality.check
    wanted = images_of("choice", bench.plan.choice_images)
    parts = []
    for chunk, generator in zip(chunks(len(wanted)), copies, strict=True):
        images = generator.sample(bench.latents(generator, [wanted[i] for i in chunk]))
        parts.append(network(check(who, images, len(chunk), bench.info)).cpu().numpy())
    return np.concatenate(parts)


def _real(bench: Bench, judge: PlannedBackbone) -> Mapping[str, np.ndarray]:
    """The Gaussian of the first training images; computed once."""
    store = bench.store
    key, count = bench.plan.training_features_key(judge), bench.plan.choice_images
    if not store.has(key):
        stream = SplitStream(bench.dataset, "train", bench.device, count=count)
        network = bench.network(judge)
        features = [network(stream.read(chunk)).cpu().numpy() for chunk in chunks(count)]
        arrays = reference_arrays(np.concatenate(features))
        store.put(key, {k: v for k, v in arrays.items() if k != "features"}, {})
    return store.get(key).arrays
