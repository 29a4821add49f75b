"""Train the network behind `fpbench.nn.features.ToyFeatures` and write its file.

    python scripts/train_features.py

Data: the cartoon faces of `toy-faces`, drawn here; nothing is read or downloaded. The network sees
faces to which up to a few of 17 distortions were done and regresses, from its 64 features by one
linear map, the parameters each face was drawn from and the strength of each distortion. The map is
then dropped and the features are whitened on clean faces. One seed and one thread: the same machine
and torch give the same file; another may round differently.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from safetensors.torch import save
from torch import Tensor, nn

from fpbench import stats
from fpbench.api.images import to_float, to_uint8
from fpbench.builtin.toy_faces import faces
from fpbench.nn import distortions
from fpbench.nn.draws import Draws
from fpbench.nn.features import TOY_FEATURES_FILE, FeatureNetwork

# Side in pixels: faces to train on. Three quarters of the batches have 32 pixels.
_POOLS = {32: 20_000, 48: 4_000, 64: 6_000}
_SIZES = (32, 32, 32, 32, 32, 32, 48, 64)
_BATCH = 64
_FIRST_TEST, _FIRST_REFERENCE = 10_000_000, 20_000_000

Distortion = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@click.command()
@click.option("--steps", default=2200, show_default=True, help="Batches to train on.")
@click.option("--seed", default=20220425, show_default=True, help="Of weights and draws.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=TOY_FEATURES_FILE,
    show_default="the file in the package",
    help="Where the weights go.",
)
def main(steps: int, seed: int, output: Path) -> None:
    """Train, whiten, write the weights and print what they see."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    start = time.perf_counter()
    rng = torch.Generator().manual_seed(seed)
    network = _train(steps, rng)
    _whiten(network, to_float(_faces(range(1_000_000, 1_008_000), 32)), rng)
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    output.write_bytes(save(weights))
    click.echo(f"{output}: {output.stat().st_size:,} bytes, {time.perf_counter() - start:.0f} s")
    click.echo(f"SHA-256 {hashlib.sha256(output.read_bytes()).hexdigest()}")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    _evaluate(network)


# -- faces ---------------------------------------------------------------------------------------


def _faces(indices: range, size: int) -> Tensor:
    """(N, 3, S, S) uint8 faces of the given indices."""
    pixels = faces.draw(np.arange(indices.start, indices.stop), size)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


class _Notes(faces._Dice):
    """Dice that write down what they rolled."""

    def __init__(self, indices: np.ndarray) -> None:
        self.values: list[np.ndarray] = []
        super().__init__(indices)

    def roll(self, low: float, high: float) -> np.ndarray:
        self.values.append(super().roll(low, high))
        return self.values[-1]

    def chance(self, probability: float) -> np.ndarray:
        self.values.append(super().chance(probability))
        return self.values[-1]

    def pick(self, palette: np.ndarray) -> np.ndarray:
        colour = super().pick(palette)
        # The colour itself instead of the share by which two of the palette were mixed.
        self.values[-1:] = list(colour)
        return colour


def _drawn_from(indices: range) -> Tensor:
    """(N, P) float32 parameters of the faces: lengths, pose, colours, which parts there are."""
    notes = _Notes(np.arange(indices.start, indices.stop))
    face = faces._Face(notes)
    # What the face took from its rolls; of colours that were rolled it shows only some.
    notes.values = [
        plane for value in vars(face).values() for plane in (value if value.ndim == 4 else [value])
    ]
    canvas = faces._Canvas.around(face, 4)
    for paint in (
        faces._paint_back,
        faces._paint_skin,
        faces._paint_mouth,
        faces._paint_fringe,
        faces._paint_eyes,
    ):
        paint(canvas, face, notes)
    return torch.from_numpy(np.concatenate(notes.values, axis=2)[:, 0]).float()


# -- distortions: images (N, 3, S, S) in [-1, 1], strength (N,) in (0, 1] --------------------------


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)


def _each(strength: Tensor) -> Tensor:
    """(N, 1, 1, 1)."""
    return strength[:, None, None, None]


def _one_of(options: tuple[int, ...], rng: torch.Generator) -> int:
    return options[int(torch.randint(len(options), (), generator=rng))]


