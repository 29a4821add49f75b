"""Gaussian Shading: codes in the signs of the latents that a copy draws."""
