"""How often the rule of `fpbench.stats.ranks` calls equal methods different, and how often others.

    python tests/simulation/ranking.py --repeats 1000

Methods of one truth, copies with an own deviation, trainings with another. Beside it the rule that
knows copies alone, whatever the number of trainings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "stats"))
import simulated_ranks as truth


@click.command()
@click.option("--repeats", default=1000, show_default=True, help="Boards behind each number.")
@click.option("--seed", default=0, show_default=True, help="Of all draws.")
def main(repeats: int, seed: int) -> None:
    """Print the tables."""
    click.echo(
        f"{repeats:,} boards, seed {seed}. 30 copies, standard deviation of the mean over copies "
        f"{truth.COPY_ERROR:g}.\n\n"
        "| trainings | deviations of trainings | false ranks | of copies alone |\n"
        "| --- | --- | --- | --- |"
    )
    for trainings in (3, 5):
        for deviations in ((0.0,) * 3, (0.005,) * 3, (0.02,) * 3, (0.005, 0.02, 0.04)):
            found = truth.false_ranks(deviations, trainings, repeats, seed)
            alone = truth.false_ranks(deviations, trainings, repeats, seed, copies_alone=True)
            spread = ", ".join(f"{d:g}" for d in deviations)
            click.echo(f"| {trainings} | {spread} | {found:.3f} | {alone:.3f} |")
    click.echo(
        "\nPower: two of three methods alike, the third .08 below, deviation of trainings .02.\n\n"
        "| trainings | found |\n| --- | --- |"
    )
    for trainings in (3, 5):
        click.echo(f"| {trainings} | {truth.power(0.08, 0.02, trainings, repeats, seed):.3f} |")


if __name__ == "__main__":
    main()
