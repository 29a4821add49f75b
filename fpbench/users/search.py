"""Search among the codes of a registry: exact, by counting bits, in the memory of a few tiles.

Letters: N readings, R codes, K bits. Results are the same however the codes are cut into shards, so
a registry over many machines is searched shard by shard and the answers are united.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

# A tile is worked on within a core's cache: 16 readings × 8,192 codes × 8 bytes are 1 MiB.
_TILE_CODES = 8192
_TILE_READINGS = 16
# Another process takes about a second to start: as long as this many words are compared.
_WORTH_A_PROCESS = 4_000_000_000


Engine = Literal["scan", "faiss"]


@dataclass(frozen=True)
class Found:
    """The best codes of each reading.

    Attributes:
        number: `(N, k)`, best first; of equal ones the lowest number first. -1 beyond the last.
        match: `(N, k)` in [0, K], how many bits are equal; -1 beyond the last.
    """

    number: Ints
    match: Ints


@dataclass(frozen=True)
class Hits:
    """All codes that agree with a reading in enough bits, by reading and then by number.

    Attributes:
        reading: `(H,)` in [0, N).
        number: `(H,)` in [0, R).
        match: `(H,)` in [threshold, K].
    """

    reading: Ints
    number: Ints
    match: Ints


def nearest(
    packed: Bytes, readings: Bools, k: int = 1, *, jobs: int = 1, engine: Engine = "scan"
) -> Found:
    """The k codes that agree with each reading in the most bits.

    Args:
        packed: `(R, ceil(K/8))` uint8 as `Registry.codes` gives them.
        readings: `(N, K)` bool.
        k: how many, at least 1.
        jobs: processes at most; more than one only where `packed` is a mapped file and large.
        engine: "scan" counts here, "faiss" with FAISS in its own threads; the answers are the same.

    Raises:
        ValueError: shapes or types do not fit, or k < 1.
        MissingResource: FAISS is asked for and not installed.
    """
    _check(packed, readings)
    if k < 1:
        raise ValueError(f"nearest: expected k >= 1, got {k}")
    if engine == "faiss" and len(packed) and len(readings):
        return _by_faiss(packed, readings, k)
    parts = _over_shards(partial(_nearest, readings=readings, k=k), packed, len(readings), jobs)
    return united(parts, k)


def above(packed: Bytes, readings: Bools, threshold: int, *, jobs: int = 1) -> Hits:
    """All codes that agree with a reading in `threshold` bits or more.

    Args:
        packed: `(R, ceil(K/8))` uint8 as `Registry.codes` gives them.
        readings: `(N, K)` bool.
        threshold: least number of equal bits.
        jobs: as in `nearest`.

    Raises:
        ValueError: shapes or types do not fit.
    """
    _check(packed, readings)
    search = partial(_above, readings=readings, threshold=threshold)
    parts = _over_shards(search, packed, len(readings), jobs)
    columns = [np.concatenate(each) for each in zip(*parts, strict=True)]
    order = np.lexsort((columns[1], columns[0]))
    reading, number, match = (each[order] for each in columns)
    return Hits(reading, number, match)


def united(parts: Sequence[Found], k: int) -> Found:
    """The k best of the answers of several shards, whose numbers are those of the whole."""
    number = np.concatenate([part.number for part in parts], axis=1)
    match = np.concatenate([part.match for part in parts], axis=1)
    # -1 as a number means nobody, whose match of -1 is below every other.
    order = np.lexsort((number, -match), axis=1)[:, :k]
    best = np.take_along_axis(number, order, 1), np.take_along_axis(match, order, 1)
    lacking = ((0, 0), (0, k - order.shape[1]))
    return Found(*(np.pad(each, lacking, constant_values=-1) for each in best))


def _check(packed: Bytes, readings: Bools) -> None:
    if readings.dtype != np.bool_ or readings.ndim != 2 or readings.shape[1] == 0:
        text = f"expected (N, K) bool readings, got {readings.dtype} {readings.shape}"
        raise ValueError(f"search: {text}")
    width = -(-readings.shape[1] // 8)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
        text = f"expected (R, {width}) uint8 codes of {readings.shape[1]} bits"
        raise ValueError(f"search: {text}, got {packed.dtype} {packed.shape}")


_Answer = TypeVar("_Answer")


def _over_shards(
    search: Callable[[Bytes, int], _Answer], packed: Bytes, readings: int, jobs: int
) -> list[_Answer]:
    words = len(packed) * -(-packed.shape[1] // 8) * readings
    jobs = max(1, min(jobs, words // _WORTH_A_PROCESS, os.cpu_count() or 1))
    if jobs == 1 or not isinstance(packed, np.memmap) or packed.filename is None:
        return [search(packed, 0)]
    edges = np.linspace(0, len(packed), jobs + 1).astype(int)
    shard = partial(_search_file, search, os.fspath(packed.filename), packed.offset, packed.shape)
    # Spawned: whoever calls may hold threads of torch, which a fork would tear.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        return list(pool.map(shard, edges[:-1], edges[1:]))


def _search_file(
    search: Callable[[Bytes, int], _Answer],
    file: str,
    offset: int,
    shape: tuple[int, int],
    first: int,
    end: int,
) -> _Answer:
    whole = np.memmap(file, np.uint8, mode="r", offset=offset, shape=shape)
    return search(whole[first:end], int(first))


def _nearest(packed: Bytes, first: int, readings: Bools, k: int) -> Found:
    best = _Best(readings, k)
    _each_tile(packed, readings, best.take)
    number = best.number
    return Found(np.where(number < 0, number, number + first), best.match)


def _by_faiss(packed: Bytes, readings: Bools, k: int) -> Found:
    from fpbench.stats.search import nearest_packed

    # One more than asked for: where it is as near as the last, FAISS chose among equals.
    asked = min(k + 1, len(packed))
    number, distance = nearest_packed(np.packbits(readings, axis=1), np.asarray(packed), asked)
    match = readings.shape[1] - distance
    found = united([Found(number, match)], k)
    if asked > k:
        tied = np.flatnonzero(match[:, k - 1] == match[:, k])
        again = _nearest(packed, 0, readings[tied], k)
        found.number[tied], found.match[tied] = again.number, again.match
    return found


class _Best:
    """The k best so far of each reading."""

    def __init__(self, readings: Bools, k: int) -> None:
        self._bits, self._k = readings.shape[1], k
        self.number: Ints = np.full((len(readings), k), -1, np.int64)
        self.match: Ints = np.full((len(readings), k), -1, np.int64)

    def take(self, reading: int, code: int, distance: NDArray[np.uint16]) -> None:
        """Look at a tile of distances; codes come in the order of their numbers."""
        # What equals the last of the k comes later than it, and is no better. Hardly any is.
        bound = self._bits - self.match[reading : reading + len(distance), -1]
        for row in np.flatnonzero(distance.min(axis=1) < bound):
            near = np.flatnonzero(distance[row] < bound[row])
            if len(near) > self._k:
                near = near[np.argsort(distance[row, near], kind="stable")[: self._k]]
            match = self._bits - distance[row, near].astype(np.int64)
            number = np.concatenate([self.number[reading + row], near + code])
            match = np.concatenate([self.match[reading + row], match])
            order = np.lexsort((number, -match))[: self._k]
            self.number[reading + row], self.match[reading + row] = number[order], match[order]


def _above(packed: Bytes, first: int, readings: Bools, threshold: int) -> tuple[Ints, Ints, Ints]:
    found: list[tuple[Ints, Ints, Ints]] = []
    bits = readings.shape[1]

    def take(reading: int, code: int, distance: NDArray[np.uint16]) -> None:
        some = np.flatnonzero(distance.min(axis=1) <= bits - threshold)  # most have none
        if len(some):
            row, column = np.nonzero(distance[some] <= bits - threshold)
            match = bits - distance[some[row], column].astype(np.int64)
            found.append((some[row] + reading, column + (code + first), match))

    if threshold <= bits:
        _each_tile(packed, readings, take)
    empty = np.zeros(0, np.int64)
    reading, number, match = (np.concatenate(each) for each in zip(*found, (empty,) * 3))  # noqa: B905
    return reading, number, match


def _each_tile(
    packed: Bytes,
    readings: Bools,
    take: Callable[[int, int, NDArray[np.uint16]], None],
) -> None:
    """Hand on (first reading, first code, distances) of every tile, codes in order."""
    wanted = _words(np.packbits(readings, axis=1))
    for code in range(0, len(packed), _TILE_CODES):
        # One word of all codes lies together: the innermost loop runs over codes.
        columns = np.ascontiguousarray(_words(packed[code : code + _TILE_CODES]).T)
        for reading in range(0, len(wanted), _TILE_READINGS):
            take(reading, code, _distances(wanted[reading : reading + _TILE_READINGS], columns))


def _distances(readings: Words, columns: Words) -> NDArray[np.uint16]:
    """(n, c) bits that differ between n readings and c codes."""
    total: NDArray[np.uint16] | None = None
    for word, column in enumerate(columns):
        differing = np.bitwise_count(readings[:, word, None] ^ column)
        total = (
            differing.astype(np.uint16) if total is None else np.add(total, differing, out=total)
        )
    assert total is not None  # no code is without bits
    return total


def _words(packed: Bytes) -> Words:
    """(R, ceil(K/64)) of packed bits; zeros behind the last add nothing to a distance."""
    width = packed.shape[1]
    if width % 8 == 0 and packed.flags.c_contiguous:
        return packed.view(np.uint64)
    padded = np.zeros((len(packed), -(-width // 8) * 8), np.uint8)
    padded[:, :width] = packed
    return padded.view(np.uint64)
