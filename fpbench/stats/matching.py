"""Equal bits of many readings with many codes, where a table of all pairs would be too large.

Readings and codes are packed into machine words; of each pair the differing bits are counted, a
few rows at a time, and only what decisions need is kept. Letters: N images, K bits, R codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.uint8] | npt.NDArray[np.uint32]

_PAIRS = 2**20  # at a time: they fit into a core's cache
_NOBODY = -1
"""Below every match, where there is nobody else."""


@dataclass(frozen=True)
class Hits:
    """Matches that reach a threshold; those with the owner's own code are left out.

    Attributes:
        by_image: (N,) how many.
        by_code: (R,) how many.
    """

    by_image: Ints
    by_code: Ints


class Matching:
    """How N readings match R codes.

    Args:
        readings: (N, K) bool.
        codes: (R, K) bool.
        owners: (N,) index of the code that each reading should show; None = of none.
        issued: U, codes from the first on that are issued ones; None = all.
        least: the lowest threshold that `hits` will be asked for, if it is known: then nothing is
            counted twice.

    Raises:
        ValueError: an argument does not fit.
    """

    def __init__(
        self,
        readings: npt.ArrayLike,
        codes: npt.ArrayLike,
        owners: npt.ArrayLike | None = None,
        issued: int | None = None,
        least: int | None = None,
    ) -> None:
        read, known = np.asarray(readings), np.asarray(codes)
        check_bits("matching", read, known)
        self.images, self.bits = read.shape
        self.codes = len(known)
        self.issued = self.codes if issued is None else issued
        self.owners = None if owners is None else check_owners("matching", owners, *self.shape)
        self._read, self._known = read, known
        self._least = self.bits + 1 if least is None else max(0, least)
        self._seen: _Seen | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(N, R)."""
        return self.images, self.codes

    @property
    def own(self) -> Ints:
        """(N,) match with the owner's code."""
        return self.of(self._their_owners)

    @property
    def best(self) -> Ints:
        """(N,) best match with any code."""
        other = self._found.other
        return other if self.owners is None else np.maximum(other, self.own)

    @property
    def other(self) -> Ints:
        """(N,) best match with a code that is not the owner's; -1 where there is none."""
        return self._found.other

    @property
    def other_issued(self) -> Ints:
        """(N,) the same among issued codes."""
        return self._found.other_issued

    @property
    def foreign(self) -> Ints:
        """(R,) readings that are not the owner's of each code."""
        everyone = np.full(self.codes, self.images, dtype=np.int64)
        if self.owners is None:
            return everyone
        return np.asarray(everyone - np.bincount(self.owners, minlength=self.codes))

    def of(self, codes: Ints) -> Ints:
        """(N,) match of each reading with the code of an index of its own."""
        return np.asarray((self._read == self._known[codes]).sum(axis=1), dtype=np.int64)

    def hits(self, t: float) -> Hits:
        """Which matches reach t."""
        least = max(0, math.ceil(t))
        if least < self._least:
            self._least, self._seen = least, None
        found, first = self._found, least - self._least
        return Hits(
            found.by_image[:, first:].sum(axis=1, dtype=np.int64),
            found.by_code[:, first:].sum(axis=1, dtype=np.int64),
        )

    def counts(self, codes: int) -> Ints:
        """(K + 1,) number of pairs by their match, of all readings and the first few codes."""
        total = np.zeros(self.bits + 1, dtype=np.int64)
        for _, apart in self._apart(codes):
            total += np.bincount(apart.ravel(), minlength=self.bits + 1)[::-1]
        return total

    @property
    def _their_owners(self) -> Ints:
        if self.owners is None:
            raise ValueError("matching: expected readings with owners, got readings of nobody")
        return self.owners

    @property
    def _found(self) -> _Seen:
        if self._seen is None:
            self._seen = self._look()
        return self._seen

    def _look(self) -> _Seen:
        width = max(0, self.bits + 1 - self._least)
        none = self.bits - _NOBODY  # differing bits that give the match of nobody
        other = np.empty(self.images, dtype=np.int64)
        issued = other if self.issued == self.codes else other.copy()
        by_image = np.zeros((self.images, width), dtype=np.int32)
        by_code = np.zeros((self.codes, width), dtype=np.int64)
        for rows, apart in self._apart(self.codes):
            if self.owners is not None:
                apart[np.arange(len(apart)), self.owners[rows]] = none
            other[rows] = self.bits - apart.min(axis=1).astype(np.int64)
            if issued is not other:
                issued[rows] = self.bits - apart[:, : self.issued].min(axis=1).astype(np.int64)
            if width:
                image, code = np.divmod(np.flatnonzero(apart < width), self.codes)
                place = width - 1 - apart[image, code].astype(np.int64)
                size = len(apart) * width
                by_image[rows] = np.bincount(image * width + place, minlength=size).reshape(
                    len(apart), width
                )
                size = self.codes * width
                by_code += np.bincount(code * width + place, minlength=size).reshape(-1, width)
        return _Seen(other, issued, by_image, by_code)

    def _apart(self, count: int) -> Iterator[tuple[slice, Counts]]:
        """Some rows, and how many of their bits differ from each of the first codes; a buffer."""
        read, codes = _packed(self._read), _packed(self._known[:count])
        step = max(1, _PAIRS // max(1, count))
        kind = np.uint8 if self.bits + 1 <= np.iinfo(np.uint8).max else np.uint32
        for first in range(0, self.images, step):
            rows = slice(first, min(first + step, self.images))
            apart = np.zeros((rows.stop - first, count), dtype=kind)
            for word, mask in zip(read, codes, strict=True):
                apart += np.bitwise_count(word[rows, None] ^ mask[None])
            yield rows, apart


class TableMatching(Matching):
    """The same of matches that are at hand.

    Args:
        who: asks, for messages.
        match: (N, R) whole numbers in [0, K].
        owners: (N,), or None.
        bits: K; None = not checked.
    """

    def __init__(
        self, who: str, match: npt.ArrayLike, owners: npt.ArrayLike | None, bits: int | None
    ) -> None:
        self._table = check_table(who, match, bits)
        self.images, self.codes = self._table.shape
        self.issued = self.codes
        self.bits = int(self._table.max(initial=0)) if bits is None else bits
        self.owners = None if owners is None else check_owners(who, owners, *self.shape)
        self._least, self._seen = 0, None

    def of(self, codes: Ints) -> Ints:
        """See `Matching.of`."""
        return np.asarray(self._table[np.arange(self.images), codes])

    def _apart(self, count: int) -> Iterator[tuple[slice, Counts]]:
        yield slice(0, self.images), (self.bits - self._table[:, :count]).astype(np.uint32)


@dataclass(frozen=True)
class _Seen:
    """What one look at all pairs keeps; matches from the lowest threshold on are counted."""

    other: Ints
    other_issued: Ints
    by_image: npt.NDArray[np.int32]
    by_code: Ints


def _packed(bits: Bools) -> list[npt.NDArray[np.unsignedinteger]]:
    """Bits as machine words: one array (N,) for each word of a row."""
    kind = np.dtype(np.uint32 if bits.shape[1] <= 32 else np.uint64)
    packed = np.packbits(bits, axis=1)
    whole = np.zeros((len(bits), -(-packed.shape[1] // kind.itemsize) * kind.itemsize), np.uint8)
    whole[:, : packed.shape[1]] = packed
    return list(np.ascontiguousarray(whole.view(kind).T))


def check_bits(who: str, read: npt.NDArray[np.generic], codes: npt.NDArray[np.generic]) -> None:
    """Refuse what are no readings and codes of one length."""
    if read.dtype != np.bool_ or codes.dtype != np.bool_:
        msg = f"{who}: expected bool readings and codes, got {read.dtype} and {codes.dtype}"
        raise ValueError(msg)
    if read.ndim != 2 or codes.ndim != 2 or read.shape[1] != codes.shape[1]:
        msg = f"{who}: expected (N, K) and (U, K), got {read.shape} and {codes.shape}"
        raise ValueError(msg)


def check_table(who: str, match: npt.ArrayLike, bits: int | None) -> Ints:
    """Matches (N, U) as whole numbers in [0, K]."""
    table = np.asarray(match)
    if table.ndim != 2 or table.shape[1] == 0 or not np.issubdtype(table.dtype, np.integer):
        msg = f"{who}: expected whole numbers (N, U) with U >= 1, got {table.dtype} {table.shape}"
        raise ValueError(msg)
    if table.size and (table.min() < 0 or (bits is not None and table.max() > bits)):
        msg = f"{who}: expected matches in [0, {bits}], got {table.min()} to {table.max()}"
        raise ValueError(msg)
    return table.astype(np.int64)


def check_owners(who: str, owners: npt.ArrayLike, images: int, codes: int) -> Ints:
    """Owners (N,) as indices of codes."""
    index = np.asarray(owners)
    if index.shape != (images,) or not np.issubdtype(index.dtype, np.integer):
        msg = f"{who}: expected owners (N,) = ({images},), got {index.dtype} {index.shape}"
        raise ValueError(msg)
    if index.size and (index.min() < 0 or index.max() >= codes):
        msg = f"{who}: expected owners in [0, {codes - 1}], got {index.min()} to {index.max()}"
        raise ValueError(msg)
    return index.astype(np.int64)
