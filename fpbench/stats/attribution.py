"""Who is accused, from the number of bits that a reading shares with each code.

U codes are issued and the D = registered - U others are uniform distractors, which are not drawn
but integrated out, so the answers are probabilities. Letters: s the match with the owner's code,
b the best match with another issued code, t = `threshold(K, alpha, registered)`,
q(x) = `survives(K, x, D)`. The arguments mean the same in every function:

    match: A `Matching`, or `(N, U)` whole numbers in [0, K] from `matches`; here N counts images. A
        `Surprise` of codes that are not uniform: then s, b and t are surprises and q(x) is
        `unsurpassed(x, D)`, so that what is called the probability of an innocent is its bound. A
        `ScoreTable` of scores, which have no distractors and a calibrated threshold.
    owners: `(N,)` index in [0, U) of the user behind each image; of a `Matching` they are known.
    bits: K.
    registered: Number of registered users, at least U.
    false_rate: alpha in (0, 1), family-wise over the registered users, or of one claim.
    calibrated: t of scores, which have no exact tail; None = the exact tail.

ValueError is raised where an argument does not fit or K bits do not support so many users.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fpbench.stats.matching import Bools, Ints, Matching, TableMatching, check_bits
from fpbench.stats.surprise import ScoreTable, surprise_threshold, unsurpassed
from fpbench.stats.tails import log_any_tail, supports, survives, threshold

Floats = npt.NDArray[np.float64]
Seen = Matching | ScoreTable


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
    check_bits("matches", read, issued)
    # Agreements minus disagreements; single precision is exact below 2^24 and uses the fast matrix
    # product.
    signs = (2 * read.astype(np.float32) - 1) @ (2 * issued.astype(np.float32) - 1).T
    return np.asarray((signs.astype(np.int64) + read.shape[1]) // 2)


def open_set(
    match: npt.ArrayLike | Seen,
    owners: npt.ArrayLike | None,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: float | None = None,
) -> OpenSet:
    """Open-set attribution of images of registered users: accuse the best match if it reaches t.

    s >= t: right = [s > b] q(s), wrong = 1 - right. s < t: wrong = 1 where b >= t, else 1 - q(t).
    None is the rest. Ties of the best match count as wrong.
    """
    seen = _seen("open_set", match, owners, bits)
    t, distractors = _registry("open_set", seen, bits, registered, false_rate, calibrated)
    own, other = seen.own, seen.other
    accused_anyway = np.where(other >= t, 1.0, _any_distractor(seen, bits, t, distractors))
    right = np.where((own >= t) & (own > other), _spared(seen, bits, distractors), 0.0)
    wrong = np.where(own >= t, 1 - right, accused_anyway)
    none = np.where(own >= t, 0.0, 1 - accused_anyway)
    return OpenSet(right, wrong, none)


def accused(
    match: npt.ArrayLike | Seen,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: float | None = None,
) -> Floats:
    """Probability `(N,)` that any registered user is accused, for images of none of them.

    1 where the best issued match reaches t, else 1 - q(t).
    """
    seen = _seen("accused", match, None, bits)
    t, distractors = _registry("accused", seen, bits, registered, false_rate, calibrated)
    return np.where(seen.best >= t, 1.0, _any_distractor(seen, bits, t, distractors))


def unregistered(
    match: npt.ArrayLike | Seen,
    owners: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: float | None = None,
) -> Floats:
    """Leave-one-out negatives `(N,)`: `accused` after one more distractor took the owner's place.

    The number of registered users stays what it is; of scores, which have no distractors, it is one
    less.
    """
    seen = _seen("unregistered", match, owners, bits)
    t, distractors = _registry("unregistered", seen, bits, registered, false_rate, calibrated)
    instead = distractors + 1 if calibrated is None else distractors
    return np.where(seen.other >= t, 1.0, _any_distractor(seen, bits, t, instead))


def detection(
    match: npt.ArrayLike | Seen,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: float | None = None,
) -> Floats:
    """Probability `(N,)` that the largest match over the registered users reaches t.

    The event of `accused`, asked of any image: of a copy it is a true positive, else a false one.
    """
    return accused(match, bits, registered, false_rate, calibrated)


def collusion(
    match: npt.ArrayLike | Seen,
    members: npt.ArrayLike,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: float | None = None,
    rule: Literal["all", "one", "best"] = "all",
) -> Collusion:
    """Who is accused for images of coalitions, by one of three rules.

    A coalition's image may carry several codes. "all": everybody whose match reaches t is accused.
    "one": whoever does so alone; where several do, nobody is. "best": the best match if it reaches
    t, as in `open_set`; one that ties with somebody innocent counts as framed.

    Args:
        match: as in every function of this module; without owners.
        members: `(N, S)` indices of the users in the coalition behind each image.
        bits: K.
        registered: N of the registry.
        false_rate: alpha.
        calibrated: t of scores.
        rule: who is accused.
    """
    seen = _seen("collusion", match, None, bits)
    t, distractors = _registry("collusion", seen, bits, registered, false_rate, calibrated)
    inside = np.asarray(members)
    if (
        inside.ndim != 2
        or len(inside) != seen.images
        or not np.issubdtype(inside.dtype, np.integer)
    ):
        msg = f"collusion: expected members ({seen.images}, S), got {inside.dtype} {inside.shape}"
        raise ValueError(msg)
    if rule != "all":
        accuse = _alone if rule == "one" else _foremost
        return accuse(seen, inside, t, bits, distractors)
    reached = np.sum([seen.of(column) >= t for column in inside.T], axis=0)
    caught = np.asarray(reached > 0, dtype=np.float64)
    innocent = seen.hits(t).by_image > reached
    framed: Floats = np.where(innocent, 1.0, _any_distractor(seen, bits, t, distractors))
    return Collusion(
        traced=caught * (1 - framed),
        traced_and_framed=caught * framed,
        framed=(1 - caught) * framed,
        lost=(1 - caught) * (1 - framed),
    )


def _alone(seen: Seen, members: Ints, t: float, bits: int, distractors: int) -> Collusion:
    """Outcomes where whoever alone reaches t is accused."""
    match, inside = _table(seen, members)
    above = match >= t
    caught, framed = (above & inside).sum(axis=1), (above & ~inside).sum(axis=1)
    spared = 1 - _any_distractor(seen, bits, t, distractors)
    others = max(distractors - 1, 0)
    single = _any_distractor(seen, bits, t, 1) * (1 - _any_distractor(seen, bits, t, others))
    traced = ((caught == 1) & (framed == 0)) * spared
    blamed = ((caught == 0) & (framed == 1)) * spared
    blamed += ((caught == 0) & (framed == 0)) * distractors * single
    return Collusion(traced, np.zeros(seen.images), blamed, np.maximum(1 - traced - blamed, 0))


def _foremost(seen: Seen, members: Ints, t: float, bits: int, distractors: int) -> Collusion:
    """Outcomes where the best match is accused if it reaches t."""
    match, inside = _table(seen, members)
    theirs, other = (np.where(of, match, -np.inf).max(axis=1) for of in (inside, ~inside))
    caught = theirs >= t
    traced = np.where(caught & (theirs > other), _unbeaten(seen, bits, theirs, distractors), 0.0)
    by_chance = np.where(other >= t, 1.0, _any_distractor(seen, bits, t, distractors))
    framed: Floats = np.where(caught, 1 - traced, by_chance)
    lost: Floats = np.where(caught, 0.0, 1 - by_chance)
    return Collusion(traced, np.zeros(seen.images), framed, lost)


def _table(seen: Seen, members: Ints) -> tuple[Floats, Bools]:
    """(N, U) match of each reading with each code, and whose of them are members."""
    everyone = [np.full(seen.images, user) for user in range(seen.codes)]
    inside = np.zeros((seen.images, seen.codes), dtype=np.bool_)
    np.put_along_axis(inside, members, values=True, axis=1)
    table = np.stack([seen.of(user) for user in everyone], axis=1)
    return table.astype(np.float64), inside


def closed_set(match: npt.ArrayLike | Seen, owners: npt.ArrayLike | None) -> Bools:
    """Whether the owner's code is strictly the best match among the U issued ones, `(N,)` bool."""
    seen = _seen("closed_set", match, owners, None)
    return np.asarray(seen.own > seen.other_issued)


