"""Fréchet distance of two Gaussians that are fitted to features. Letters: N images, F features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """A Gaussian that many others are compared with; its root is taken once.

    Attributes:
        mean: `(F,)`.
        covariance: `(F, F)` symmetric, positive semidefinite.
        root: `(F, F)` symmetric root of the covariance.
    """

    mean: Floats
    covariance: Floats
    root: Floats


def reference(features: npt.ArrayLike) -> Reference:
    """The Gaussian of real features, ready for `frechet_to`.

    Args:
        features: `(N, F)` finite, N >= 2.

    Raises:
        ValueError: As `moments`.
    """
    mean, covariance = moments(features)
    return Reference(mean, covariance, _root(covariance))


def moments(features: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Mean and unbiased covariance of features, in double precision.

    Args:
        features: `(N, F)` finite, N >= 2.

    Returns:
        Mean `(F,)` and covariance `(F, F)`, divided by N - 1.

    Raises:
        ValueError: If there are fewer than two images, another shape, or a value is not finite.
    """
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 1:
        msg = f"moments: expected features (N, F) of at least two images, got {values.shape}"
        raise ValueError(msg)
    if not np.all(np.isfinite(values)):
        msg = "moments: expected finite features, got nan or infinity"
        raise ValueError(msg)
    mean = values.mean(axis=0)
    centred = values - mean
    return mean, centred.T @ centred / (values.shape[0] - 1)


def frechet(
    mean1: npt.ArrayLike, cov1: npt.ArrayLike, mean2: npt.ArrayLike, cov2: npt.ArrayLike
) -> float:
    """Squared Fréchet distance |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    Dowson and Landau 1982, used for images by Heusel et al. 2017. The trace of the root is taken of
    the symmetric S1^(1/2) S2 S1^(1/2), which has the eigenvalues of S1 S2 but no complex noise when
    N < F.

    Args:
        mean1: `(F,)`.
        cov1: `(F, F)` symmetric, positive semidefinite.
        mean2: `(F,)`.
        cov2: `(F, F)` symmetric, positive semidefinite.

    Returns:
        Distance >= 0 in squared units of the features.

    Raises:
        ValueError: If the shapes do not fit.
    """
    m1, s1, m2, s2 = (np.asarray(x, dtype=np.float64) for x in (mean1, cov1, mean2, cov2))
    _check_shapes(m1, s1, m2, s2)
    return _distance(Reference(m1, s1, _root(s1)), m2, s2)


def frechet_to(real: Reference, mean: npt.ArrayLike, covariance: npt.ArrayLike) -> float:
    """The same distance as `frechet` to a Gaussian whose root is known.

    Args:
        real: What is compared with.
        mean: `(F,)`.
        covariance: `(F, F)` symmetric, positive semidefinite.

    Returns:
        Distance >= 0 in squared units of the features.

    Raises:
        ValueError: If the shapes do not fit.
    """
    m2, s2 = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    _check_shapes(real.mean, real.root, m2, s2)
    return _distance(real, m2, s2)


def frechet_by_copy(features: Sequence[npt.ArrayLike], real: Reference) -> tuple[float, Floats]:
    """The distance of all copies together, and `(C,)` the distances without each one of them.

    Leaving a copy out costs no second look at the features: sums and products of each copy are
    taken once where there are more images than features. Where there are fewer, the trace of the
    root comes from the (N, N) products of images, which have the same eigenvalues.

    Args:
        features: For each of C >= 1 copies `(n_c, F)` finite, N in all.
        real: What is compared with.

    Raises:
        ValueError: As `moments`.
    """
    groups = [np.asarray(group, dtype=np.float64) for group in features]
    whole = np.concatenate(groups)
    mean, covariance = moments(whole)
    # About the common mean, so that no digits are lost.
    centred = whole - mean
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    kept = [owner != copy for copy in range(len(groups))] if len(groups) > 1 else []
    if len(whole) > whole.shape[1]:
        value = frechet_to(real, mean, covariance)
        return value, np.array([_without(centred, mean, rows, real) for rows in kept])
    projected = centred @ real.root
    products = projected @ projected.T
    everything = np.ones(len(whole), dtype=bool)
    value, *without = (
        _of_products(centred[rows], mean, products[np.ix_(rows, rows)], real)
        for rows in (everything, *kept)
    )
    return value, np.array(without)


def _without(centred: Floats, mean: Floats, rows: npt.NDArray[np.bool_], real: Reference) -> float:
    if rows.sum() < 2:
        return np.nan
    shift, covariance = moments(centred[rows])
    return frechet_to(real, mean + shift, covariance)


def _of_products(centred: Floats, mean: Floats, products: Floats, real: Reference) -> float:
    """The distance of some images from their own products in the metric of the real ones."""
    count = len(centred)
    if count < 2:
        return np.nan
    shift = centred.mean(axis=0)
    own = products - products.mean(axis=0)
    own -= own.mean(axis=1, keepdims=True)
    roots = np.sqrt(_without_rounding(np.linalg.eigvalsh(own / (count - 1)))).sum()
    trace = ((centred - shift) ** 2).sum() / (count - 1)
    away = real.mean - mean - shift
    return max(float(away @ away + np.trace(real.covariance) + trace - 2 * roots), 0.0)


def _root(covariance: Floats) -> Floats:
    variances, axes = np.linalg.eigh(covariance)
    root: Floats = (axes * np.sqrt(_without_rounding(variances))) @ axes.T
    return root


def _without_rounding(eigenvalues: npt.ArrayLike) -> Floats:
    """Eigenvalues of a positive semidefinite matrix, those that are only rounding set to zero.

    With fewer images than features most are. Their roots are not small: 1e-16 becomes 1e-8.
    """
    found = np.asarray(eigenvalues, dtype=np.float64)
    least = found.size * np.finfo(np.float64).eps * found.max()
    return np.where(found > least, found, 0.0)


def _distance(real: Reference, mean: Floats, covariance: Floats) -> float:
    product = _without_rounding(np.linalg.eigvalsh(real.root @ covariance @ real.root))
    shift, own = real.mean - mean, np.trace(real.covariance)
    distance = shift @ shift + own + np.trace(covariance) - 2 * np.sqrt(product).sum()
    return max(float(distance), 0.0)  # of equals it may be slightly negative


def _check_shapes(m1: Floats, s1: Floats, m2: Floats, s2: Floats) -> None:
    size = m1.size
    if m1.shape != (size,) or m2.shape != (size,) or not s1.shape == s2.shape == (size, size):
        shapes = [x.shape for x in (m1, s1, m2, s2)]
        msg = f"frechet: expected means (F,) and covariances (F, F), got {shapes}"
        raise ValueError(msg)
