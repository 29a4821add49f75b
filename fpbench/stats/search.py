"""Search of a real registry for the code that a reading is nearest to.

`attribution` integrates over registered users whose codes are not drawn; an owner who has the codes
searches them. Letters: N readings, R registered codes, K bits.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpbench.api import MissingResource

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

# Match of the second best where there is no second: below every match.
_NOBODY = -1


@dataclass(frozen=True)
class Nearest:
    """The best registered code of each reading.

    Attributes:
        index: `(N,)` in [0, R), the best code; one of the best where `match == runner_up`.
        match: `(N,)` in [0, K], its number of equal bits.
        runner_up: `(N,)` in [0, K], that of the second best, at most `match`; -1 if R = 1.
    """

    index: Ints
    match: Ints
    runner_up: Ints


def nearest(readings: npt.ArrayLike, codes: npt.ArrayLike) -> Nearest:
    """Best match of each reading in a registry, by exhaustive search with FAISS.

    Exact: the same numbers as the largest two of `matches`, in the memory of the packed codes
    (Douze et al. 2024). FAISS uses the threads that it is set to.

    Args:
        readings: `(N, K)` bool.
        codes: `(R, K)` bool, R >= 1, K >= 1.

    Returns:
        Index, match and the match of the second best.

    Raises:
        ValueError: If the arrays are not bool, differ in K, or there are no codes or bits.
        MissingResource: If FAISS is not installed; says how to get it.
    """
    read, registry = np.asarray(readings), np.asarray(codes)
    if read.dtype != np.bool_ or registry.dtype != np.bool_:
        msg = f"nearest: expected bool readings and codes, got {read.dtype} and {registry.dtype}"
        raise ValueError(msg)
    if read.ndim != 2 or registry.ndim != 2 or read.shape[1] != registry.shape[1]:
        msg = f"nearest: expected (N, K) and (R, K), got {read.shape} and {registry.shape}"
        raise ValueError(msg)
    if registry.size == 0:
        msg = f"nearest: expected codes (R, K) with R >= 1 and K >= 1, got {registry.shape}"
        raise ValueError(msg)
    if len(read) == 0:
        none = np.zeros(0, dtype=np.int64)
        return Nearest(none, none, none)
    found, distance = nearest_packed(_packed(read), _packed(registry), min(2, len(registry)))
    match = read.shape[1] - distance
    second = match[:, 1] if len(registry) > 1 else np.full(len(read), _NOBODY, dtype=np.int64)
    return Nearest(found[:, 0], match[:, 0], second)


def nearest_packed(readings: Bytes, codes: Bytes, k: int) -> tuple[Ints, Ints]:
    """The k nearest codes of each reading, by exhaustive search with FAISS.

    Args:
        readings: `(N, B)`, N >= 1: bits as `numpy.packbits` packs them.
        codes: `(R, B)`, contiguous.
        k: 1 to R.

    Returns:
        `(N, k)` indices and `(N, k)` numbers of bits that differ, nearest first. Which of several
        equally near ones comes first, or at all at the end of the k, is left open.

    Raises:
        MissingResource: If FAISS is not installed; says how to get it.
    """
    try:
        import faiss
    except ImportError as error:
        msg = (
            "nearest: searching a registry needs FAISS, which cannot be imported here "
            f"({error}); run in fpbench's folder: uv sync --extra search "
            "(or pip install 'fpbench[search]')"
        )
        raise MissingResource(msg) from error
    # `IndexBinaryFlat` does the same in batches of 32 readings, after each of which the threads
    # meet: twice the time on a busy machine.
    distance, found = faiss.knn_hamming(readings, codes, k)
    return found.astype(np.int64), distance.astype(np.int64)


def _packed(bits: Bools) -> Bytes:
    # The last byte is filled with zeros in both, which are equal and add nothing to the distance.
    return np.ascontiguousarray(np.packbits(bits, axis=1))
