"""Samples made anew: encoded and decoded by an autoencoder that knows no fingerprint."""
