"""Attacks on a copy: noise, compression, permutation, fine-tuning, overwriting, distillation."""
