"""Content-addressed artefacts and append-only records on disk."""

from fpbench.store.leases import Holder, Leases
from fpbench.store.objects import Store
from fpbench.store.records import RecordLog, no_collector

__all__ = ["Holder", "Leases", "RecordLog", "Store", "no_collector"]
