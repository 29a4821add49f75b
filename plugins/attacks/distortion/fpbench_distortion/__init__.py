"""Attacks on images: compression, noise, filters, geometry, colour, occlusion, combinations."""
