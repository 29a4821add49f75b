"""Scalable fingerprinting of GANs: the code modulates every convolution."""
