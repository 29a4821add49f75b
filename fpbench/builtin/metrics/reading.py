"""Measures of what is read: accuracy, verification, detection, false accusations.

All are functions of stored logits and issued codes. Letters: N images, K bits, U issued users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpbench.api import Card, CellEvidence, Metric, NoParams, Outcome, Row
from fpbench.builtin.metrics import shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_CHANCE = 0.5
_ROUNDING = 1e-5  # of the largest feature: images in other places of a batch differ by less
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class BitAccuracy(Metric[NoParams]):
    """Mean share of right bits; beside it the share of images with all K bits right."""

    name = "bit-accuracy"
    version = "3"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Bit accuracy",
        "Yu et al. 2022",
        "Apache-2.0",
        "Mean share of right bits; chance is 0.5. Beside it, as a control, the share of bits that "
        "agree with another user's code: it must be chance.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "" (bits), "code" (all bits) and, untouched, "wrong-key" (another user's code)."""
        if not evidence.single or evidence.gives != "bits":
            return []
        read = shared.reading(evidence)
        right = read.right
        detail = {
            "gate": evidence.gate,
            "converged": bool(right.mean() >= evidence.gate),
            "per_bit": (~right).mean(axis=0).tolist(),
        }
        if alike(evidence):
            detail |= {"converged": False, "unconverged": "all images of the copies are alike"}
        accuracy = _share_row(right.mean(axis=1), read, "", detail)
        if accuracy.high is not None and accuracy.high < _CHANCE:
            # Whoever attacks may turn such a reading round; accuracies below chance are no safety.
            accuracy = replace(accuracy, detail={**accuracy.detail, "inverted": True})
        rows = [
            accuracy,
            shared.rate_row(right.all(axis=1), read.counts, "code"),
        ]
        if evidence.level == "none" and evidence.uniform:
            others = (read.owners + 1) % len(evidence.codes)
            agree = (read.logits > 0) == evidence.codes[others]
            rows.append(_share_row(agree.mean(axis=1), read, "wrong-key", {"chance": _CHANCE}))
        return rows


def alike(evidence: CellEvidence) -> bool:
    """Whether each untouched copy draws one image again and again, up to rounding."""
    import numpy as np

    if evidence.level != "none":
        return False
    name = "features" if "features" in evidence.copies[0] else "logits"
    columns = [np.asarray(column[name]) for column in evidence.copies]
    return all(
        len(c) > 1 and bool(np.allclose(c, c[0], rtol=0, atol=_ROUNDING * np.abs(c).max()))
        for c in columns
    )


def _share_row(
    shares: NDArray[Any], read: shared.Reading, variant: str, detail: dict[str, Any]
) -> Row:
    import numpy as np

    from fpbench import stats

    copies = read.per_copy(shares) / read.counts
    interval = stats.mean(copies, trials=read.counts * read.logits.shape[1])
    return Row(
        variant,
        value=interval.value,
        low=None if np.isnan(interval.low) else interval.low,
        high=None if np.isnan(interval.high) else interval.high,
        rule=interval.rule,
        n=len(read.owners),
        clusters=interval.clusters,
        by_copy=list(copies),
        detail={**detail, **shared.few_copies(len(copies))},
    )


class Verification(Metric[NoParams]):
    """TPR of matching one claimed code at exact FPR 1e-2, 1e-3, 1e-6."""

    name = "verification"
    version = "3"
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
        if not evidence.single or evidence.gives == "presence":
            return []
        read = shared.reading(evidence)
        k = evidence.codes.shape[1]
        sources = {"other users": read.match} | {
            source: shared.negative_match(evidence, source) for source in evidence.negatives
        }
        rows = []
        for rate in shared.CLAIM_RATES:
            variant = f"fpr={rate:g}"
            t = shared.claim_threshold(evidence, rate)
            if t is None:
                reason = f"{k} bits have no threshold with a false rate of {rate:g}"
                if evidence.gives != "bits":
                    reason = f"too few negatives to calibrate a false rate of {rate:g}"
                rows.append(Row(variant, outcome=Outcome.NOT_SUPPORTED, reason=reason))
                continue
            detail = {
                **shared.told(t),
                "false_rate_exact": shared.claim_tail(evidence, t),
                "threshold_rule": shared.rule_of(evidence),
                "realised": {
                    source: _realised(match, t, rate) for source, match in sources.items()
                },
            }
            rows.append(shared.rate_row(read.match.own >= t, read.counts, variant, detail))
        return rows


