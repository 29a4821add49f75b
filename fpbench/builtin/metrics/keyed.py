"""What Kim, Ren and Yang (2021) measure of scores, by the method's own rule: above 0 means yes."""

from __future__ import annotations

from collections.abc import Sequence

from fpbench.api import Card, CellEvidence, Metric, NoParams, Row
from fpbench.builtin.metrics import shared


class Attributability(Metric[NoParams]):
    """Share of images on which their own user's score is above 0 and all others are below."""

    name = "attributability"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Attributability",
        "Kim, Ren, Yang 2021, eq. 1 and 2",
        "Apache-2.0",
        "By the method's own threshold 0: the share of images that their own user's key fires on "
        "while all others stay below. Beside it distinguishability, the mean of the shares of own "
        "images that fire and of real images that do not. Nothing is calibrated, so that no false "
        "rate is promised.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" and, where there are real images, "distinguishability"."""
        import numpy as np

        from fpbench import stats

        if not evidence.single or evidence.gives != "scores":
            return []
        read = shared.reading(evidence)
        users, real = len(evidence.codes), evidence.negatives.get("real")
        own = read.logits[np.arange(len(read.owners)), read.owners] > 0
        alone = own & ((read.logits < 0).sum(axis=1) == users - 1)
        rows = [shared.rate_row(alone, read.counts)]
        # An attack may be run on fewer copies than there are users.
        if real is not None and len(read.counts) == users:
            found = stats.attributability(read.logits, read.owners, real["logits"])
            value, clusters = float(found.distinguishability.mean()), len(read.counts)
            rows.append(Row("distinguishability", value, n=len(own), clusters=clusters))
        return rows
