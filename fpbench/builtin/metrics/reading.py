"""Measures of what is read: accuracy, verification, detection, attribution, false accusations.

All are functions of stored logits and issued codes. Letters: N images, K bits, U issued users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, CellEvidence, Metric, NoParams, Outcome, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fpbench.stats import Interval

_RATES = (1e-2, 1e-3, 1e-6)
_POPULATIONS = (10**2, 10**4, 10**6)


@dataclass(frozen=True)
class _Read:
    """Readings of a cell, images of all its copies stacked."""

    right: NDArray[np.bool_]  # (N, K) which bits are right
    match: NDArray[np.int64]  # (N, U) equal bits with every issued code
    owners: NDArray[np.int64]  # (N,)
    counts: NDArray[np.int64]  # (C,) images of each copy

    def per_copy(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(C,) sums of per-image values over each copy."""
        import numpy as np

        ends = np.cumsum(self.counts)
        return np.add.reduceat(values.astype(np.float64), np.r_[0, ends[:-1]])


def _read(evidence: CellEvidence) -> _Read:
    import numpy as np

    from fpbench import stats

    logits = [np.asarray(column["logits"]) for column in evidence.copies]
    bits = np.concatenate(logits) > 0
    counts = np.array([len(part) for part in logits])
    owners = np.repeat(np.arange(len(logits)), counts)
    match = stats.matches(bits, evidence.codes)
    return _Read(bits == evidence.codes[owners], match, owners, counts)


def _row(interval: Interval, **more: object) -> Row:
    return Row(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        rule=interval.rule,
        n=interval.n,
        clusters=interval.clusters,
        **more,  # type: ignore[arg-type]
    )


def rate_row(successes: Any, counts: NDArray[np.int64], **more: object) -> Row:
    """A rate with its clustered interval.

    Args:
        successes: (N,) in [0, 1], images of the clusters one behind the other.
        counts: (C,) images of each cluster.
        more: further fields of the row.
    """
    import numpy as np

    from fpbench import stats

    ends = np.cumsum(counts)
    sums = np.add.reduceat(np.asarray(successes, dtype=np.float64), np.r_[0, ends[:-1]])
    return _row(stats.rate(sums, counts), by_copy=list(sums / counts), **more)


def not_supported(variant: str, bits: int, registered: int, rate: float) -> Row:
    """A row for a number that so few bits cannot give."""
    return Row(
        variant=variant,
        outcome=Outcome.NOT_SUPPORTED,
        reason=f"{bits} bits cannot tell {registered:,} users apart at a false rate of {rate:g}"
        if registered > 1
        else f"{bits} bits have no threshold with a false rate of {rate:g}",
    )


class BitAccuracy(Metric[NoParams]):
    """Mean share of right bits; beside it the share of images with all K bits right."""

    name = "bit-accuracy"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Bit accuracy", "Yu et al. 2022", "Apache-2.0", "Mean share of right bits; chance is 0.5."
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" (bits) and "code" (all bits)."""
        import numpy as np

        from fpbench import stats

        if not evidence.single:
            return []
        read = _read(evidence)
        copies = read.per_copy(read.right.mean(axis=1)) / read.counts
        interval = stats.mean(copies)
        k = evidence.codes.shape[1]
        detail = {
            "gate": evidence.gate,
            "converged": bool(interval.value >= evidence.gate),
            "per_bit": (~read.right).mean(axis=0).tolist(),
            "capacity_bits": float(stats.capacity(k, float(1 - read.right.mean()))),
        }
        bits = Row(
            value=interval.value,
            low=None if np.isnan(interval.low) else max(interval.low, 0.0),
            high=None if np.isnan(interval.high) else min(interval.high, 1.0),
            rule=interval.rule,
            n=len(read.owners),
            clusters=interval.clusters,
            by_copy=list(copies),
            detail=detail,
        )
        return [bits, rate_row(read.right.all(axis=1), read.counts, variant="code")]


class Verification(Metric[NoParams]):
    """TPR of matching one claimed code at exact FPR 1e-2, 1e-3, 1e-6."""

    name = "verification"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Verification",
        "exact binomial tail",
        "Apache-2.0",
        "Share of images whose match with the owner's code reaches the threshold of one code.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row for each false rate, with the realised rates of every source of negatives."""
        import numpy as np

        from fpbench import stats

        if not evidence.single:
            return []
        read = _read(evidence)
        k = evidence.codes.shape[1]
        rows = []
        for rate in _RATES:
            variant = f"fpr={rate:g}"
            t = stats.threshold(k, rate)
            if t is None:
                rows.append(not_supported(variant, k, 1, rate))
                continue
            accepted = stats.verification(read.match, read.owners, k, rate)
            detail = {
                "threshold_bits": t,
                "false_rate_exact": float(np.exp(stats.log_tail(k, t))),
                "threshold_rule": "exact binomial tail",
                "realised": {
                    source: _realised(false, n)
                    for source, false, n in self._false(evidence, read, k, rate)
                },
            }
            rows.append(rate_row(accepted, read.counts, variant=variant, detail=detail))
        return rows

    def _false(
        self, evidence: CellEvidence, read: _Read, k: int, rate: float
    ) -> list[tuple[str, NDArray[np.float64], int]]:
        import numpy as np

        from fpbench import stats

        found = [("other users", read.match, read.owners)]
        for source, column in evidence.negatives.items():
            match = stats.matches(np.asarray(column["logits"]) > 0, evidence.codes)
            found.append((source, match, None))  # type: ignore[arg-type]
        return [
            (source, stats.false_verification(match, owners, k, rate), len(match))
            for source, match, owners in found
        ]


