"""The columns of stored readings, with the shards that were read last at hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fpbench.api import Column, StoreError
from fpbench.store import Store

MOST_KEPT = 2**29  # bytes of readings at hand
_MANY = 100_000  # readings of which it is remembered what they hold


@dataclass(frozen=True)
class _Part:
    """A shard, by column.

    Attributes:
        columns: column -> its tensors by name.
        meta: the shard's plain values.
        size: bytes, about.
    """

    columns: dict[str, dict[str, Any]]
    meta: dict[str, Any]
    size: int


class Columns:
    """Columns of readings by key and name.

    Args:
        store: where the readings lie.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # One copy's shard serves every image point, so the shards of a fit are kept at hand.
        self._parts: OrderedDict[tuple[str, str], _Part] = OrderedDict()
        self._bytes = 0
        self.of = lru_cache(maxsize=_MANY)(store.columns)
        """Column -> shard that holds it, of a reading."""

    def column(self, key: str, column: str) -> Column:
        """The tensors of a column by name, none of which can be changed.

        Raises:
            StoreError: the reading lacks the column, or is damaged.
        """
        shard = self.of(key).get(column)
        if shard is None:
            raise StoreError(f"store: expected column {column} of reading {key}, got none", key)
        return dict(self._part(key, shard).columns.get(column, {}))

    def meta(self, key: str, column: str) -> Mapping[str, Any]:
        """The plain values of the shard that holds a column; empty if none does."""
        shard = self.of(key).get(column)
        return {} if shard is None else self._part(key, shard).meta

    def _part(self, key: str, shard: str) -> _Part:
        """A part of a reading; as many as fit into the memory set aside for them are kept."""
        known = self._parts.get((key, shard))
        if known is not None:
            self._parts.move_to_end((key, shard))
            return known
        found = self._read(key, shard)
        self._parts[key, shard] = found
        self._bytes += found.size
        while self._bytes > MOST_KEPT and len(self._parts) > 1:
            self._bytes -= self._parts.popitem(last=False)[1].size
        return found

    def _read(self, key: str, shard: str) -> _Part:
        found = self._store.shard(key, shard)
        columns: dict[str, dict[str, Any]] = {}
        for label, array in found.arrays.items():
            array.flags.writeable = False  # every metric and every cell is shown the same one
            column, _, name = label.partition("/")
            columns.setdefault(column, {})[name] = array
        size = 1000 + sum(array.nbytes for array in found.arrays.values())
        return _Part(columns, found.meta, size)
