"""The parts of `recompute.py`: what a run's numbers are, written once more from the specification.

numpy, scipy and the standard library alone; nothing of fpbench, so that no mistake is shared.
"""
