"""All numbers of what is read from many images, and from few images of many copies."""

from dataclasses import replace

import numpy as np
import pytest

from fpbench.api import CellEvidence, Outcome
from fpbench.registry import load

COPIES, IMAGES, BITS = 50, 2000, 128
METRICS = ["bit-accuracy", "verification", "detection", "attribution", "false-accusation"]


def drawn(copies, images, bits, registered):
    rng = np.random.default_rng(0)
    codes = rng.random((copies, bits)) < 0.5

    def column(images, code):
        noise = rng.normal(scale=0.8, size=(images, bits))
        return {"logits": (noise + code).astype(np.float32)}

    return CellEvidence(
        placement="in-model",
        keeps_sample=True,
        gate=0.9,
        level="none",
        codes=codes,
        users=[(user,) for user in range(copies)],
        copies=[column(images, 2.0 * code - 1) for code in codes],
        negatives={source: column(10_000, np.zeros(bits)) for source in ("real", "host")},
        clean_host=column(10, np.zeros(bits)),
        reference=np.zeros((2, 2), np.float32),
        registered=registered,
        false_rate=1e-3,
        costs={},
    )


@pytest.fixture(scope="module")
def evidence():
    return drawn(COPIES, IMAGES, BITS, registered=100)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", [METRICS, *([name] for name in METRICS)], ids="+".join)
def test_measures_of_a_hundred_thousand_readings(benchmark, evidence, names):
    metrics = [metric for metric in load().metrics() if metric.name in names]

    def measure():
        cell = replace(evidence)  # of which nothing is counted yet
        return [row for metric in metrics for row in metric.measure(cell)]

    benchmark.extra_info.update(images=COPIES * IMAGES, bits=BITS)
    rows = benchmark.pedantic(measure, rounds=3)
    assert len(metrics) == len(names)
    assert all(row.outcome is Outcome.DONE and row.value is not None for row in rows)


@pytest.mark.timeout(300)
def test_measures_of_ten_thousand_copies(benchmark):
    metrics = [metric for metric in load().metrics() if metric.name in METRICS]
    evidence = drawn(10_000, 2, 32, registered=100_000)

    def measure():
        cell = replace(evidence)  # of which nothing is counted yet
        return [row for metric in metrics for row in metric.measure(cell)]

    benchmark.extra_info.update(images=20_000, bits=32)
    rows = benchmark.pedantic(measure, rounds=3)
    assert sum(row.outcome is Outcome.DONE for row in rows) > len(METRICS)
