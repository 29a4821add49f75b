"""A small StyleGAN2 as host."""
