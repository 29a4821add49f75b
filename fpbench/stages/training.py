"""Trains host and methods, and chooses among the states that a training kept."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from fpbench.api import Host, Method, OutOfMemory, StageError
from fpbench.plan import Fit, Stage
from fpbench.plan.identity import planned_files
from fpbench.plan.points import fits_on_training, trains_generator
from fpbench.stages import boundary, resources
from fpbench.stages.bench import Bench
from fpbench.stages.checks import check_state
from fpbench.stages.context import StageContext, to_arrays


def train_host(stage: Stage, bench: Bench) -> None:
    """Train the host, unless the store has it."""
    host = bench.suite.host
    _train_host(stage, bench, host, f"host {host.name}: fit")


def train_stranger(stage: Stage, bench: Bench) -> None:
    """Train a generator that is nobody's, unless the store has it."""
    key = stage.key
    found = next(s for s in bench.suite.strangers if bench.plan.strangers[s.label] == key)
    _train_host(stage, bench, found.component, f"stranger {found.label}: fit")


def _train_host(stage: Stage, bench: Bench, host: Host[Any], who: str) -> None:
    if not bench.store.has(stage.key):
        bench.dataset.verify()

    def body(ctx: StageContext) -> object:
        with bench.visit(who):
            return host.fit(bench.train_images, ctx)

    def context(pieces: int) -> StageContext:
        snapshots = bench.suite.training.snapshots
        return bench.context("host-fit", key=stage.key, accumulation=pieces, snapshots=snapshots)

    _train(bench, stage.key, who, context, body)


def train_method(stage: Stage, bench: Bench) -> None:
    """Train a method, unless the store has it."""
    fit = stage.of_fit
    method, who = fit.trainer, f"{fit.method.label}: fit"
    if not bench.store.has(stage.key):
        _check_files(who, fit.method.component)

    def body(ctx: StageContext) -> object:
        if not method.uses_host:
            with bench.visit(who):
                return method.fit(boundary.no_host(bench.suite.host, who), bench.train_images, ctx)
        early = fits_on_training(bench.suite.host, fit.method)
        key = bench.plan.host_training if early else bench.plan.host_key
        loan = bench.host_loan_of(key)
        with bench.visit(who, loan):
            lent = boundary.lent_host(bench.trained_host(key), loan)
            return method.fit(lent, bench.train_images, ctx)

    _train(bench, stage.key, who, lambda pieces: _method_context(bench, fit, pieces), body)


def _check_files(who: str, method: Method[Any]) -> None:
    """See that the files that a method computes with are those of the plan, and of its key."""
    planned, found = planned_files(method), method.digest()
    if found != planned:
        raise StageError(
            f"{who}: expected the files of the plan, with the digest {planned or 'of none'}, got "
            f"{found or 'none'}; run again, which plans with what is there now"
        )


def _method_context(bench: Bench, fit: Fit, pieces: int) -> StageContext:
    method = fit.method.component
    return bench.context(
        "fit",
        fit.drawn_from,
        key=fit.training,
        bits=method.bits,
        accumulation=pieces,
        snapshots=bench.suite.training.snapshots if trains_generator(fit.method) else 0,
    )


def _train(
    bench: Bench,
    key: str,
    who: str,
    context: Callable[[int], StageContext],
    body: Callable[[StageContext], object],
) -> None:
    """Run a training; once more with half the batch at a time if it does not fit."""
    if bench.store.has(key):
        return
    cuda = bench.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(bench.device)
    with resources.Peak() as peak:
        ctx, fitted = context(1), None
        try:
            fitted = body(ctx)
        except (MemoryError, RuntimeError) as error:
            # The other processes of a group are in the middle of a step.
            if not _out_of_memory(error) or bench.peers.count > 1:
                raise
        # Behind the handler: an error in hand keeps alive all that filled the memory.
        if fitted is None:
            ctx = context(2)
            fitted = _train_in_halves(bench, who, ctx, body)
        state = check_state(who, fitted)
    if bench.peers.rank:
        return
    cost: dict[str, float] = {"wall_s": ctx.elapsed_s, "peak_memory_bytes": peak.bytes}
    if cuda:
        cost["peak_gpu_bytes"] = torch.cuda.max_memory_allocated(bench.device)
    meta = {
        "cost": cost,
        "phases": list(ctx.curves),  # in order; JSON sorts names
        "curves": ctx.curves,
        "rates": ctx.rates,
        "precision": ctx.precision,
        "pieces": ctx.accumulation,
        "devices": bench.peers.count,
        "device": str(bench.device),
    }
    bench.store.put(bench.plan.training_images_key(key), ctx.sheets, {})
    bench.store.put(key, to_arrays(state), meta)
    bench.store.drop_checkpoints(key)


def _train_in_halves(
    bench: Bench, who: str, ctx: StageContext, body: Callable[[StageContext], object]
) -> object:
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return body(ctx)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise OutOfMemory(
            f"{who}: expected to fit into the memory of {bench.device}, got out of memory with "
            f"half the batch at a time too ({first}); use smaller images "
            "or networks, or a larger device"
        ) from None


def _out_of_memory(error: BaseException) -> bool:
    """Whether memory is what is lacking; torch has no class of its own for that of a CPU."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "can't allocate memory" in str(error)
    )