def _realised(per_user: NDArray[np.float64], images: int) -> dict[str, float]:
    """Mean and worst user's false rate, and the images that each user's rate is counted on."""
    import numpy as np

    return {
        "mean": float(np.nanmean(per_user)),
        "worst_user": float(np.nanmax(per_user)),
        "images": images,
        "codes": len(per_user),
    }


class Detection(Metric[NoParams]):
    """TPR of "any registered user's image" at the suite's N and α, and AUROC."""

    name = "detection"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Detection",
        "exact binomial tail",
        "Apache-2.0",
        "Share of images whose largest match over N registered users reaches the threshold.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" and "auroc"."""
        import numpy as np

        from fpbench import stats

        if not evidence.single:
            return []
        read = _read(evidence)
        k, n, rate = evidence.codes.shape[1], evidence.registered, evidence.false_rate
        rows = []
        if stats.supports(k, n, rate):
            found = stats.detection(read.match, k, n, rate)
            detail = {"registered": n, "false_rate": rate}
            rows.append(rate_row(found, read.counts, detail=detail))
        else:
            rows.append(not_supported("", k, n, rate))
        negative = np.concatenate([c["logits"] for c in evidence.negatives.values()]) > 0
        best = stats.matches(negative, evidence.codes).max(axis=1)
        # All images of a copy have one owner, so AUROC has no simple interval; it is shown alone.
        area = stats.auroc(read.match.max(axis=1), best)
        detail = {"negatives": len(best), "issued": len(evidence.codes)}
        rows.append(
            Row("auroc", area, n=len(read.owners), clusters=len(read.counts), detail=detail)
        )
        return rows


class Attribution(Metric[NoParams]):
    """Open-set attribution among N registered users at family-wise error α."""

    name = "attribution"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Attribution",
        "open set, exact distractors",
        "Apache-2.0",
        "Share of images traced to their own user among N registered ones, where an image of "
        "nobody is traced to anybody with probability at most alpha.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" (the suite's N), "n=100", "n=10000", "n=1000000" and "closed" (issued only)."""
        from fpbench import stats

        if not evidence.single:
            return []
        read = _read(evidence)
        k = evidence.codes.shape[1]
        rows = []
        wanted = [("", evidence.registered), *((f"n={n}", n) for n in _POPULATIONS)]
        for variant, n in wanted:
            if n < len(evidence.codes) or not stats.supports(k, n, evidence.false_rate):
                rows.append(not_supported(variant, k, n, evidence.false_rate))
                continue
            traced = stats.open_set(read.match, read.owners, k, n, evidence.false_rate)
            detail = {
                "registered": n,
                "false_rate": evidence.false_rate,
                "threshold_bits": stats.threshold(k, evidence.false_rate, n),
                "threshold_rule": "exact binomial tail over N codes",
                "wrong": float(traced.wrong.mean()),
                "none": float(traced.none.mean()),
                "issued": len(evidence.codes),
            }
            rows.append(rate_row(traced.right, read.counts, variant=variant, detail=detail))
        closed = stats.closed_set(read.match, read.owners)
        detail = {"registered": len(evidence.codes)}
        rows.append(rate_row(closed, read.counts, variant="closed", detail=detail))
        return rows


class FalseAccusation(Metric[NoParams]):
    """P(any registered user is accused) for images of none of them, by source."""

    name = "false-accusation"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (0.0, 1.0)
    card = Card(
        "False accusation",
        "measured on negatives",
        "Apache-2.0",
        "Share of images of nobody that are traced to a registered user: real images, host images, "
        "and images of users who are not registered.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row for each source; the interval's upper end is one-sided, 95 %."""
        import numpy as np

        from fpbench import stats

        if not evidence.single:
            return []
        k, n, rate = evidence.codes.shape[1], evidence.registered, evidence.false_rate
        sources = [*sorted(evidence.negatives), "unregistered"]
        if n < len(evidence.codes) or not stats.supports(k, n, rate):
            return [not_supported(source, k, n, rate) for source in sources]
        if not evidence.single:
            return []
        read = _read(evidence)
        t = stats.threshold(k, rate, n)
        assert t is not None  # supported, as was asked above
        rows = []
        for source in sorted(evidence.negatives):
            bits = np.asarray(evidence.negatives[source]["logits"]) > 0
            match = stats.matches(bits, evidence.codes)
            accused = stats.accused(match, k, n, rate)
            hits = int((match.max(axis=1) >= t).sum())
            # Issued codes are counted, distractors are exact; together they accuse anybody.
            spared = float(stats.survives(k, np.array(t), n - len(evidence.codes)))
            bound = 1 - (1 - stats.upper_bound(hits, len(match))) * spared
            worst = int((match >= t).sum(axis=0).max())
            detail = {"accused": hits, "allowed": rate, "worst_user_images": worst}
            rows.append(
                Row(
                    source,
                    float(accused.mean()),
                    high=bound,
                    rule="clopper-pearson, one-sided",
                    n=len(match),
                    clusters=len(match),
                    detail=detail,
                )
            )
        accused = stats.unregistered(read.match, read.owners, k, n, rate)
        rows.append(
            rate_row(accused, read.counts, variant="unregistered", detail={"allowed": rate})
        )
        return rows
