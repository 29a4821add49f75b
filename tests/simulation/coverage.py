"""How the rules of `fpbench.stats` fare where the truth is known, as markdown tables.

    python tests/simulation/coverage.py --repeats 2000

The worlds and the rules are those of `tests/unit/stats/simulated_truth.py`, where a reduced form
runs as a test. One process, minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import numpy as np

from fpbench import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "stats"))
import simulated_truth as truth

# The least share of 95 % intervals that must hold the truth (design.md, section 5).
BAR = 0.93
# Readings of nobody; more only sharpen the worst user's rate.
IMAGES = 4000


def line(*cells: str) -> None:
    """A line of markdown."""
    click.echo("| " + " | ".join(cells) + " |")


def head(title: str, note: str, *cells: str) -> None:
    """Title, explanation and header of a table."""
    click.echo(f"\n## {title}\n\n{note}\n")
    line(*cells)
    line(*["---"] * len(cells))


def mean(found: truth.Spread) -> str:
    """Mean in percent, with two standard errors."""
    return f"{100 * found.mean:.4f} ± {200 * found.error:.4f}"


def middle(found: truth.Spread) -> str:
    """Middle 95 % in percent."""
    return f"{100 * found.low:.3f}–{100 * found.high:.3f}"


def intervals(repeats: int, seed: int) -> None:
    """Coverage and width of all interval rules."""
    head(
        "Intervals of a rate",
        f"Share of nominal 95 % intervals that hold the true rate, in percent, and their mean "
        f"width; copies × images, beta-binomial. **Bold**: below {BAR:.0%}.",
        "design", "rate", "correlation", *truth.RULES,
    )  # fmt: skip
    least: dict[tuple[str, str], dict[float, float]] = {}
    for copies, images in truth.DESIGNS:
        design = f"{copies} × {images}"
        for p in (0.5, 0.9, 0.98, 0.995, 0.999, 1.0):
            for correlation in (0.0, 0.05, 0.2, 0.4) if p < 1 else (0.0,):
                cells = []
                for name, rule in truth.RULES.items():
                    few = min(repeats, 200) if name.startswith("bootstrap") else repeats
                    found = truth.coverage(rule, p, correlation, copies, images, few, seed)
                    text = f"{100 * found.share:.1f}"
                    text = f"**{text}**" if found.share < BAR else text
                    cells.append(f"{text} ({found.width:.3f})")
                    worst = least.setdefault((design, name), {})
                    for limit in (0.05, 0.2, 0.4):
                        if correlation <= limit:
                            worst[limit] = min(worst.get(limit, 1.0), found.share)
                line(design, f"{p:g}", f"{correlation:g}", *cells)
    head(
        "Least coverage",
        "Over all rates, at correlations up to .05 / .2 / .4, in percent.",
        "design", *truth.RULES,
    )  # fmt: skip
    for design in dict.fromkeys(design for design, _ in least):
        cells = [
            " / ".join(f"{100 * least[design, name][limit]:.1f}" for limit in (0.05, 0.2, 0.4))
            for name in truth.RULES
        ]
        line(design, *cells)


def codes(repeats: int, seed: int) -> None:
    """Realised false rates of exact thresholds over uniform codes."""
    rng = np.random.default_rng([seed, 0])
    worlds = {
        "fair, independent": truth.fair_bits(rng, IMAGES, truth.BITS),
        "P(1) = .7, independent": truth.leaning_bits(rng, IMAGES, truth.BITS, shared=0.0),
        "P(1) = .7, 3 factors": truth.leaning_bits(rng, IMAGES, truth.BITS),
    }
    cases = [(n, rate) for n in (1, truth.ISSUED, 10_000) for rate in (0.01, 0.001)]
    head(
        "Exact thresholds over uniform codes",
        f"{IMAGES:,} readings of nobody, {truth.BITS} bits, drawn once; codes drawn anew in each "
        "repeat. In percent, ± two standard errors. N = 1: rate of a single code; else that any "
        f"of N is accused, of whom {truth.ISSUED} are drawn and the rest integrated out. Worst "
        f"user: of {truth.ISSUED}, at the threshold of one code and α = "
        f"{100 * truth.WORST_RATE:g} %.",
        "readings", "effective bits", "N", "α", "exact tail", "realised, mean over codes",
        "middle 95 % of draws", "worst user, mean",
    )  # fmt: skip
    for world, bits in worlds.items():
        effective = stats.null_bits(bits).effective_bits
        found, worst = truth.code_errors(bits, cases, repeats, seed)
        for (registered, rate), error in found.items():
            line(
                world, f"{effective:.1f}", f"{registered:,}", f"{100 * rate:g}",
                f"{100 * error.exact:.4f}", mean(error.realised), middle(error.realised),
                f"{100 * worst:.3f}" if (registered, rate) == (1, truth.WORST_RATE) else "",
            )  # fmt: skip


def calibrated(repeats: int, seed: int) -> None:
    """Realised false rates of calibrated thresholds."""
    head(
        "Calibrated thresholds",
        "True false positive rate over calibration sets of n scores, in percent, ± two standard "
        "errors. j / (n + 1) is what scores without ties realise on average.",
        "scores", "α", "n", "j / (n + 1)", "realised, mean", "middle 95 % of sets",
    )  # fmt: skip
    for name, law in truth.LAWS.items():
        for rate, n in ((0.01, 300), (0.01, 398), (0.01, 1000), (0.001, 3000), (0.001, 10_000)):
            found = truth.calibrated_error(law, n, rate, repeats, seed)
            exact = int(rate * (n + 1) + 1e-9) / (n + 1)
            line(
                name, f"{100 * rate:g}", f"{n:,}", f"{100 * exact:.4f}", mean(found), middle(found)
            )


def strict(repeats: int, seed: int) -> None:
    """The rule of others beside ours."""
    rate = 0.001
    head(
        "TPR at 0.1 % FPR from few negatives",
        f"Negatives N(0, 1), 1,000 positives N({truth.POSITIVE_MEAN:g}, 1), true TPR "
        f"{100 * truth.true_tpr(rate):.1f} %. Strict: largest TPR with an empirical FPR strictly "
        "below 0.1 % (WAVES, W-Bench). All in percent; ranges are the middle 95 % of draws.",
        "rule", "negatives", "TPR, mean", "TPR, range", "true FPR, mean", "true FPR, range",
    )  # fmt: skip
    rules = {"strict": truth.strict_rule, "calibrated": stats.calibrated_threshold}
    for name, rule in rules.items():
        for n in (1000, 3000, 5000, 10_000):
            found = truth.claim(rule, n, rate, repeats, seed)
            if found is None:
                line(name, f"{n:,}", *["not supported"] * 4)
                continue
            line(
                name, f"{n:,}", f"{100 * found.tpr.mean:.1f}", middle(found.tpr), mean(found.fpr),
                middle(found.fpr),
            )  # fmt: skip


@click.command()
@click.option("--repeats", default=2000, show_default=True, help="Draws behind each number.")
@click.option("--seed", default=0, show_default=True, help="Of all draws.")
def main(repeats: int, seed: int) -> None:
    """Print the tables."""
    click.echo(f"{repeats:,} repeats, seed {seed}.")
    for table in (intervals, codes, calibrated, strict):
        table(repeats, seed)


if __name__ == "__main__":
    main()
