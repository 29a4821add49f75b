"""Train the network behind `fpbench.nn.sound_features.SoundFeatures` and write its file.

    python scripts/train_sound_features.py

Data: the digits of `toy-speech`, synthesised here; nothing is read or downloaded. The network hears
clips to which up to a few of 14 distortions were done and tells, from its 64 features by one linear
map, the digit, the voice, the pitch, and the strength of each distortion. The map is then dropped
and the features are whitened. One seed and one thread: the same machine and torch give the same
file; another may round differently.
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
from fpbench.api.sounds import to_float, to_int16
from fpbench.builtin.toy_speech.speech import VOICES, WORDS, cast, speak
from fpbench.nn.sound_features import SOUND_FEATURES_FILE, SoundFeatureNetwork

_RATE, _LENGTH = 8000, 4096
_POOL, _BATCH = 16_000, 64
_FIRST_TEST, _FIRST_REFERENCE = 10_000_000, 20_000_000

Distortion = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@click.command()
@click.option("--steps", default=1600, show_default=True, help="Batches to train on.")
@click.option("--seed", default=20261129, show_default=True, help="Of weights and draws.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=SOUND_FEATURES_FILE,
    show_default="the file in the package",
    help="Where the weights go.",
)
def main(steps: int, seed: int, output: Path) -> None:
    """Train, whiten, write the weights and print what they hear."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    start = time.perf_counter()
    rng = torch.Generator().manual_seed(seed)
    network = _train(steps, rng)
    _whiten(network, to_float(_clips(range(1_000_000, 1_004_000))), rng)
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    output.write_bytes(save(weights))
    click.echo(f"{output}: {output.stat().st_size:,} bytes, {time.perf_counter() - start:.0f} s")
    click.echo(f"SHA-256 {hashlib.sha256(output.read_bytes()).hexdigest()}")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    _evaluate(network)


def _clips(indices: range) -> Tensor:
    """(N, T) int16 clips of the given indices."""
    return torch.from_numpy(speak(np.arange(indices.start, indices.stop), _RATE, _LENGTH)[:, 0])


# -- distortions: sounds (N, T) in [-1, 1], strength (N,) in (0, 1] --------------------------------


def _normal(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)


def _uniform(count: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, 1, generator=rng)


def _one_of(options: tuple[int, ...], rng: torch.Generator) -> int:
    return options[int(torch.randint(len(options), (), generator=rng))]


def _level(x: Tensor) -> Tensor:
    """(N, 1) root mean square."""
    return x.square().mean(dim=1, keepdim=True).sqrt()


def _beside(x: Tensor, other: Tensor, strength: Tensor) -> Tensor:
    """Another sound added, from 40 dB below to as loud."""
    loud = _level(x) * 10 ** (-2 * (1 - strength[:, None]))
    return x + other * (loud / _level(other).clamp_min(1e-9))


def _shaped(x: Tensor, gain: Callable[[Tensor], Tensor]) -> Tensor:
    """Filtered by a gain (N, F) of frequencies (F,), from 0 to 1 at half of the rate."""
    spectrum = torch.fft.rfft(x)
    return torch.fft.irfft(spectrum * gain(torch.linspace(0, 1, spectrum.shape[1])), x.shape[1])


