"""Whether it shows that there is a fingerprint."""

from __future__ import annotations

from collections.abc import Sequence

from fpbench.api import Card, CellEvidence, Metric, NoParams, Outcome, Row
from fpbench.builtin.metrics import shared
from fpbench.builtin.metrics.tracing import halves_row


class Secrecy(Metric[NoParams]):
    """How well a detector tells copies of users it has never seen from the host."""

    name = "secrecy"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (0.0, 1.0)
    card = Card(
        "Secrecy",
        "Yu et al. 2022",
        "Apache-2.0",
        "Accuracy of a small network that was trained on other users' copies against host images, "
        "on unseen copies and unseen host images, half and half; 0.5 means that it found nothing. "
        "Where the method trains a generator of its own, the detector may see that instead of the "
        "fingerprint.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" (accuracy) and "auroc" of the untouched cell, where the suite asks for them."""
        import numpy as np

        from fpbench import stats

        found = evidence.secrecy
        if evidence.level != "none" or not (found or evidence.secrecy_refused):
            return []
        if not found:
            return [Row(outcome=Outcome.REFUSED, reason=evidence.secrecy_refused)]
        copies, host = found["copies"], found["host"]
        counts = np.full(len(copies), copies.shape[1])
        each = np.ones(len(host), dtype=np.int64)
        row = halves_row(
            "",
            ((copies > 0).ravel().astype(np.float64), counts),
            ((host <= 0).astype(np.float64), each),
            {
                "seen_accuracy": float((found["seen"] > 0).mean()),
                "same_training": evidence.builds_on_host,
            },
        )
        area = stats.auroc(copies, host)
        detail = shared.few_copies(len(copies))
        return [row, Row("auroc", area, n=row.n, clusters=row.clusters, detail=detail)]
