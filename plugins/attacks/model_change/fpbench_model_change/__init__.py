"""Attacks on a copy: weight noise, fine-tuning."""
