"""Every number of the images of a cell, and of readings of images without a code."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from audit import rules
from audit.measures import Cell, Row, halves_row, interval_row, row


def rows(cell: Cell) -> Iterator[Row]:
    """All of them."""
    yield from likeness(cell, "damage", "damage")
    yield from distances(cell)
    if cell.level == "none":
        yield from likeness(cell, "imperceptibility", "host")
        yield from code_influence(cell)
        yield from unmarked_bits(cell)
        yield from secrecy(cell)


def likeness(cell: Cell, metric: str, kind: str) -> Iterator[Row]:
    """Means over copies of stored measures of pairs of images."""
    if f"{kind}_psnr" not in cell.copies[0]:
        if kind == "host":
            names = ("psnr", "ssim", *cell.networks)
            yield from (row(metric, name, outcome="refused") for name in names)
        return
    for name in ("psnr", "ssim", *cell.networks):
        yield mean_row(metric, name, [c[f"{kind}_{name}"] for c in cell.copies])


def mean_row(metric: str, variant: str, parts: list[np.ndarray]) -> Row:
    """Mean over copies of a measure of images; equal images, of infinite PSNR, count as 99 dB."""
    copies = [float(np.minimum(part.astype(float), 99.0).mean()) for part in parts]
    more = {"n": sum(map(len, parts)), "clusters": len(copies), "by_copy": copies}
    return interval_row(metric, variant, rules.plain_mean(copies), **more)


def code_influence(cell: Cell) -> Iterator[Row]:
    """PSNR between the images of copies u and u + 1 at shared latents; the last has no next."""
    parts = [column["code_psnr"] for column in cell.copies if "code_psnr" in column]
    yield mean_row("code-influence", "psnr", parts)


def distances(cell: Cell) -> Iterator[Row]:
    """Fréchet distance of copies' features to those of real images, all at one count.

    Every copy gives as many images as the next, the first ones one more where it does not divide.
    Damage is what an attack adds to the distance of the untouched copies, over the host's; limits
    are jackknifed over copies, attacked and untouched ones together.
    """
    if "features" not in cell.copies[0]:
        return
    host = cell.host["features"]
    count = min(int(cell.counts.sum()), len(host), cell.distance_count)
    each, left = divmod(count, len(cell.copies))

    def distance(features: np.ndarray) -> float:
        return rules.frechet(rules.Gaussian.of(features), cell.reference)

    def of_copies(name: str) -> tuple[float, np.ndarray]:
        parts = [c[name][: each + (i < left)] for i, c in enumerate(cell.copies)]
        return distance(np.concatenate(parts)), rules.without_each(parts, distance)

    value, without = of_copies("features")
    of_host = distance(host[:count])
    detail: Row = {"reference": cell.real_images, "images": count, "host": of_host}
    detail["untouched"] = value
    if "own_features" in cell.copies[0]:
        detail["untouched"], before = of_copies("own_features")
        damage = (value - detail["untouched"]) / of_host
        half = rules.jackknife_half((without - before) / of_host)
        detail |= {"damage": damage, "damage_low": damage - half, "damage_high": damage + half}
    detail["ratio_to_untouched"] = value / detail["untouched"]
    half = rules.jackknife_half(without)
    limits = rules.Interval(value, max(value - half, 0.0), value + half, "jackknife over copies")
    more = {"n": count, "clusters": len(cell.copies), "detail": detail}
    yield interval_row("frechet-proxy", "copies", limits, **more)


def unmarked_bits(cell: Cell) -> Iterator[Row]:
    """Bias and dependence of bits that are read from images without a code."""
    for source, column in cell.negatives.items():
        bits = column["logits"] > 0
        images, k = bits.shape
        ones = bits.mean(axis=0)
        varying = bits[:, (ones > 0) & (ones < 1)].astype(float)
        v, with_bit = varying.shape[1], varying.sum(axis=0)
        # Phi from whole numbers, so that bits that do not correlate have exactly 0, a bin's edge.
        spread = np.sqrt(with_bit * (images - with_bit))
        phi = images * (varying.T @ varying) - np.outer(with_bit, with_bit)
        pairs = np.clip(phi / np.outer(spread, spread), -1, 1)[np.triu_indices(v, 1)]
        chance = 1 / (images - 1)
        square = float((pairs**2).mean()) if v > 1 else None
        # Bretherton et al. 1999: (sum l)^2 / sum l^2 of the eigenvalues of the correlation matrix.
        effective = v / (1 + (v - 1) * max(square - chance, 0.0)) if v > 1 else float(v)
        detail = {
            "bits": k,
            "ones": list(ones),
            "largest_bias": float(np.abs(ones - 0.5).max()),
            "constant": k - v,
            "square_correlation": square,
            "square_correlation_by_chance": chance,
            "largest_correlation": float(np.abs(pairs).max()) if v > 1 else None,
            "correlations": np.histogram(pairs, bins=20, range=(-1, 1))[0].tolist(),
        }
        yield row("unmarked-bits", source, float(effective), n=images, detail=detail)


def secrecy(cell: Cell) -> Iterator[Row]:
    """How well the stored scores of the detector tell unseen copies from the host."""
    if not cell.secrecy:
        return
    copies, host = cell.secrecy["copies"], cell.secrecy["host"]
    counts = np.full(len(copies), copies.shape[1])
    detail = {"seen_accuracy": float((cell.secrecy["seen"] > 0).mean())}
    first = ((copies > 0).sum(axis=1), counts)
    found = halves_row("secrecy", "", first, (host <= 0, np.ones(len(host))), detail)
    yield found
    area = rules.auroc(copies, host)
    yield row("secrecy", "auroc", area, n=found["n"], clusters=len(copies))
