"""Content-addressed artefacts and append-only records on disk."""

from fpbench.store.objects import Store
from fpbench.store.records import RecordLog, no_collector

__all__ = ["RecordLog", "Store", "no_collector"]
