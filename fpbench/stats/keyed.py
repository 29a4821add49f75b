"""What Kim, Ren and Yang (ICLR 2021, eq. 1 and 2) call distinguishability and attributability.

Every user has a key, and a score above 0 says that the image is his. Letters: N images of copies,
M real images, U users.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Attributability(NamedTuple):
    """Both measures for each user; their means are what the paper prints.

    Attributes:
        distinguishability: `(U,)` in [0, 1], mean of the share of real images that his key leaves
            alone and the share of his own images that it fires on.
        attributability: `(U,)` in [0, 1], share of his images that his key fires on while all
            others stay below 0.
    """

    distinguishability: Floats
    attributability: Floats


def attributability(
    scores: npt.ArrayLike, owners: npt.ArrayLike, real: npt.ArrayLike
) -> Attributability:
    """How well keys tell their copies from real images, and from one another.

    A score of exactly 0 is on nobody's side: it neither fires nor stays below.

    Args:
        scores: `(N, U)` of images of copies.
        owners: `(N,)` index in [0, U) of the user behind each image, at least one of each.
        real: `(M, U)` scores of real images, M at least 1.

    Raises:
        ValueError: If shapes do not fit, or there are no images of a user.
    """
    scores, owners, real = np.asarray(scores), np.asarray(owners), np.asarray(real)
    users = _users(scores, owners, real)
    fires = scores > 0
    own = fires[np.arange(len(owners)), owners]
    alone = own & ((scores < 0).sum(1) == users - 1)
    images = np.bincount(owners, minlength=users)

    def by_user(hits: npt.NDArray[np.bool_]) -> Floats:
        return np.bincount(owners, hits, minlength=users) / images

    return Attributability(((real < 0).mean(0) + by_user(own)) / 2, by_user(alone))


def _users(
    scores: npt.NDArray[np.float64], owners: npt.NDArray[np.int64], real: npt.NDArray[np.float64]
) -> int:
    if scores.ndim != 2 or owners.shape != scores.shape[:1]:
        raise ValueError(
            "attributability: expected scores (N, U) and owners (N,), got "
            f"{scores.shape} and {owners.shape}"
        )
    users = int(scores.shape[1])
    if real.ndim != 2 or real.shape[1] != users or not len(real):
        raise ValueError(
            f"attributability: expected scores (M, {users}) of real images, got {real.shape}"
        )
    if set(owners.tolist()) != set(range(users)):
        raise ValueError(
            f"attributability: expected images of each of {users} users and of nobody else, got "
            f"those of users {sorted(set(owners.tolist()))}"
        )
    return users
