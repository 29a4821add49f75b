"""Spread spectrum: codes in sounds as sums of secret sequences; nothing is trained."""