def _white(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return _beside(x, _normal(tuple(x.shape), rng), strength)


def _pink(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    noise = _shaped(_normal(tuple(x.shape), rng), lambda f: (1 / (f + 0.01).sqrt())[None])
    return _beside(x, noise, strength)


def _muffle(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    corner = 0.05 + 0.9 * (1 - strength[:, None])
    return _shaped(x, lambda f: 1 / (1 + (f / corner) ** 8).sqrt())


def _thin(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    corner = 0.01 + 0.3 * strength[:, None]
    return _shaped(x, lambda f: 1 / (1 + (corner / f.clamp_min(1e-3)) ** 4).sqrt())


def _colour(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    bends = _normal((len(x), 1, 8), rng) * strength[:, None, None] * 12 / 20
    return _shaped(
        x,
        lambda f: 10 ** F.interpolate(bends, len(f), mode="linear", align_corners=True)[:, 0],
    )


def _clip(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    most = x.abs().amax(dim=1, keepdim=True) * (1 - 0.95 * strength[:, None])
    return x.clamp(-most, most)


def _coarse(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    levels = 2 ** (8 - 6 * strength[:, None])
    return torch.round(x * levels) / levels


def _gain(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    signs = torch.randint(2, (len(x),), generator=rng) * 2.0 - 1
    return x * 10 ** (strength * signs)[:, None]


def _echo(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    lag = int(torch.randint(80, 1200, (), generator=rng))
    return x + 0.9 * strength[:, None] * F.pad(x, (lag, 0))[:, : x.shape[1]]


def _gap(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    place = torch.linspace(0, 1, x.shape[1])
    start = _uniform(len(x), 0, 0.9, rng)
    inside = (place >= start) & (place < start + 0.5 * strength[:, None])
    return torch.where(inside, 0.0, x)


def _blend(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    return _beside(x, x.roll(1, 0), strength)


def _buzz(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """A pattern with the period of a generator's steps, as loud as what it lies on."""
    period = _one_of((16, 32, 64, 256), rng)
    tile = _normal((len(x), period), rng).repeat(1, x.shape[1] // period + 1)[:, : x.shape[1]]
    loud = F.avg_pool1d(x.abs()[:, None], 129, stride=1, padding=64)[:, 0] + 1e-4
    return x + 0.7 * strength[:, None] ** 2 * tile * loud


def _spectral(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    window = torch.hann_window(256)
    spectrum = torch.stft(x, 256, 64, window=window, return_complex=True)
    return torch.istft(change(spectrum), 256, 64, window=window, length=x.shape[1])


def _scramble(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Phases that are not those of a sound, as where only magnitudes were learnt."""

    def change(spectrum: Tensor) -> Tensor:
        turns = _normal(tuple(spectrum.shape), rng) * (2.5 * strength[:, None, None])
        return spectrum * torch.polar(torch.ones_like(turns), turns)

    return _spectral(x, change)


def _smear(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Magnitudes blurred over frequency and time, as from a loss that averages."""

    def change(spectrum: Tensor) -> Tensor:
        size = spectrum.abs()
        blurred = F.avg_pool2d(size[:, None], (9, 5), stride=1, padding=(4, 2))[:, 0]
        share = strength[:, None, None]
        return spectrum * (((1 - share) * size + share * blurred) / size.clamp_min(1e-6))

    return _spectral(x, change)


# Name: what it does, how often.
_DISTORTIONS: dict[str, tuple[Distortion, float]] = {
    "white": (_white, 0.12),
    "pink": (_pink, 0.12),
    "muffle": (_muffle, 0.12),
    "thin": (_thin, 0.08),
    "colour": (_colour, 0.1),
    "clip": (_clip, 0.08),
    "coarse": (_coarse, 0.08),
    "gain": (_gain, 0.08),
    "echo": (_echo, 0.1),
    "gap": (_gap, 0.1),
    "blend": (_blend, 0.1),
    "buzz": (_buzz, 0.12),
    "scramble": (_scramble, 0.12),
    "smear": (_smear, 0.15),
}
_CLEAN_SHARE = 0.2


def _distort(x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distorted 16-bit sounds as floats, and strengths (N, D), 0 where a distortion is absent."""
    strengths = torch.rand(len(x), len(_DISTORTIONS), generator=rng) ** 1.5
    shares = torch.tensor([share for _, share in _DISTORTIONS.values()])
    strengths *= torch.rand(strengths.shape, generator=rng) < shares
    strengths *= torch.rand(len(x), 1, generator=rng) >= _CLEAN_SHARE
    apply = [function for function, _ in _DISTORTIONS.values()]
    for kind in torch.randperm(len(apply), generator=rng).tolist():
        chosen = strengths[:, kind].nonzero().flatten()
        if len(chosen):
            x[chosen] = apply[kind](x[chosen], strengths[chosen, kind], rng).clamp(-1, 1)
    return to_float(to_int16(x)), strengths


# -- training ------------------------------------------------------------------------------------


def _train(steps: int, rng: torch.Generator) -> SoundFeatureNetwork:
    clips, said = _clips(range(_POOL)), cast(np.arange(_POOL))
    words, voices = torch.from_numpy(said.words), torch.from_numpy(said.voices)
    pitches = torch.from_numpy(said.pitches).log2()
    pitches = (pitches - pitches.mean()) / pitches.std()
    network = SoundFeatureNetwork(_RATE)
    counts = (len(WORDS), VOICES, 1, len(_DISTORTIONS))
    head = nn.Linear(64, sum(counts))
    _initialise(network, head, rng)
    parameters = [*network.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=2e-3, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=3e-3, total_steps=steps, pct_start=0.1
    )
    sums = torch.zeros(4)
    for step in range(steps):
        rows = torch.randint(_POOL, (_BATCH,), generator=rng)
        sounds, strengths = _distort(to_float(clips[rows]), rng)
        word, voice, pitch, damage = head(network(sounds)).split(counts, dim=1)
        # A clip that was destroyed cannot be understood; 6 brings a strength near unit variance.
        visible = 1 - 0.8 * strengths.amax(1)
        losses = [
            (visible * F.cross_entropy(word, words[rows], reduction="none")).mean(),
            (visible * F.cross_entropy(voice, voices[rows], reduction="none")).mean(),
            (visible * (pitch[:, 0] - pitches[rows]).square()).mean(),
            (6 * (damage - strengths)).square().mean(),
        ]
        optimiser.zero_grad()
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        sums += torch.stack(losses).detach()
        if (step + 1) % 200 == 0:
            told = ", ".join(
                f"{name} {float(loss) / 200:.3f}"
                for name, loss in zip(("digit", "voice", "pitch", "damage"), sums, strict=True)
            )
            click.echo(f"step {step + 1}: {told}")
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
def _whiten(network: SoundFeatureNetwork, sounds: Tensor, rng: torch.Generator) -> None:
    """Fold into the linear map what gives clean features mean 0, and damage the scale of content.

    The mean of two covariances becomes I: that of clean and that of distorted clips, as of images
    in `train_features.py`, which says why.
    """
    for layer in network.layers:
        # As stored, so that the map fits the convolutions that will be loaded.
        for parameter in layer.parameters():
            parameter.copy_(parameter.half().float())
    distorted, _ = _distort(sounds.clone(), rng)
    features, spoilt = (
        torch.cat([network(batch) for batch in torch.split(part, 500)]).double()
        for part in (sounds, distorted)
    )
    variances, axes = torch.linalg.eigh((features.T.cov() + spoilt.T.cov()) / 2)
    whiten = (axes / variances.sqrt()) @ axes.T
    network.mix.weight.copy_(whiten @ network.mix.weight.double())
    network.mix.bias.copy_(whiten @ (network.mix.bias.double() - features.mean(0)))


# -- evaluation ----------------------------------------------------------------------------------


@torch.no_grad()
def _evaluate(network: SoundFeatureNetwork) -> None:
    """Print what a linear map reads from the features, and Fréchet distances under distortions."""

    def features(sounds: Tensor) -> Tensor:
        return torch.cat([network(batch) for batch in torch.split(sounds, 500)])

    def moments(sounds: Tensor) -> tuple[Any, Any]:
        return stats.moments(features(sounds).numpy())

    reference = range(_FIRST_REFERENCE, _FIRST_REFERENCE + 2000)
    known = features(to_float(_clips(reference)))
    clean = to_float(_clips(range(_FIRST_TEST, _FIRST_TEST + 540)))
    for name in ("words", "voices"):
        right = [
            torch.from_numpy(getattr(cast(np.arange(part.start, part.stop)), name))
            for part in (reference, range(_FIRST_TEST, _FIRST_TEST + 540))
        ]
        wanted = F.one_hot(right[0]).float() - 0.1
        ones = torch.ones(len(known), 1)
        fitted = torch.linalg.lstsq(torch.cat([known, ones], 1), wanted).solution
        guess = torch.cat([features(clean), ones[: len(clean)]], 1) @ fitted
        share = float((guess.argmax(1) == right[1]).float().mean())
        click.echo(f"{name} that least squares read from features of 540 other clips: {share:.3f}")
    levels = (0.05, 0.2, 0.8)
    click.echo("Fréchet distance to 1,000 clean clips of 540 clips distorted at strength")
    click.echo(" " * 12 + "".join(f"{level:>9}" for level in levels))
    real = stats.moments(known[:1000].numpy())
    click.echo(f"{'clean':<12}{stats.frechet(*moments(clean), *real):9.1f}")
    for name, (function, _) in _DISTORTIONS.items():
        row = f"{name:<12}"
        for level in levels:
            rng = torch.Generator().manual_seed(1)
            broken = function(clean, torch.full((len(clean),), level), rng).clamp(-1, 1)
            distance = stats.frechet(*moments(to_float(to_int16(broken))), *real)
            row += f"{distance:9.1f}"
        click.echo(row)


if __name__ == "__main__":
    main()
