"""Who is accused, from the number of bits that a reading shares with each code.

U codes are issued and the D = registered - U others are uniform distractors, which are not drawn
but integrated out, so the answers are probabilities. Letters: s the match with the owner's code,
b the best match with another issued code, t = `threshold(K, alpha, registered)`,
q(x) = `survives(K, x, D)`. The arguments mean the same in every function:

    match: `(N, U)` whole numbers in [0, K], from `matches`; here N counts images.
    owners: `(N,)` index in [0, U) of the user behind each image.
    bits: K.
    registered: Number of registered users, at least U.
    false_rate: alpha in (0, 1), family-wise over the registered users, or of one claim.
    calibrated: t where codes are not uniform, so that no tail is exact; None = the exact tail.

ValueError is raised where an argument does not fit or K bits do not support so many users.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpbench.stats.tails import log_any_tail, supports, survives, threshold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Below every match, for users that must not be considered.
_NOBODY = -1


@dataclass(frozen=True)
class OpenSet:
    """Outcome probabilities of each image of a registered user; the three add up to 1.

    Attributes:
        right: `(N,)` in [0, 1], the owner is accused.
        wrong: `(N,)` in [0, 1], somebody else is accused or ties with the owner.
        none: `(N,)` in [0, 1], nobody is accused.
    """

    right: Floats
    wrong: Floats
    none: Floats


@dataclass(frozen=True)
class Collusion:
    """Outcome probabilities of each image of a coalition; the four add up to 1.

    Attributes:
        traced: `(N,)` in [0, 1], members are accused and nobody else.
        traced_and_framed: `(N,)` in [0, 1], members and somebody innocent.
        framed: `(N,)` in [0, 1], somebody innocent and no member.
        lost: `(N,)` in [0, 1], nobody is accused.
    """

    traced: Floats
    traced_and_framed: Floats
    framed: Floats
    lost: Floats


def matches(readings: npt.ArrayLike, codes: npt.ArrayLike) -> Ints:
    """Number of equal bits of each reading with each code.

    Args:
        readings: `(N, K)` bool.
        codes: `(U, K)` bool.

    Returns:
        `(N, U)` whole numbers in [0, K].

    Raises:
        ValueError: If the arrays are not bool or differ in K.
    """
    read, issued = np.asarray(readings), np.asarray(codes)
    if read.dtype != np.bool_ or issued.dtype != np.bool_:
        msg = f"matches: expected bool readings and codes, got {read.dtype} and {issued.dtype}"
        raise ValueError(msg)
    if read.ndim != 2 or issued.ndim != 2 or read.shape[1] != issued.shape[1]:
        msg = f"matches: expected (N, K) and (U, K), got {read.shape} and {issued.shape}"
        raise ValueError(msg)
    # Agreements minus disagreements; single precision is exact below 2^24 and uses the fast matrix
    # product.
    signs = (2 * read.astype(np.float32) - 1) @ (2 * issued.astype(np.float32) - 1).T
    return np.asarray((signs.astype(np.int64) + read.shape[1]) // 2)


def open_set(
    match: npt.ArrayLike,
    owners: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: int | None = None,
) -> OpenSet:
    """Open-set attribution of images of registered users: accuse the best match if it reaches t.

    s >= t: right = [s > b] q(s), wrong = 1 - right. s < t: wrong = 1 where b >= t, else 1 - q(t).
    None is the rest. Ties of the best match count as wrong.
    """
    table = _checked_match("open_set", match, bits)
    t, distractors = _registry("open_set", table, bits, registered, false_rate, calibrated)
    own, other = _own_and_other("open_set", table, owners)
    accused_anyway = np.where(other >= t, 1.0, _any_distractor(bits, t, distractors))
    right = np.where((own >= t) & (own > other), survives(bits, own, distractors), 0.0)
    wrong = np.where(own >= t, 1 - right, accused_anyway)
    none = np.where(own >= t, 0.0, 1 - accused_anyway)
    return OpenSet(right, wrong, none)


def accused(
    match: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: int | None = None,
) -> Floats:
    """Probability `(N,)` that any registered user is accused, for images of none of them.

    1 where the best issued match reaches t, else 1 - q(t).
    """
    table = _checked_match("accused", match, bits)
    t, distractors = _registry("accused", table, bits, registered, false_rate, calibrated)
    return np.where(table.max(axis=1) >= t, 1.0, _any_distractor(bits, t, distractors))


def unregistered(
    match: npt.ArrayLike,
    owners: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: int | None = None,
) -> Floats:
    """Leave-one-out negatives `(N,)`: `accused` after one more distractor took the owner's place.

    The number of registered users stays what it is; of codes that are not uniform, whose
    distractors are drawn, it is one less.
    """
    table = _checked_match("unregistered", match, bits)
    t, distractors = _registry("unregistered", table, bits, registered, false_rate, calibrated)
    _, other = _own_and_other("unregistered", table, owners)
    instead = distractors + 1 if calibrated is None else distractors
    return np.where(other >= t, 1.0, _any_distractor(bits, t, instead))


def detection(
    match: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: int | None = None,
) -> Floats:
    """Probability `(N,)` that the largest match over the registered users reaches t.

    The event of `accused`, asked of any image: of a copy it is a true positive, else a false one.
    """
    return accused(match, bits, registered, false_rate, calibrated)


def collusion(
    match: npt.ArrayLike,
    members: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: int | None = None,
) -> Collusion:
    """Who is accused for images of coalitions, when everybody whose match reaches t is accused.

    A coalition's image may carry several codes, so the best match alone is not accused as in
    `open_set`.

    Args:
        match: as in every function of this module.
        members: `(N, U)` bool, who is in the coalition behind each image.
        bits: K.
        registered: N of the registry.
        false_rate: alpha.
        calibrated: t where codes are not uniform.
    """
    table = _checked_match("collusion", match, bits)
    t, distractors = _registry("collusion", table, bits, registered, false_rate, calibrated)
    inside = np.asarray(members)
    if inside.dtype != np.bool_ or inside.shape != table.shape:
        msg = f"collusion: expected members bool {table.shape}, got {inside.dtype} {inside.shape}"
        raise ValueError(msg)
    accused_users = table >= t
    caught = (accused_users & inside).any(axis=1)
    innocent = (accused_users & ~inside).any(axis=1)
    framed = np.where(innocent, 1.0, _any_distractor(bits, t, distractors))
    return Collusion(
        traced=caught * (1 - framed),
        traced_and_framed=caught * framed,
        framed=~caught * framed,
        lost=~caught * (1 - framed),
    )


def closed_set(match: npt.ArrayLike, owners: npt.ArrayLike) -> Bools:
    """Whether the owner's code is strictly the best match among the U issued ones, `(N,)` bool."""
    own, other = _own_and_other("closed_set", _checked_match("closed_set", match, None), owners)
    return np.asarray(own > other)


