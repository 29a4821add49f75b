"""Measures of images: against the host, against the untouched copy, against real images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpbench.api import (
    BackboneEvidence,
    Card,
    CellEvidence,
    Column,
    Metric,
    NoParams,
    Outcome,
    Row,
)
from fpbench.builtin.metrics import shared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fpbench.stats import Reference


def mean_row(columns: Sequence[Column], name: str, variant: str, most: float = 99.0) -> Row:
    """Mean over copies of a per-image measure; identical images (infinite PSNR) count as 99 dB.

    What is undefined (nan) for an image says nothing of it: the mean is over the others.
    """
    import numpy as np

    from fpbench import stats

    found = [np.minimum(np.asarray(c[name], float), most) for c in columns]
    defined = [values[~np.isnan(values)] for values in found]
    per_copy = np.array([values.mean() for values in defined if values.size])
    images = sum(map(len, defined))
    if not images:
        return Row(variant, outcome=Outcome.REFUSED, reason="it is undefined for every sample")
    undefined = sum(map(len, found)) - images
    interval = stats.mean(per_copy)
    return Row(
        variant,
        interval.value,
        low=interval.low,
        high=interval.high,
        rule=interval.rule,
        n=images,
        clusters=len(per_copy),
        by_copy=list(per_copy),
        detail=shared.few_copies(len(per_copy)) | ({"undefined": undefined} if undefined else {}),
    )


def _likeness(evidence: CellEvidence, kind: str) -> list[Row]:
    """PSNR, SSIM and LPIPS of what stands beside each image, of those that were measured.

    Of samples that are no images, what their modality compares them by.
    """
    columns = evidence.copies
    rows = [mean_row(columns, f"{kind}_{v}", v) for v in evidence.likeness]
    for backbone in evidence.backbones:
        if not backbone.pairs:
            continue
        if backbone.reason:
            rows.append(unavailable(backbone, backbone.name))
        else:
            rows.append(mean_row(columns, f"{kind}_{backbone.name}", backbone.name))
    return rows


def unavailable(backbone: BackboneEvidence, variant: str) -> Row:
    """A row for a number whose network is not there."""
    return Row(variant, outcome=Outcome.UNAVAILABLE, reason=backbone.reason)


class Imperceptibility(Metric[NoParams]):
    """PSNR, SSIM and LPIPS of a copy's image against the host's image of the same latent."""

    name = "imperceptibility"
    version = "2"
    Params = NoParams
    unit = "dB (psnr), share (ssim), distance (lpips)"
    higher_is_better = None
    bounds = (0.0, None)
    card = Card(
        "Imperceptibility",
        "PSNR; SSIM (Wang et al. 2004); LPIPS 0.1 (Zhang et al. 2018)",
        "Apache-2.0",
        "Likeness to the host's image of the same latent, where the method keeps the sample.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "psnr", "ssim" and one for each LPIPS network, of the untouched cell."""
        if evidence.level != "none":
            return []
        if not evidence.keeps_sample:
            reason = "the method changes the sample: the host shows another image at this latent"
            networks = [b.name for b in evidence.backbones if b.pairs]
            variants = (*evidence.likeness, *networks)
            return [Row(v, outcome=Outcome.REFUSED, reason=reason) for v in variants]
        return _likeness(evidence, "host")


