"""Codes in the weights of a decoder, by several modulations and readers."""
