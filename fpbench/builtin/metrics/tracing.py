"""Measures of who is found: attribution among N users, how many N can be, deepfakes.

Letters: N registered users, U issued ones, K bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, CellEvidence, Metric, NoParams, Outcome, Row
from fpbench.builtin.metrics import shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_POPULATIONS = (10**2, 10**4, 10**6)
_DECISIONS = (10, 100)
_TRACED = 0.95
_LARGEST = 18


class Attribution(Metric[NoParams]):
    """Open-set attribution among N registered users at family-wise error α."""

    name = "attribution"
    version = "3"
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
        """Rows by number of users, by images that are decided together, and closed set.

        "" is the suite's N, "n=100", "n=10000", "n=1000000" others; "m=10" and "m=100" decide from
        so many images of one copy at the suite's N; "closed" knows that the user is an issued one.
        """
        from fpbench import stats

        if not evidence.single:
            return []
        if evidence.gives == "presence":
            reason = "the method tells no users apart: it says whether an image is marked at all"
            return [Row(outcome=Outcome.REFUSED, reason=reason)]
        read = shared.reading(evidence)
        wanted = [("", evidence.registered), *((f"n={n}", n) for n in _POPULATIONS)]
        rows = [_open_set(evidence, read.match, read.counts, variant, n) for variant, n in wanted]
        rows += [_together(evidence, read, images) for images in _DECISIONS]
        closed = stats.closed_set(read.match, read.owners)
        detail: dict[str, Any] = {"registered": len(evidence.codes)}
        if evidence.gives == "scores":
            detail |= shared.converged(evidence, float(closed.mean()))
        return [*rows, shared.rate_row(closed, read.counts, "closed", detail)]


def _open_set(
    evidence: CellEvidence,
    match: shared.Seen,
    counts: NDArray[np.int64],
    variant: str,
    registered: int,
    images: int = 1,
) -> Row:
    from fpbench import stats

    if not shared.supported(evidence, registered, images):
        return shared.not_supported(evidence, variant, registered, images)
    traced = stats.open_set(match, match.owners, *shared.asked(evidence, registered, images))
    detail = {
        "registered": registered,
        "false_rate": evidence.false_rate,
        **shared.told(shared.threshold_of(evidence, registered, images)),
        "threshold_rule": shared.rule_of(evidence),
        "wrong": float(traced.wrong.mean()),
        "none": float(traced.none.mean()),
        "issued": len(evidence.codes),
    }
    return shared.rate_row(traced.right, counts, variant, detail)


def _together(evidence: CellEvidence, read: shared.Reading, images: int) -> Row:
    """One decision from several images of a copy: their logits add up, scores are averaged."""
    import numpy as np

    from fpbench import stats

    variant = f"m={images}"
    pooled, groups = stats.pool(read.logits, read.counts, images)
    if not groups.all():
        few = int(read.counts.min())
        reason = f"{few} images of a copy are too few to decide from {images} together"
        return Row(variant, outcome=Outcome.NOT_SUPPORTED, reason=reason)
    owners = np.repeat(np.arange(len(groups)), groups)
    pooled = pooled if evidence.gives == "bits" else pooled / images
    match = shared.match_of(evidence, pooled, owners)
    return _open_set(evidence, match, groups, variant, evidence.registered, images)


class Capacity(Metric[NoParams]):
    """Bits that get through, and how many users that is at stated errors."""

    name = "capacity"
    version = "2"
    Params = NoParams
    unit = "bits; users"
    higher_is_better = True
    bounds = (0.0, None)
    card = Card(
        "Capacity",
        "Shannon 1948; measured",
        "Apache-2.0",
        "L (1 - H2(bit error rate)) bits of one image, of the L bits whose reading varies with the "
        "code; and the largest N (a power of ten) among whom, by the lower 95 % bound, at least "
        f"{_TRACED:.0%} of images are traced right at the suite's false rate.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" (bits) and "users"."""
        from fpbench import stats

        if not evidence.single or evidence.gives != "bits":
            return []
        read = shared.reading(evidence)
        live = _live(read)
        error = float(1 - read.right[:, live].mean()) if live.any() else None
        bits = 0.0 if error is None else stats.capacity(int(live.sum()), error)
        n, clusters = len(read.owners), len(read.counts)
        detail = {"bit_error_rate": error, "dead_bits": int((~live).sum())}
        through = Row(value=bits, n=n, clusters=clusters, detail=detail)
        return [through, self._users(evidence, read)]

    def _users(self, evidence: CellEvidence, read: shared.Reading) -> Row:
        from fpbench import stats

        users, k = evidence.codes.shape
        rate, best, traced = evidence.false_rate, 0, None
        grid = [n for n in (10**e for e in range(1, _LARGEST + 1)) if n >= users]
        possible = [n for n in grid if stats.supports(k, n, rate)]
        if not possible or not evidence.uniform:
            return shared.not_supported(evidence, "users", grid[0])
        # More users never make tracing easier, so the first that fails ends the search.
        for n in possible:
            right = stats.open_set(read.match, read.owners, k, n, rate).right
            found = stats.rate(read.per_copy(right), read.counts)
            if found.value < _TRACED:
                break
            if found.low >= _TRACED:
                best, traced = n, found
        detail = {"false_rate": rate, "least_traced": _TRACED, "supported": possible[-1]}
        if traced is None:
            reason = (
                f"not even among {possible[0]:,} users are at least {_TRACED:.0%} of images surely "
                "traced right, by the lower 95 % bound"
            )
            return Row("users", outcome=Outcome.NOT_SUPPORTED, reason=reason, detail=detail)
        return Row(
            "users",
            float(best),
            n=len(read.owners),
            clusters=len(read.counts),
            detail={
                **detail,
                "traced": traced.value,
                "traced_low": traced.low,
                **shared.few_copies(len(read.counts)),
            },
        )


