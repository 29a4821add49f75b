"""Whom codes trace of a coalition that mixes its copies bit by bit, as a markdown table.

    python tests/simulation/tardos.py --trials 1000

Readings are synthetic and obey the marking assumption: where all members have the same bit, the
reading has it too. Each trial draws its own book, codes and members. One process, minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import click
import numpy as np
from scipy.stats import binom

from fpbench import stats
from fpbench.api import Code, NoParams
from fpbench.builtin.codes.tardos import Tardos, TardosParams
from fpbench.builtin.codes.uniform import Uniform

Array = np.ndarray

SURE = 8.0
"""|logit| of a reading without noise."""
NOISE = 0.5
"""Deviation of the noise that a reader of averaged copies sees on signs of ±1."""


def majority(bits: Array, rng: np.random.Generator) -> Array:
    """What most members have."""
    return bits.mean(axis=0) > 0.5


def minority(bits: Array, rng: np.random.Generator) -> Array:
    """What the fewest members have, if any."""
    return majority(bits, rng) ^ (bits.any(axis=0) & ~bits.all(axis=0))


def random(bits: Array, rng: np.random.Generator) -> Array:
    """The bit of a member drawn anew at each place."""
    return bits[rng.integers(0, len(bits), bits.shape[1]), np.arange(bits.shape[1])]


def ones(bits: Array, rng: np.random.Generator) -> Array:
    """One wherever any member has it."""
    return bits.any(axis=0)


def averaging(bits: Array, rng: np.random.Generator) -> Array:
    """The mean of the members' signs in noise, as honest odds: no marking assumption."""
    mean = np.where(bits, 1.0, -1.0).mean(axis=0)
    return 2 / NOISE**2 * (mean + NOISE * rng.standard_normal(bits.shape[1]))


MIXED: tuple[Callable[[Array, np.random.Generator], Array], ...] = (
    majority, minority, random, ones,
)  # fmt: skip
NAMES = [*(mix.__name__ for mix in MIXED), "averaging"]


def outcomes(
    code: Code, bits: int, users: int, members: int, false_rate: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Of one trial: whether each reading traces a member, and frames anybody else."""
    book = code.book(bits, rng)
    codes = code.draw(bits, users, rng, book)
    theirs = codes[:members]
    signs = [np.where(mix(theirs, rng), SURE, -SURE) for mix in MIXED]
    logits = np.stack([*signs, averaging(theirs, rng)])
    surprise = stats.Surprise(code.log_tail(logits, code.match(logits, codes, book), book))
    inside = np.tile(np.arange(members), (len(logits), 1))
    found = stats.collusion(surprise, inside, bits, users, false_rate)
    return found.traced + found.traced_and_framed, found.framed + found.traced_and_framed


@click.command()
@click.option("--trials", default=1000, show_default=True, help="Coalitions behind each number.")
@click.option("--users", default=100, show_default=True, help="Registered users.")
@click.option("--members", default=3, show_default=True, help="Of each coalition.")
@click.option("--false-rate", default=1e-3, show_default=True, help="Family-wise, of a reading.")
@click.option("--bits", multiple=True, type=int, default=(64, 128, 256, 512), show_default=True)
@click.option("--cutoff", default=TardosParams().cutoff, show_default=True, help="Of the biases.")
@click.option("--seed", default=0, show_default=True, help="Of all draws.")
def main(
    trials: int,
    users: int,
    members: int,
    false_rate: float,
    bits: tuple[int, ...],
    cutoff: float,
    seed: int,
) -> None:
    """Print the table."""
    click.echo(
        f"{members} of {users} users, false rate {false_rate:g}, {trials:,} trials, seed {seed}. "
        "Traced: readings for which a member is accused, with 95 % interval; framed: readings of "
        "all columns for which an innocent is, and the chance of so many at the false rate.\n"
    )
    codes = {
        "uniform": Uniform(NoParams()),
        "tardos": Tardos(TardosParams(cutoff=cutoff)),
        "tardos, soft": Tardos(TardosParams(cutoff=cutoff, soft=True)),
    }
    head = ["bits", "code", *NAMES, "framed"]
    click.echo(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for length in bits:
        for name, code in codes.items():
            rng = np.random.default_rng([seed, length])
            drawn = [outcomes(code, length, users, members, false_rate, rng) for _ in range(trials)]
            traced = np.sum([t for t, _ in drawn], axis=0).astype(int)
            framed = int(np.sum([f for _, f in drawn]))
            cells = [str(length), name]
            for hits in traced:
                found = stats.clopper_pearson(int(hits), trials)
                cells.append(f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})")
            count = trials * len(NAMES)
            chance = binom.sf(framed - 1, count, false_rate)
            click.echo(f"| {' | '.join(cells)} | {framed} of {count:,} ({chance:.2f}) |")


if __name__ == "__main__":
    main()
