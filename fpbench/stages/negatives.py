"""Reads what bears no registered user's mark: real images, the host's, strangers', outsiders'."""

from __future__ import annotations

from collections.abc import Callable

from fpbench.api import Generator
from fpbench.plan import AttackPoint, Fit, Stage, Want
from fpbench.plan.pending import Pending, pending_of
from fpbench.plan.plan import OUTSIDERS
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, chunks
from fpbench.stages.issue import copy_of
from fpbench.stages.place import left
from fpbench.stages.reading import Failures, GeneratorReader, ImageReader, by_cell, store_columns
from fpbench.stages.tuning import tuned


def read_negatives(stage: Stage, bench: Bench) -> dict[str, BaseException]:
    """Read all that is pending of a training's negatives; errors by key of the cell."""
    plan, fit, failures = bench.plan, stage.of_fit, Failures()
    for source in plan.sources(fit, None):
        pending = left(pending_of(plan, bench.store, fit, source), bench.skip)
        if not pending:
            continue
        if source == "real":
            failures |= _read_real(bench, fit, pending[None])
        elif source == OUTSIDERS:
            failures |= _read_outsiders(bench, fit, pending[None])
        else:
            failures |= _read_generator(bench, fit, source, pending)
    return by_cell(stage, failures)


def _read_generator(bench: Bench, fit: Fit, source: str, pending: Pending) -> Failures:
    """Of the host, or of a stranger, which draws from the same seeds and is kept nowhere."""
    plan, host = bench.plan, source == "host"

    def subject() -> Generator:
        return bench.host.generator if host else bench.stranger(source)

    def kept(name: Callable[[Fit, None, AttackPoint | None], str]) -> Callable[..., str]:
        return lambda model: name(fit, None, model) if host else ""

    reader = GeneratorReader(
        bench,
        fit,
        subject,
        origin=("host",) if host else ("stranger", source),
        key=lambda model: plan.null_key(fit, source, model),
        images=lambda model: bench.host_images(plan.negatives(source, model)),
        tuned=lambda models: tuned(bench, fit, models),
        sheets=kept(plan.sheet_key),
        drawings=kept(plan.drawing_key),
    )
    return reader.run(pending)


def _read_real(bench: Bench, fit: Fit, wants: list[Want]) -> Failures:
    reader = ImageReader(bench, fit, ("real",), wants)
    count, who = bench.plan.negatives("real", None), f"{fit.method.label}: extract"
    with boundary.unharmed(who, *bench.loans(fit)):
        for chunk in chunks(count):
            reader.read(bench.test_images.read(chunk), chunk)
    store_columns(bench, bench.plan.null_key(fit, "real", None), reader)
    return {(None, point): error for point, error in reader.failures.items()}


def _read_outsiders(bench: Bench, fit: Fit, wants: list[Want]) -> Failures:
    """Of copies that were issued to users who are not registered, one behind the other."""
    images, reader = bench.suite.population.images, ImageReader(bench, fit, (OUTSIDERS,), wants)
    who = f"{fit.method.label}: extract"
    for number, user in enumerate(bench.plan.outsiders(fit)):
        copy = copy_of(bench, fit, user)
        with boundary.unharmed(who, *bench.loans(fit)):
            for chunk in chunks(images):
                latents = bench.latents(copy, [(user, int(i)) for i in chunk])
                reader.read(boundary.drawn(copy, latents), number * images + chunk)
    store_columns(bench, bench.plan.null_key(fit, OUTSIDERS, None), reader)
    return {(None, point): error for point, error in reader.failures.items()}