def verification(
    match: npt.ArrayLike, owners: npt.ArrayLike, bits: int, false_rate: float
) -> Bools:
    """Whether each image fits the claimed code of its owner, `(N,)` bool: s >= t of one code."""
    table = _checked_match("verification", match, bits)
    own, _ = _own_and_other("verification", table, owners)
    return np.asarray(own >= _threshold("verification", bits, 1, false_rate))


def false_verification(
    match: npt.ArrayLike, owners: npt.ArrayLike | None, bits: int, false_rate: float
) -> Floats:
    """False verification rate `(U,)` of each issued user over the images that are not of that user.

    In [0, 1], nan for a user who owns every image. The mean is the measured rate, the maximum the
    worst user's. Owners None = images of nobody.
    """
    table = _checked_match("false_verification", match, bits)
    hits = table >= _threshold("false_verification", bits, 1, false_rate)
    foreign = np.ones(table.shape, dtype=np.bool_)
    if owners is not None:
        index = _checked_owners("false_verification", table, owners)
        foreign[np.arange(len(table)), index] = False
    counts = foreign.sum(axis=0)
    rates = np.full(table.shape[1], np.nan)
    hit_counts = (hits & foreign).sum(axis=0)
    return np.asarray(np.divide(hit_counts, counts, out=rates, where=counts > 0))


