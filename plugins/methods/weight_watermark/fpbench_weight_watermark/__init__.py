"""Uchida's watermark: a code in the mean kernel of one convolution, read from a copy's weights."""
