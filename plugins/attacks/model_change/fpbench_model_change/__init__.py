"""Attacks on a copy: noise, pruning, quantisation, fine-tuning, overwriting, distillation."""