def auroc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Area under the ROC curve: P(positive > negative) + P(equal) / 2 (Mann and Whitney 1947).

    Args:
        positive: `(P,)` scores, P >= 1, infinities allowed.
        negative: `(M,)` scores, M >= 1.

    Returns:
        In [0, 1].

    Raises:
        ValueError: If a side is empty or holds nan.
    """
    high, low = np.ravel(positive), np.sort(np.ravel(negative))
    if high.size == 0 or low.size == 0 or np.isnan(high).any() or np.isnan(low).any():
        msg = f"auroc: expected scores without nan on both sides, got {high.size} and {low.size}"
        raise ValueError(msg)
    below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(below.sum() / (2 * high.size * low.size))


def _any_distractor(bits: int, t: int, distractors: int) -> float:
    return float(np.exp(log_any_tail(bits, t, distractors)))


def _threshold(who: str, bits: int, registered: int, false_rate: float) -> int:
    t = threshold(bits, false_rate, registered)
    if t is None or not supports(bits, registered, false_rate):
        msg = (
            f"{who}: {bits} bits do not support {registered} users at a false rate of {false_rate}"
        )
        raise ValueError(msg)
    return t


def _registry(
    who: str,
    match: Ints,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: int | None,
) -> tuple[int, int]:
    """Threshold t and number of distractors D."""
    issued = int(match.shape[1])
    if registered < issued:
        msg = f"{who}: expected registered >= {issued} issued users, got {registered}"
        raise ValueError(msg)
    if calibrated is not None:
        if registered > issued:
            msg = (
                f"{who}: expected matches with all {registered} registered codes, since those that "
                f"are not uniform cannot be integrated out, got {issued}"
            )
            raise ValueError(msg)
        return calibrated, 0
    return _threshold(who, bits, registered, false_rate), registered - issued


def _own_and_other(who: str, match: Ints, owners: npt.ArrayLike) -> tuple[Ints, Ints]:
    """Match with the owner's code and best match with another issued one, `(N,)` each."""
    index = _checked_owners(who, match, owners)
    rows = np.arange(len(match))
    others = match.copy()
    others[rows, index] = _NOBODY
    return match[rows, index], others.max(axis=1)


def _checked_match(who: str, match: npt.ArrayLike, bits: int | None) -> Ints:
    table = np.asarray(match)
    if table.ndim != 2 or table.shape[1] == 0 or not np.issubdtype(table.dtype, np.integer):
        msg = f"{who}: expected whole numbers (N, U) with U >= 1, got {table.dtype} {table.shape}"
        raise ValueError(msg)
    if table.size and (table.min() < 0 or (bits is not None and table.max() > bits)):
        msg = f"{who}: expected matches in [0, {bits}], got {table.min()} to {table.max()}"
        raise ValueError(msg)
    return table.astype(np.int64)


def _checked_owners(who: str, match: Ints, owners: npt.ArrayLike) -> Ints:
    index = np.asarray(owners)
    if index.shape != match.shape[:1] or not np.issubdtype(index.dtype, np.integer):
        msg = f"{who}: expected owners (N,) = ({len(match)},), got {index.dtype} {index.shape}"
        raise ValueError(msg)
    if index.size and (index.min() < 0 or index.max() >= match.shape[1]):
        found = f"{index.min()} to {index.max()}"
        msg = f"{who}: expected owners in [0, {match.shape[1] - 1}], got {found}"
        raise ValueError(msg)
    return index.astype(np.int64)
