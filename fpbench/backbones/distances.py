"""Distances between sets of images in the features of a published network.

The Fréchet distance is ours, with the root of the real covariance taken once; the others are
torch-fidelity's own functions. Letters: R real images, N other images, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fpbench.backbones.weights import library
from fpbench.stats.frechet import Reference, frechet_to, moments, reference

__all__ = ["Kid", "PrecisionRecall", "fid", "kid", "precision_recall", "reference_arrays"]

Features = npt.NDArray[np.float32]

_SUBSET, _SUBSETS, _SEED = 1000, 100, 2020
_NEIGHBOURS = 3


@dataclass(frozen=True)
class Kid:
    """Kernel distance, and how it was estimated.

    Attributes:
        value: mean over the subsets; slightly below zero for sets that are alike.
        spread: standard deviation over the subsets.
        subset: images of each set in a subset.
        subsets: how many were drawn.
    """

    value: float
    spread: float
    subset: int
    subsets: int


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: of images that look real, of real images that can be made."""

    precision: float
    recall: float


def reference_arrays(features: Features) -> dict[str, npt.NDArray[np.generic]]:
    """What every distance to real images needs: features, mean, covariance and its root.

    Args:
        features: `(R, F)` finite, R >= 2.

    Returns:
        "features" `(R, F)` as given; "mean" `(F,)`, "covariance" and "root" `(F, F)` float64, in
        the order of `fpbench.stats.frechet.Reference`.

    Raises:
        ValueError: There are fewer than two images, or a value is not finite.
    """
    real = reference(features)
    return {
        "features": np.asarray(features),
        "mean": real.mean,
        "covariance": real.covariance,
        "root": real.root,
    }


def fid(real: Mapping[str, npt.NDArray[np.generic]], features: Features) -> float:
    """Fréchet distance (Heusel et al. 2017) >= 0; FID only with layer 2048 of Inception.

    Args:
        real: Of `reference_arrays`.
        features: `(N, F)` finite, N >= 2; below N = F the distance is biased upwards.

    Raises:
        ValueError: There are fewer than two images, or a value is not finite.
    """
    parts = (np.asarray(real[name], np.float64) for name in ("mean", "covariance", "root"))
    return frechet_to(Reference(*parts), *moments(features))


def kid(real: Features, features: Features) -> Kid:
    """Kernel distance of Binkowski et al. 2018, by torch-fidelity: cubic kernel, unbiased.

    The mean over 100 subsets of min(1000, R, N) images, always the same draws. Where that is all
    images of both sets, once and in double precision: another 100 times would differ by rounding.

    Args:
        real: `(R, F)` float32, R >= 2.
        features: `(N, F)` float32, N >= 2.

    Raises:
        ValueError: A set has fewer than two images, or another F.
        MissingResource: torch-fidelity is not installed.
    """
    _check("kid", real, features, least=2)
    import torch

    subset = min(_SUBSET, len(real), len(features))
    whole = len(real) == len(features) == subset
    subsets, dtype = (1, torch.float64) if whole else (_SUBSETS, torch.float32)
    found = library("torch_fidelity.metric_kid").kid_features_to_metric(
        torch.tensor(features, dtype=dtype),
        torch.tensor(real, dtype=dtype),
        kid_subset_size=subset,
        kid_subsets=subsets,
        rng_seed=_SEED,
        verbose=False,
    )
    return Kid(
        found["kernel_inception_distance_mean"],
        found["kernel_inception_distance_std"],
        subset,
        subsets,
    )


def precision_recall(real: Features, features: Features) -> PrecisionRecall:
    """Precision and recall of Kynkäänniemi et al. 2019, by torch-fidelity, with 3 neighbours.

    Args:
        real: `(R, F)` float32, R >= 4; as many as others, if both shares are to be compared.
        features: `(N, F)` float32, N >= 4.

    Raises:
        ValueError: A set has fewer than four images, or another F.
        MissingResource: torch-fidelity is not installed.
    """
    _check("precision_recall", real, features, least=_NEIGHBOURS + 1)
    import torch

    found = library("torch_fidelity.metric_prc").prc_features_to_metric(
        torch.tensor(features),
        torch.tensor(real),
        prc_neighborhood=_NEIGHBOURS,
        verbose=False,
    )
    return PrecisionRecall(found["precision"], found["recall"])


def _check(who: str, real: Features, features: Features, least: int) -> None:
    shapes = np.shape(real), np.shape(features)
    fits = all(len(shape) == 2 and shape[0] >= least for shape in shapes)
    if not fits or shapes[0][1] != shapes[1][1]:
        msg = (
            f"{who}: expected features (R, F) and (N, F) of at least {least} images each, got "
            f"{shapes[0]} and {shapes[1]}"
        )
        raise ValueError(msg)
