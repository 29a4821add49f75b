"""Measures of images: against the host, against the untouched copy, against real images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from fpbench.api import Card, CellEvidence, Column, Metric, NoParams, Outcome, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FEATURES = "random-conv-64"


def _mean_row(columns: Sequence[Column], name: str, variant: str) -> Row:
    """Mean over copies of a per-image measure; identical images (infinite PSNR) count as 99 dB."""
    import numpy as np

    from fpbench import stats

    per_copy = np.array([np.minimum(np.asarray(c[name], float), 99.0).mean() for c in columns])
    interval = stats.mean(per_copy)
    images = sum(len(c[name]) for c in columns)
    return Row(
        variant,
        interval.value,
        low=interval.low,
        high=interval.high,
        rule=interval.rule,
        n=images,
        clusters=len(per_copy),
        by_copy=list(per_copy),
    )


class Imperceptibility(Metric[NoParams]):
    """PSNR and SSIM of a copy's image against the host's image of the same latent."""

    name = "imperceptibility"
    version = "1"
    Params = NoParams
    unit = "dB (psnr), share (ssim)"
    higher_is_better = True
    bounds = (0.0, None)
    card = Card(
        "Imperceptibility",
        "PSNR; SSIM (Wang et al. 2004)",
        "Apache-2.0",
        "Likeness to the host's image of the same latent, where the method keeps the sample.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "psnr" and "ssim" of the untouched cell."""
        if evidence.level != "none":
            return []
        if not evidence.keeps_sample:
            reason = "the method changes the sample: the host shows another image at this latent"
            return [Row(v, outcome=Outcome.REFUSED, reason=reason) for v in ("psnr", "ssim")]
        return [_mean_row(evidence.copies, f"host_{v}", v) for v in ("psnr", "ssim")]


class CodeInfluence(Metric[NoParams]):
    """PSNR between the images of two copies at one latent: how little the code changes."""

    name = "code-influence"
    version = "1"
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
        import numpy as np

        if evidence.level != "none":
            return []
        shared = [np.asarray(c["shared"], dtype=np.float64) for c in evidence.copies]
        pairs = [{"psnr": _psnr(a, b)} for a, b in pairwise(shared)]
        return [_mean_row(pairs, "psnr", "psnr")]


def _psnr(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    error = ((a - b) ** 2).mean(axis=(1, 2, 3))
    return np.asarray(10 * np.log10(255**2 / np.maximum(error, 1e-12)))


class Damage(Metric[NoParams]):
    """PSNR and SSIM between attacked and unattacked images of the same latent."""

    name = "damage"
    version = "1"
    Params = NoParams
    unit = "dB (psnr), share (ssim)"
    higher_is_better = None
    bounds = (0.0, None)
    card = Card(
        "Damage",
        "PSNR; SSIM (Wang et al. 2004)",
        "Apache-2.0",
        "What the attack does to the images: attacked against unattacked, same latent.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Rows "psnr" and "ssim" of attacked cells."""
        return [
            _mean_row(evidence.copies, f"damage_{v}", v)
            for v in ("psnr", "ssim")
            if f"damage_{v}" in evidence.copies[0]
        ]


class Fidelity(Metric[NoParams]):
    """Fréchet distance to real images in a space of random convolutions; not FID.

    An attacked copy is compared with the same copy before the attack, on the same latents.
    """

    name = "frechet-random-conv"
    version = "1"
    Params = NoParams
    unit = ""
    higher_is_better = False
    bounds = (0.0, None)
    card = Card(
        "Fréchet distance (random convolutions)",
        "Heusel et al. 2017 for the distance; own features",
        "Apache-2.0",
        "Distance between distributions of 64 fixed random convolutional features. It is not FID "
        "and cannot be compared with it.",
    )

    def measure(self, evidence: CellEvidence) -> Sequence[Row]:
        """Row "copies" with the distance of the host and of the untouched copies, equal counts."""
        import numpy as np

        from fpbench import stats

        if "features" not in evidence.copies[0]:
            return []
        real = stats.moments(evidence.reference)
        own = _features(evidence.copies)
        attacked = "own_features" in evidence.copies[0]
        clean = _features(evidence.copies, "own_features") if attacked else own
        host = np.asarray(evidence.clean_host["features"])
        count = min(len(own), len(clean), len(host))
        distance = _distance(own[:count], real)
        clean_distance = _distance(clean[:count], real)
        detail = {
            "features": _FEATURES,
            "images": count,
            "reference": len(evidence.reference),
            "host": _distance(host[:count], real),
            "untouched": clean_distance,
            "ratio_to_untouched": distance / clean_distance,
        }
        return [Row("copies", distance, n=count, clusters=len(evidence.copies), detail=detail)]


def _features(columns: Sequence[Column], name: str = "features") -> NDArray[np.float32]:
    import numpy as np

    return np.concatenate([c[name] for c in columns])


def _distance(
    features: NDArray[np.float32], real: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> float:
    from fpbench import stats

    return stats.frechet(*stats.moments(features), *real)
