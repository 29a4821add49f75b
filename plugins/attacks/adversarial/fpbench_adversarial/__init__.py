"""Images pushed away from what an adversary has learnt to see: detectors, readers, residuals."""
