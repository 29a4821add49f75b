"""The numerics epoch: part of every key of a stage that computes with `fpbench.nn`/`training`."""

NUMERICS_EPOCH = 3
"""Raised when a change in `fpbench.nn`, `fpbench.training` or in what of the API needs torch may
change a number. A test fails when their source changes without a new epoch or a waiver."""