def verification(
    match: npt.ArrayLike | Seen, owners: npt.ArrayLike, bits: int, false_rate: float
) -> Bools:
    """Whether each image fits the claimed code of its owner, `(N,)` bool: s >= t of one code."""
    seen = _seen("verification", match, owners, bits)
    return np.asarray(seen.own >= _threshold("verification", seen, bits, 1, false_rate))


def false_verification(
    match: npt.ArrayLike | Seen, owners: npt.ArrayLike | None, bits: int, false_rate: float
) -> Floats:
    """False verification rate `(U,)` of each issued user over the images that are not of that user.

    In [0, 1], nan for a user who owns every image. The mean is the measured rate, the maximum the
    worst user's. Owners None = images of nobody.
    """
    seen = _seen("false_verification", match, owners, bits)
    hits = seen.hits(_threshold("false_verification", seen, bits, 1, false_rate)).by_code
    counts, rates = seen.foreign, np.full(seen.codes, np.nan)
    return np.asarray(np.divide(hits, counts, out=rates, where=counts > 0))


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


def average_precision(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Mean over positives of the share of positives among all that score as much or more.

    The step-wise area under the curve of precision and recall; ties are taken together.

    Args:
        positive: `(P,)` scores, P >= 1, infinities allowed.
        negative: `(M,)` scores.

    Returns:
        In [0, 1].

    Raises:
        ValueError: If there are no positives, or a score is nan.
    """
    high, low = np.sort(np.ravel(positive)), np.sort(np.ravel(negative))
    if high.size == 0 or np.isnan(high).any() or np.isnan(low).any():
        msg = f"average_precision: expected scores without nan, got {high.size} and {low.size}"
        raise ValueError(msg)
    hits = high.size - np.searchsorted(high, high, side="left")
    false = low.size - np.searchsorted(low, high, side="left")
    return float((hits / (hits + false)).mean())


def _any_distractor(seen: Seen, bits: int, t: float, distractors: int) -> float:
    """Probability that any distractor reaches t."""
    if isinstance(seen, ScoreTable):
        return float(1 - unsurpassed(t, distractors))
    return float(np.exp(log_any_tail(bits, int(t), distractors)))


def _spared(seen: Seen, bits: int, distractors: int) -> Floats:
    """Probability `(N,)` that no distractor ties with the owner or beats him."""
    return _unbeaten(seen, bits, seen.own, distractors)


def _unbeaten(seen: Seen, bits: int, match: Ints | Floats, distractors: int) -> Floats:
    """Probability `(N,)` that no distractor ties with a match `(N,)` or beats it."""
    if isinstance(seen, ScoreTable):
        return unsurpassed(np.maximum(match, 0.0), distractors)  # who is nobody is below 0
    # Few values of a match there are, whatever the number of images; below 0 there is nobody.
    counts = np.maximum(match, 0).astype(np.int64)
    return survives(bits, np.arange(bits + 1), distractors)[counts]


def _threshold(who: str, seen: Seen, bits: int, registered: int, false_rate: float) -> float:
    t = threshold(bits, false_rate, registered)
    if t is None or not supports(bits, registered, false_rate):
        msg = (
            f"{who}: {bits} bits do not support {registered} users at a false rate of {false_rate}"
        )
        raise ValueError(msg)
    return surprise_threshold(false_rate, registered) if isinstance(seen, ScoreTable) else t


def _registry(
    who: str,
    match: Seen,
    bits: int,
    registered: int,
    false_rate: float,
    calibrated: float | None,
) -> tuple[float, int]:
    """Threshold t and number of distractors D."""
    issued = match.codes
    if registered < issued:
        msg = f"{who}: expected registered >= {issued} issued users, got {registered}"
        raise ValueError(msg)
    if calibrated is not None:
        if registered > issued:
            msg = (
                f"{who}: expected the scores of all {registered} registered users, since a "
                f"threshold that was calibrated knows no others, got those of {issued}"
            )
            raise ValueError(msg)
        return calibrated, 0
    return _threshold(who, match, bits, registered, false_rate), registered - issued


def _seen(
    who: str, match: npt.ArrayLike | Seen, owners: npt.ArrayLike | None, bits: int | None
) -> Seen:
    if isinstance(match, Matching | ScoreTable):
        return match
    return TableMatching(who, match, owners, bits)
