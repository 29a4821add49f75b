"""Bundles of a run that can be shown to others, checked by them, and added to a board."""
