"""Whitened principal components of images: a linear code, spread like normal latents."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fpbench.api import SampleStream

__all__ = ["PCA_SIZE", "components_of", "fit_pca", "project"]

PCA_SIZE = 16
"""Images are averaged down to this side first: the leading components are smooth, and a basis of
768 numbers costs a fraction of a second where one of full-size pixels costs minutes."""


_IMAGES = 10_000
_CHUNK = 1024


def components_of(images: SampleStream, components: int) -> tuple[Tensor, Tensor]:
    """`fit_pca` of the first images of a split, 10,000 at most: whoever asks gets the same."""
    count = min(len(images), _IMAGES)
    places = np.array_split(np.arange(count), -(-count // _CHUNK))
    return fit_pca(torch.cat([images.read(place) for place in places]), components)


@torch.no_grad()
def fit_pca(images: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Mean and whitening basis of a set of images.

    Computed in float64, with the sign of each component fixed such that its largest entry is
    positive, so that one set of images gives one basis.

    Args:
        images: ``(N, 3, H, W)`` uint8, H and W multiples of 16.
        components: How many, Z.

    Returns:
        ``(768,)`` and ``(768, Z)`` float32: ``(pixels - mean) @ basis`` has unit variance per
        component over the images.
    """
    pixels = torch.cat([_pixels(part).double() for part in torch.split(images, 1024)])
    mean = pixels.mean(0)
    centred = pixels - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(pixels))
    values, vectors = values[-components:].flip(0), vectors[:, -components:].flip(1)
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    basis = vectors * peaks.sign() / values.clamp_min(1e-9).sqrt()
    return mean.float(), basis.float()


@torch.no_grad()
def project(images: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """``(N, Z)`` whitened coordinates of uint8 images ``(N, 3, H, W)``; see :func:`fit_pca`."""
    return (_pixels(images) - mean) @ basis


def _pixels(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images.float() / 127.5 - 1, PCA_SIZE).flatten(1)
