"""Reads images that bear nobody's code: real ones, the host's, and those of the attacked host."""

from __future__ import annotations

from fpbench.plan import Fit, Stage, Want
from fpbench.plan.pending import pending_of_host, pending_of_real
from fpbench.stages import boundary
from fpbench.stages.bench import Bench, chunks
from fpbench.stages.place import left
from fpbench.stages.reading import Failures, GeneratorReader, ImageReader, by_cell, store_columns
from fpbench.stages.tuning import tuned


def read_negatives(stage: Stage, bench: Bench) -> dict[str, BaseException]:
    """Read all that is pending of a training's negatives; errors by key of the cell."""
    plan, fit, failures = bench.plan, stage.of_fit, Failures()
    real = left({None: pending_of_real(plan, bench.store, fit)}, bench.skip)
    if wants := real.get(None):
        failures |= _read_real(bench, fit, wants)
    if pending := left(pending_of_host(plan, bench.store, fit), bench.skip):
        reader = GeneratorReader(
            bench,
            fit,
            lambda: bench.host.generator,
            origin=("host",),
            key=lambda model: plan.null_key(fit, "host", model),
            latents=lambda model: bench.host_seeds(plan.negatives("host", model)),
            tuned=lambda models: tuned(bench, fit, models),
            sheets=lambda model: plan.sheet_key(fit, None, model),
            drawings=lambda model: plan.drawing_key(fit, None, model),
        )
        failures |= reader.run(pending)
    return by_cell(stage, failures)


def _read_real(bench: Bench, fit: Fit, wants: list[Want]) -> Failures:
    reader = ImageReader(bench, fit, ("real",), wants)
    count, who = bench.plan.negatives("real", None), f"{fit.method.label}: extract"
    with boundary.unharmed(who, bench.host_loan, bench.fit_loan(fit)):
        for chunk in chunks(count):
            reader.read(bench.test_images.read(chunk), chunk)
    store_columns(bench, bench.plan.null_key(fit, "real", None), reader)
    return {(None, point): error for point, error in reader.failures.items()}
