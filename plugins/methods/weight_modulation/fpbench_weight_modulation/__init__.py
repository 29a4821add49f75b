"""Fingerprints in the scale of a generator's weights."""