def _live(read: shared.Reading) -> NDArray[np.bool_]:
    """(K,) bits whose reading varies; where all owners' codes have one value, nobody can tell."""
    readings, codes = read.logits > 0, read.codes[read.owners]
    varies, asked = (readings != readings[0]).any(axis=0), (codes != codes[0]).any(axis=0)
    live: NDArray[np.bool_] = varies | ~asked
    return live


class Deepfake(Metric[NoParams]):
    """Real or generated, and by which of the issued models (Yu et al. 2022)."""

    name = "deepfake"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Deepfake detection and attribution",
        "Yu et al. 2022",
        "Apache-2.0",
        "Detection: an image is called generated where a registered code fits it; the mean of the "
        "shares of generated images and of real images that are called right. Attribution: which "
        "of the issued models, where all images come from them (closed world) and where half of "
        "them come from models that are not registered (open world).",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "detection", "auroc", "closed" and "open", where there are real images."""
        import numpy as np

        from fpbench import stats

        if not evidence.single or "real" not in evidence.negatives:
            return []
        read = shared.reading(evidence)
        real = shared.negative_match(evidence, "real")
        area = stats.auroc(read.match.best, real.best)
        n, clusters = len(read.owners), len(read.counts)
        rows = [Row("auroc", area, n=n, clusters=clusters, detail={"real": real.images})]
        users = evidence.gives != "presence"
        if users:
            closed, models = stats.closed_set(read.match, read.owners), len(evidence.codes)
            rows.append(shared.rate_row(closed, read.counts, "closed", {"models": models}))
        # Of a user who is left out no other column may depend on him.
        left_out = users and (evidence.gives == "bits" or evidence.separable)
        if not shared.supported(evidence):
            lacking = ("detection", "open") if left_out else ("detection",)
            return [*rows, *(shared.not_supported(evidence, variant) for variant in lacking)]
        asked = shared.asked(evidence)
        found = stats.detection(read.match, *asked)
        spared = 1 - stats.accused(real, *asked)
        each = np.ones(real.images, dtype=np.int64)
        rows.append(halves_row("detection", (found, read.counts), (spared, each)))
        if left_out:
            right = stats.open_set(read.match, read.owners, *asked).right
            unknown = 1 - stats.unregistered(read.match, read.owners, *asked)
            rows.append(halves_row("open", (right, read.counts), (unknown, read.counts)))
        return rows


def halves_row(
    variant: str,
    first: tuple[NDArray[np.float64], NDArray[np.int64]],
    second: tuple[NDArray[np.float64], NDArray[np.int64]],
    detail: Mapping[str, object] | None = None,
) -> Row:
    """The mean of two rates, each (shares of images, images of each cluster).

    Args:
        variant: of the row.
        first: of images of copies; their number of clusters is the row's.
        second: of the other images.
        detail: of the row; both rates are added.
    """
    import math

    from fpbench import stats

    a, b = (stats.rate(shared.sums(shares, counts), counts) for shares, counts in (first, second))
    value = (a.value + b.value) / 2
    # The distances from each rate to its own limits, as of independent rates (Zou and Donner 2008).
    below = math.hypot(a.value - a.low, b.value - b.low) / 2
    above = math.hypot(a.high - a.value, b.high - b.value) / 2
    return Row(
        variant,
        value,
        low=max(value - below, 0.0),
        high=min(value + above, 1.0),
        rule=f"MOVER of {stats.RATE_RULE}",
        n=a.n + b.n,
        clusters=a.clusters,
        detail={
            **(detail or {}),
            "copies": a.value,
            "others": b.value,
            **shared.few_copies(a.clusters),
        },
    )