def _noise(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return distortions.noise(x, 0.25 * strength, Draws(rng, len(x)))


def _grain(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Noise in blotches of a few pixels."""
    side = x.shape[-1] // _one_of((2, 4, 8), rng)
    blotches = _normal((len(x), 3, side, side), rng)
    return x + _each(strength) * 0.6 * F.interpolate(blotches, x.shape[-1], mode="bicubic")


def _blur(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return distortions.blur(x, 0.2 + 1.8 * strength)


def _jpeg(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return distortions.jpeg(x, 95 - 85 * strength)


def _posterise(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    levels = _each(2 ** (5 - 4 * strength))
    return torch.round(x * levels) / levels


def _tint(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return x + _each(strength) * 0.35 * _normal((len(x), 3, 1, 1), rng)


def _contrast(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (x - mean) * torch.exp(_each(strength * _signs(x, rng)))


def _saturation(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    grey = x.mean(dim=1, keepdim=True)
    return grey + (x - grey) * (1 + _each(strength * _signs(x, rng)))


def _signs(x: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randint(2, (len(x),), generator=rng) * 2.0 - 1


def _erase(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    fill = (torch.rand(len(x), 3, 1, 1, generator=rng) * 2 - 1).expand_as(x)
    return distortions.paste(fill, x, 0.5 * strength, Draws(rng, len(x)), square=True)


def _warp(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    bends = F.interpolate(_normal((len(x), 2, 5, 5), rng), x.shape[-1], mode="bicubic")
    straight = torch.eye(2, 3).expand(len(x), 2, 3)
    grid = F.affine_grid(straight, list(x.shape), align_corners=False)
    grid = grid + 0.2 * _each(strength) * bends.permute(0, 2, 3, 1)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _shuffle(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """A share of the cells of a grid shows another cell."""
    cells = _one_of((4, 8), rng)
    side = x.shape[-1] // cells
    tiles = F.unfold(x, side, stride=side)
    own = torch.arange(cells**2).expand(len(x), -1)
    other = torch.randint(cells**2, own.shape, generator=rng)
    moved = torch.rand(own.shape, generator=rng) < strength[:, None]
    source = torch.where(moved, other, own)[:, None].expand_as(tiles)
    return F.fold(tiles.gather(2, source), x.shape[-1], side, stride=side)


def _blend(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return x + 0.5 * _each(strength) * (x.roll(1, 0) - x)


def _layers(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Two random convolutions beside the image, as from a generator with damaged weights."""
    count, hidden, shrink = len(x), 6, _one_of((1, 2, 4), rng)
    first = _normal((count * hidden, 3, 3, 3), rng) / math.sqrt(27)
    second = _normal((count * 3, hidden, 3, 3), rng) / math.sqrt(9 * hidden)
    y = F.avg_pool2d(x, shrink).reshape(1, count * 3, x.shape[2] // shrink, -1)
    y = F.leaky_relu(F.conv2d(y, first, padding=1, groups=count), 0.2)
    y = F.conv2d(y, second, padding=1, groups=count).reshape(count, 3, y.shape[2], -1)
    return x + 1.5 * _each(strength) * F.interpolate(y, x.shape[-1], mode="bilinear")


def _pattern(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """A tile of 2, 4 or 8 pixels all over the image, as from upsampling."""
    period = _one_of((2, 4, 8), rng)
    tile = _normal((len(x), 3, period, period), rng)
    repeats = x.shape[-1] // period
    return x + 0.25 * _each(strength) * tile.repeat(1, 1, repeats, repeats)


def _sharpen(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return x + 2 * _each(strength) * (x - distortions.blur(x, torch.ones(len(x))))


def _pixelate(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    coarse = F.avg_pool2d(x, _one_of((2, 4), rng))
    return x + _each(strength) * (F.interpolate(coarse, x.shape[-1]) - x)


def _specks(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    specks = torch.sign(_normal(tuple(x.shape), rng))
    return distortions.paste(specks, x, 0.25 * strength, Draws(rng, len(x)), square=False)


# Name: what it does, how often. Hosts tend to blur, so much must be seen through a blur.
_DISTORTIONS: dict[str, tuple[Distortion, float]] = {
    "noise": (_noise, 0.12),
    "grain": (_grain, 0.1),
    "blur": (_blur, 0.3),
    "jpeg": (_jpeg, 0.1),
    "posterise": (_posterise, 0.06),
    "tint": (_tint, 0.08),
    "contrast": (_contrast, 0.08),
    "saturation": (_saturation, 0.06),
    "erase": (_erase, 0.1),
    "warp": (_warp, 0.1),
    "shuffle": (_shuffle, 0.1),
    "blend": (_blend, 0.1),
    "layers": (_layers, 0.12),
    "pattern": (_pattern, 0.08),
    "sharpen": (_sharpen, 0.08),
    "pixelate": (_pixelate, 0.08),
    "specks": (_specks, 0.06),
}
_CLEAN_SHARE = 0.2


def _distort(x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distorted 8-bit images as floats, and strengths (N, D), 0 where a distortion is absent."""
    strengths = torch.rand(len(x), len(_DISTORTIONS), generator=rng) ** 1.5
    shares = torch.tensor([share for _, share in _DISTORTIONS.values()])
    strengths *= torch.rand(strengths.shape, generator=rng) < shares
    strengths *= torch.rand(len(x), 1, generator=rng) >= _CLEAN_SHARE
    apply = [function for function, _ in _DISTORTIONS.values()]
    for kind in torch.randperm(len(apply), generator=rng).tolist():
        chosen = strengths[:, kind].nonzero().flatten()
        if len(chosen):
            x[chosen] = apply[kind](x[chosen], strengths[chosen, kind], rng).clamp(-1, 1)
    return to_float(to_uint8(x)), strengths


# -- training ------------------------------------------------------------------------------------


def _train(steps: int, rng: torch.Generator) -> FeatureNetwork:
    pools = {size: _faces(range(count), size) for size, count in _POOLS.items()}
    wanted = _drawn_from(range(max(_POOLS.values())))
    wanted = (wanted - wanted.mean(0)) / wanted.std(0).clamp_min(1e-6)
    network = FeatureNetwork()
    head = nn.Linear(64, wanted.shape[1] + len(_DISTORTIONS))
    _initialise(network, head, rng)
    parameters = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-3, total_steps=steps, pct_start=0.1
    )
    sums = torch.zeros(2)
    for step in range(steps):
        size = _one_of(_SIZES, rng)
        rows = torch.randint(_POOLS[size], (_BATCH,), generator=rng)
        images, strengths = _distort(to_float(pools[size][rows]), rng)
        guess = head(network(images))
        content, damage = guess[:, : wanted.shape[1]], guess[:, wanted.shape[1] :]
        # A face that was destroyed cannot be read; 6 brings a strength near unit variance.
        visible = 1 - 0.8 * strengths.amax(1, keepdim=True)
        content_loss = (visible * (content - wanted[rows]).square()).mean()
        damage_loss = (6 * (damage - strengths)).square().mean()
        optimiser.zero_grad()
        (content_loss + damage_loss).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        sums += torch.stack([content_loss.detach(), damage_loss.detach()])
        if (step + 1) % 250 == 0:
            click.echo(f"step {step + 1}: content {sums[0] / 250:.3f}, damage {sums[1] / 250:.3f}")
            sums.zero_()
    return network


@torch.no_grad()
def _initialise(network: nn.Module, head: nn.Module, rng: torch.Generator) -> None:
    """He et al. 2015 for convolutions, unit gain for linear maps; biases 0."""
    for parameter in [*network.parameters(), *head.parameters()]:
        if parameter.dim() == 1:
            parameter.zero_()
        else:
            gain = 2 / 1.04 if parameter.dim() == 4 else 1.0
            spread = math.sqrt(gain / parameter[0].numel())
            parameter.copy_(_normal(tuple(parameter.shape), rng) * spread)


@torch.no_grad()
def _whiten(network: FeatureNetwork, images: Tensor, rng: torch.Generator) -> None:
    """Fold into the linear map what gives clean features mean 0, and damage the scale of content.

    The mean of two covariances becomes I: that of clean and that of distorted faces. Under that of
    clean faces alone the few directions of sharpness, which hardly vary among them, outweigh all
    others, and what sharpens a blurred image hides what breaks it.
    """
    for layer in network.layers:
        # As stored, so that the map fits the convolutions that will be loaded.
        for parameter in layer.parameters():
            parameter.copy_(parameter.half().float())
    distorted, _ = _distort(images.clone(), rng)
    features, spoilt = (
        torch.cat([network(batch) for batch in torch.split(part, 500)]).double()
        for part in (images, distorted)
    )
    variances, axes = torch.linalg.eigh((features.T.cov() + spoilt.T.cov()) / 2)
    whiten = (axes / variances.sqrt()) @ axes.T
    network.mix.weight.copy_(whiten @ network.mix.weight.double())
    network.mix.bias.copy_(whiten @ (network.mix.bias.double() - features.mean(0)))


# -- evaluation ----------------------------------------------------------------------------------


@torch.no_grad()
def _evaluate(network: FeatureNetwork) -> None:
    """Print Fréchet distances of 540 faces under each distortion to 1,000 clean ones."""

    def moments(images: Tensor) -> tuple[Any, Any]:
        return stats.moments(torch.cat([network(b) for b in torch.split(images, 500)]).numpy())

    levels = (0.05, 0.2, 0.8)
    click.echo("Fréchet distance to 1,000 clean faces of 540 faces distorted at strength")
    click.echo(" " * 12 + "".join(f"{level:>9}" for level in levels))
    real = moments(to_float(_faces(range(_FIRST_REFERENCE, _FIRST_REFERENCE + 1000), 32)))
    clean = to_float(_faces(range(_FIRST_TEST, _FIRST_TEST + 540), 32))
    click.echo(f"{'clean':<12}{stats.frechet(*moments(clean), *real):9.1f}")
    for name, (function, _) in _DISTORTIONS.items():
        row = f"{name:<12}"
        for level in levels:
            rng = torch.Generator().manual_seed(1)
            broken = function(clean, torch.full((len(clean),), level), rng)
            distance = stats.frechet(*moments(to_float(to_uint8(broken))), *real)
            row += f"{distance:9.1f}"
        click.echo(row)


if __name__ == "__main__":
    main()
