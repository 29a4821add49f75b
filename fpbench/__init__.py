"""fpbench: a benchmark for fingerprints of generative image models."""
