"""Attacks on images: compression, noise, blur, crop."""
