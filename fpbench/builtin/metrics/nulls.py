"""Diagnostics of what is read from images that carry no code."""

from __future__ import annotations

from collections.abc import Sequence

from fpbench.api import Card, CellEvidence, Metric, NoParams, Row

_BINS = 20


class UnmarkedBits(Metric[NoParams]):
    """Whether bits of unmarked images are fair and independent.

    Exact thresholds hold on average over uniform codes whatever the bits look like. How much worse
    a single user may fare depends on them.
    """

    name = "unmarked-bits"
    version = "1"
    Params = NoParams
    unit = "bits"
    higher_is_better = True
    bounds = (0.0, None)
    card = Card(
        "Bits of unmarked images",
        "participation ratio of the correlation matrix (Bretherton et al. 1999)",
        "Apache-2.0",
        "How many independent bits would scatter as those do that are read from images without a "
        "code. Far fewer than K, or bits that lean to one side, mean that some users are accused "
        "falsely more often than others.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row for each source of negatives, of untouched images."""
        import numpy as np

        from fpbench import stats

        if evidence.level != "none" or (evidence.gives, evidence.reads) != ("bits", "samples"):
            return []
        rows = []
        for source in sorted(evidence.negatives):
            bits = np.asarray(evidence.negatives[source]["logits"]) > 0
            found = stats.null_bits(bits)
            pairs = stats.correlations(bits)[np.triu_indices(bits.shape[1], 1)]
            histogram, _ = np.histogram(pairs[~np.isnan(pairs)], bins=_BINS, range=(-1, 1))
            detail = {
                "bits": bits.shape[1],
                "ones": found.ones.tolist(),
                "largest_bias": found.largest_bias,
                "constant": found.constant,
                "square_correlation": found.square_correlation,
                "square_correlation_by_chance": found.square_correlation_by_chance,
                "largest_correlation": found.largest_correlation,
                # Pairs of bits by their correlation, from -1 to 1 in equal steps.
                "correlations": histogram.tolist(),
            }
            rows.append(Row(source, found.effective_bits, n=found.images, detail=detail))
        return rows
