"""All numbers of what is read from a hundred thousand images of 128 bits, with their intervals."""

import numpy as np
import pytest

from fpbench.api import CellEvidence, Outcome
from fpbench.registry import load

COPIES, IMAGES, BITS = 50, 2000, 128
METRICS = ["bit-accuracy", "verification", "detection", "attribution", "false-accusation"]


@pytest.fixture(scope="module")
def evidence():
    rng = np.random.default_rng(0)
    codes = rng.random((COPIES, BITS)) < 0.5

    def column(images, code):
        noise = rng.normal(scale=0.8, size=(images, BITS))
        return {"logits": (noise + code).astype(np.float32)}

    return CellEvidence(
        placement="in-model",
        keeps_sample=True,
        gate=0.9,
        level="none",
        codes=codes,
        users=[(user,) for user in range(COPIES)],
        copies=[column(IMAGES, 2.0 * code - 1) for code in codes],
        negatives={source: column(10_000, np.zeros(BITS)) for source in ("real", "host")},
        clean_host=column(10, np.zeros(BITS)),
        reference=np.zeros((2, 2), np.float32),
        registered=100,
        false_rate=1e-3,
        costs={},
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", [METRICS, *([name] for name in METRICS)], ids="+".join)
def test_measures_of_a_hundred_thousand_readings(benchmark, evidence, names):
    metrics = [metric for metric in load().metrics() if metric.name in names]

    def measure():
        return [row for metric in metrics for row in metric.measure(evidence)]

    benchmark.extra_info.update(images=COPIES * IMAGES, bits=BITS)
    rows = benchmark.pedantic(measure, rounds=3)
    assert len(metrics) == len(names)
    assert all(row.outcome is Outcome.DONE and row.value is not None for row in rows)