def _realised(match: shared.Seen, t: float, rate: float) -> dict[str, Any]:
    """False rate of claims of all U codes: mean with its bound, worst user, counts behind it.

    The claims of one image are not independent, so images are the clusters of the bound.
    """
    import numpy as np

    from fpbench import stats

    hits = match.hits(t)
    by_user = hits.by_code / np.maximum(match.foreign, 1)
    found = {"images": match.images, "codes": match.codes, "worst_user": float(by_user.max())}
    claims = match.codes - (match.owners is not None)
    if not claims:  # a single issued user has no others
        return {**found, "mean": float("nan"), "bound": 1.0}
    # One-sided 95 % is the upper end of a two-sided interval at 90 %.
    bound = stats.rate(hits.by_image, np.full(match.images, claims), level=0.9)
    return {
        **found,
        "mean": bound.value,
        "bound": bound.high,
        **shared.unproven(bound.high, rate),
    }


class Detection(Metric[NoParams]):
    """TPR of "any registered user's image" at the suite's N and α, AUROC and average precision."""

    name = "detection"
    version = "3"
    Params = NoParams
    unit = ""
    higher_is_better = True
    bounds = (0.0, 1.0)
    card = Card(
        "Detection",
        "exact binomial tail",
        "Apache-2.0",
        "Share of images whose largest match over N registered users reaches the threshold, or "
        "whose one score does where no users are told apart.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "", "auroc", "ap"; where no users are told apart, "on SOURCE" of each source.

        The detail of "" has quantiles of the images' p-values.
        """
        import numpy as np

        from fpbench import stats

        if not evidence.single:
            return []
        read = shared.reading(evidence)
        k, n, rate = evidence.codes.shape[1], evidence.registered, evidence.false_rate
        best = read.match.best
        if shared.supported(evidence):
            found = stats.detection(read.match, *shared.asked(evidence))
            detail = {
                "registered": n,
                "false_rate": rate,
                **shared.told(shared.threshold_of(evidence)),
                "threshold_rule": shared.rule_of(evidence),
            }
            if evidence.uniform:
                # Lower is surer: the chance that any of N uniform codes fits an image as well.
                p_values = stats.log_any_tail(k, np.arange(k + 1), n)[best] / np.log(10)
                quantiles = np.quantile(p_values, _QUANTILES)
                detail["log10_p"] = dict(zip(map(str, _QUANTILES), quantiles, strict=True))
            rows = [shared.rate_row(found, read.counts, "", detail)]
        else:
            rows = [shared.not_supported(evidence)]
        matches = [shared.negative_match(evidence, source) for source in shared.silent(evidence)]
        if not matches:  # under an attack on the model no real image is read again
            return rows + self._sources(evidence)
        negative = np.concatenate([match.best for match in matches])
        detail = {"negatives": len(negative), "issued": len(evidence.codes)}
        n, clusters, area = len(read.owners), len(read.counts), stats.auroc(best, negative)
        if evidence.gives == "presence":
            detail |= shared.converged(evidence, area)
        # All images of a copy have one owner, so these have no simple interval and stand alone.
        rows.append(Row("auroc", area, n=n, clusters=clusters, detail=detail))
        precision = stats.average_precision(best, negative)
        rows.append(Row("ap", precision, n=n, clusters=clusters))
        return rows + self._sources(evidence)

    def _sources(self, evidence: CellEvidence) -> list[Row]:
        """Of each source, the share that is called marked; of users, these are accusations."""
        from fpbench import stats

        if evidence.gives != "presence" or not shared.supported(evidence):
            return []
        t, rows = shared.threshold_of(evidence), []
        for source in sorted(evidence.negatives):
            match = shared.negative_match(evidence, source)
            hits, images = int((match.best >= t).sum()), match.images
            bound, rule = stats.upper_bound(hits, images), "clopper-pearson, one-sided"
            detail = {"silent": source in evidence.silent, "allowed": evidence.false_rate}
            share = hits / images
            rows.append(Row(f"on {source}", share, high=bound, rule=rule, n=images, detail=detail))
        return rows


class Matches(Metric[NoParams]):
    """How many bits of images agree with a code: of copies' images, and of images of nobody."""

    name = "matches"
    version = "1"
    Params = NoParams
    unit = "images"
    higher_is_better = True
    bounds = (None, None)
    card = Card(
        "Matches",
        "counted",
        "Apache-2.0",
        "Counts of images by the number of bits that agree: copies' images with their own user's "
        "code, images of nobody with every issued code in turn.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Row "copies", then one for each source of negatives; `detail.counts` is (K + 1,)."""
        import numpy as np

        from fpbench import stats

        if not evidence.single or not evidence.uniform:
            return []
        read, bits = shared.reading(evidence), evidence.codes.shape[1]
        users = len(evidence.codes)
        at: dict[str, Any] = {"bits": bits, "registered": evidence.registered}
        if shared.supported(evidence):
            at["threshold_bits"] = shared.threshold_of(evidence)
        own = np.bincount(read.match.own, minlength=bits + 1)
        about = {**at, "counts": own.tolist()}
        rows = [Row("copies", n=len(read.owners), clusters=len(read.counts), detail=about)]
        for source in sorted(evidence.negatives):
            match = shared.negative_match(evidence, source)
            assert isinstance(match, stats.Matching)  # of uniform codes it is
            about = {**at, "counts": match.counts(users).tolist()}
            rows.append(Row(source, n=match.images, detail=about))
        return rows


class FalseAccusation(Metric[NoParams]):
    """P(any registered user is accused) for images of none of them, by source."""

    name = "false-accusation"
    version = "3"
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
        """One row for each source, with its one-sided upper bound, 95 %.

        `detail.by_chance` of negatives is the probability that any issued code, or any that is
        known, fits an image that is independent of them: what the counted hits are tested against.
        """
        import numpy as np

        from fpbench import stats

        if not evidence.single or evidence.gives == "presence":
            return []
        rate = evidence.false_rate
        sources = sorted(evidence.negatives.keys() - {"unregistered"})
        if not shared.supported(evidence):
            return [shared.not_supported(evidence, source) for source in (*sources, "unregistered")]
        t, asked = shared.threshold_of(evidence), shared.asked(evidence)
        # Codes that are known are counted, distractors are exact; together they accuse anybody.
        known = evidence.codes
        spared = shared.spared(evidence, t)
        # Without a hit the rate is that of the distractors alone.
        tail = shared.claim_tail(evidence, t)
        chance = None if tail is None else float(-np.expm1(len(known) * np.log1p(-tail)))
        rows = []
        for source in sources:
            match = shared.negative_match(evidence, source)
            hits = int((match.best >= t).sum())
            bound = 1 - (1 - stats.upper_bound(hits, match.images)) * spared
            rows.append(
                Row(
                    source,
                    float(stats.accused(match, *asked).mean()),
                    high=bound,
                    rule="clopper-pearson, one-sided",
                    n=match.images,
                    clusters=match.images,
                    detail={
                        "accused": hits,
                        "by_chance": chance,
                        "allowed": rate,
                        "worst_user_images": int(match.hits(t).by_code.max()),
                        **shared.unproven(bound, rate),
                    },
                )
            )
        if "unregistered" in evidence.negatives:
            match = shared.negative_match(evidence, "unregistered")
            accused = stats.accused(match, *asked)
            counts = np.full(evidence.outsiders, match.images // evidence.outsiders)
        elif evidence.gives == "scores" and not evidence.separable:
            reason = (
                "scores of a user depend on who else is registered, and no copy of a user who is "
                "not was issued: [population] unregistered says how many there are"
            )
            return [*rows, Row("unregistered", outcome=Outcome.NOT_SUPPORTED, reason=reason)]
        else:
            read = shared.reading(evidence)
            accused, counts = stats.unregistered(read.match, read.owners, *asked), read.counts
        return [*rows, _unregistered(accused, counts, len(known), rate)]


def _unregistered(
    accused: NDArray[np.float64], counts: NDArray[np.int64], known: int, rate: float
) -> Row:
    """Accusations of the others for images of users taken out of the registry, one by one."""
    from fpbench import stats

    hits = shared.sums(accused, counts)
    # One-sided 95 % is the upper end of a two-sided interval at 90 %.
    bound = stats.rate(hits, counts, level=0.9)
    proven = {**shared.unproven(bound.high, rate), **shared.few_copies(len(counts))}
    detail = {"allowed": rate, "codes": known, **proven}
    return Row(
        "unregistered",
        bound.value,
        high=bound.high,
        rule=f"{bound.rule}, one-sided",
        n=bound.n,
        clusters=bound.clusters,
        by_copy=list(hits / counts),
        detail=detail,
    )
