"""Boards of methods whose truth is known.

`tests/simulation/ranking.py` prints the tables; `test_simulated_ranks.py` keeps their claims.
"""

from __future__ import annotations

import numpy as np

from fpbench.stats import Sample, Standing, compare, holm, ranks

COPIES = 30
COPY_ERROR = 0.004


def board(rng, means, deviations, trainings) -> dict[str, Standing]:
    """One board; all trainings of all methods meet the same copies."""
    methods = {}
    for number, (mean, deviation) in enumerate(zip(means, deviations, strict=True)):
        noise = rng.normal(0, COPY_ERROR * np.sqrt(COPIES), COPIES)
        scores = mean + rng.normal(0, deviation, trainings) + noise.mean()
        values = scores.mean() + noise - noise.mean()
        methods[f"m{number}"] = Standing(tuple(scores), {"x": Sample(values)})
    return methods


def false_ranks(deviations, trainings, repeats, seed, *, copies_alone=False) -> float:
    """Share of boards of equal methods on which any two are called different."""
    rng = np.random.default_rng([seed, trainings])
    wrong = 0
    for _ in range(repeats):
        methods = board(rng, [0.5] * len(deviations), deviations, trainings)
        if copies_alone:
            pairs = [(a, b) for a in methods for b in methods if a < b]
            p = [compare(methods[a].parts, methods[b].parts).p for a, b in pairs]
            wrong += min(holm(p)) <= 0.05
        else:
            wrong += any(each.rank != 1 for each in ranks(methods).values())
    return wrong / repeats


def power(difference, deviation, trainings, repeats, seed) -> float:
    """Share of boards on which the last of three is called worse than the first."""
    rng = np.random.default_rng([seed, trainings, 1])
    found = 0
    for _ in range(repeats):
        means = (0.5, 0.5, 0.5 - difference)
        methods = board(rng, means, [deviation] * 3, trainings)
        found += "m2" not in ranks(methods)["m0"].ties
    return found / repeats
