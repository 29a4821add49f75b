"""Finds, loads and validates plugins; the only code that touches pluggy's manager."""

from fpbench.registry.catalogue import Catalogue, Unavailable, load

__all__ = ["Catalogue", "Unavailable", "load"]
