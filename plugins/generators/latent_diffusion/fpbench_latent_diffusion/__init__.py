"""Latent diffusion: a sampler of latents and a decoder behind it."""
