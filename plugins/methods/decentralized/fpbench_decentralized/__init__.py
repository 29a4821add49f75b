"""Decentralized attribution: a secret key for each user, scores instead of bits."""
