"""Attacks on the pipeline: steps left out or exchanged, latents drawn by the adversary."""
