"""The loop plugins train with."""

from fpbench.training.run import TrainingRun

__all__ = ["TrainingRun"]
