"""Attacks on the pipeline: running a copy without its last step."""