class CodeInfluence(Metric[NoParams]):
    """PSNR between the images of two copies at one latent: how little the code changes."""

    name = "code-influence"
    version = "2"
    Params = NoParams
    unit = "dB"
    higher_is_better = True
    bounds = (0.0, None)
    card = Card(
        "Likeness between codes",
        "Yu et al. 2022 (consistency)",
        "Apache-2.0",
        "PSNR between images that two copies with different codes draw from one latent.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """One row "psnr" of the untouched cell; copy u is compared with copy u + 1."""
        if evidence.level != "none":
            return []
        # Kept with the second of a pair; the first copy has none before it.
        first = evidence.likeness[0]
        pairs = [column for column in evidence.copies if f"code_{first}" in column]
        # Of images that were marked elsewhere none bears two codes.
        return [mean_row(pairs, f"code_{first}", first)] if pairs else []


class Damage(Metric[NoParams]):
    """PSNR, SSIM and LPIPS between attacked and unattacked images of the same latent."""

    name = "damage"
    version = "2"
    Params = NoParams
    unit = "dB (psnr), share (ssim), distance (lpips)"
    higher_is_better = None
    bounds = (0.0, None)
    card = Card(
        "Damage",
        "PSNR; SSIM (Wang et al. 2004); LPIPS 0.1 (Zhang et al. 2018)",
        "Apache-2.0",
        "What the attack does to the images: attacked against unattacked, same latent.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "psnr", "ssim" and one for each LPIPS network, of attacked cells.

        Of samples that are no images, also "distance", which the budget is in.
        """
        columns = evidence.copies
        if f"damage_{evidence.likeness[0]}" not in columns[0]:
            return []
        rows = _likeness(evidence, "damage")
        if "damage_distance" in columns[0]:
            rows.append(mean_row(columns, "damage_distance", "distance", math.inf))
        return rows


class Fidelity(Metric[NoParams]):
    """Fréchet distance to real images in the network that comes with fpbench; not FID.

    An attacked copy is compared with the same copy before the attack, on the same latents.
    """

    name = "frechet-proxy"
    version = "2"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (0.0, None)
    card = Card(
        "Fréchet distance (proxy)",
        "Heusel et al. 2017 for the distance; own features",
        "Apache-2.0",
        "Distance between distributions of 64 features of a small network that was trained on "
        "drawn faces and their damage. It is not FID and cannot be compared with it.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Row "copies", with the distances of the host and of the untouched copies beside it."""
        from fpbench import stats

        if "features" not in evidence.copies[0]:
            return []
        real = stats.reference(evidence.reference)
        sets = feature_sets(evidence, "features", evidence.clean_host["features"])
        detail = {"reference": len(evidence.reference)}
        return [distance_row("copies", sets, real, detail, evidence)]


@dataclass(frozen=True)
class FeatureSets:
    """Features of as many images each.

    Attributes:
        copies: (n_c, F) of each of the cell's copies.
        untouched: The same of these copies before the attack, on the same latents.
        host: (N, F) of host images.
    """

    copies: Sequence[NDArray[np.float32]]
    untouched: Sequence[NDArray[np.float32]]
    host: NDArray[np.float32]

    @property
    def own(self) -> NDArray[np.float32]:
        """(N, F) of all copies."""
        import numpy as np

        return np.concatenate(self.copies)

    @property
    def attacked(self) -> bool:
        """Whether there is an attack between the first two."""
        return self.copies is not self.untouched


def feature_sets(evidence: CellEvidence, name: str, host: NDArray[np.float32]) -> FeatureSets:
    """The features called `name` of a cell's images, cut to equal counts.

    A distance falls with the number of images, so all cells that can have as many; and no copy
    stands for the others: each gives as many as the next, to within one.
    """
    own = [column[name] for column in evidence.copies]
    count = min(sum(map(len, own)), len(host))
    if evidence.distance_count:
        count = min(count, evidence.distance_count)
    features = _spread(own, count)
    if f"own_{name}" not in evidence.copies[0]:
        return FeatureSets(features, features, host[:count])
    before = _spread([column[f"own_{name}"] for column in evidence.copies], count)
    return FeatureSets(features, before, host[:count])


def _spread(columns: Sequence[NDArray[np.float32]], count: int) -> Sequence[NDArray[np.float32]]:
    """`count` rows of columns of equal length, as many of each; the first give what is left."""
    each, left = divmod(count, len(columns))
    return [c[: each + (i < left)] for i, c in enumerate(columns)]


def distance_row(
    variant: str,
    sets: FeatureSets,
    real: Reference,
    detail: Mapping[str, object],
    evidence: CellEvidence,
) -> Row:
    """A Fréchet distance to real images; beside it the host's, the untouched copies', the damage.

    Damage is what an attack adds to the distance of the untouched copies, as a share of the
    host's. Intervals are jackknifed over copies, attacked and untouched ones together.
    """
    import numpy as np

    from fpbench import stats

    value, without = stats.frechet_by_copy(sets.copies, real)
    host, _ = stats.frechet_by_copy([sets.host], real)
    interval = stats.jackknife(value, without, least=0.0)
    untouched, beside = value, dict[str, object]()
    if sets.attacked:
        untouched, before = stats.frechet_by_copy(sets.untouched, real)
        if host > 0:
            found = stats.jackknife((value - untouched) / host, (without - before) / host)
            beside = {"damage": found.value, "damage_low": found.low, "damage_high": found.high}
        else:
            beside = {"damage": None}
    return Row(
        variant,
        value,
        low=None if np.isnan(interval.low) else interval.low,
        high=None if np.isnan(interval.high) else interval.high,
        rule=interval.rule,
        n=sum(map(len, sets.copies)),
        clusters=len(evidence.copies),
        detail={
            **detail,
            **beside,
            "host": host,
            "images": sum(map(len, sets.copies)),
            "untouched": untouched,
            "ratio_to_untouched": value / untouched if untouched > 0 else None,
        },
    )
