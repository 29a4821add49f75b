"""Pure functions on numbers: exact tails, clustered intervals, paired tests, tie groups."""

from fpbench.stats.attribution import (
    Collusion,
    OpenSet,
    accused,
    auroc,
    closed_set,
    collusion,
    detection,
    false_verification,
    matches,
    open_set,
    unregistered,
    verification,
)
from fpbench.stats.calibration import calibrated_threshold, pool
from fpbench.stats.frechet import frechet, moments
from fpbench.stats.intervals import Interval, clopper_pearson, mean, rate, upper_bound
from fpbench.stats.nulls import NullBits, correlations, null_bits
from fpbench.stats.power import copies_needed, detectable, negatives_needed
from fpbench.stats.ranking import Comparison, Paired, Rank, compare, holm, paired, ranks
from fpbench.stats.search import Nearest, nearest
from fpbench.stats.tails import (
    capacity,
    largest_supported,
    log_any_tail,
    log_tail,
    supports,
    survives,
    threshold,
)

__all__ = [
    "Collusion",
    "Comparison",
    "Interval",
    "Nearest",
    "NullBits",
    "OpenSet",
    "Paired",
    "Rank",
    "accused",
    "auroc",
    "calibrated_threshold",
    "capacity",
    "clopper_pearson",
    "closed_set",
    "collusion",
    "compare",
    "copies_needed",
    "correlations",
    "detectable",
    "detection",
    "false_verification",
    "frechet",
    "holm",
    "largest_supported",
    "log_any_tail",
    "log_tail",
    "matches",
    "mean",
    "moments",
    "nearest",
    "negatives_needed",
    "null_bits",
    "open_set",
    "paired",
    "pool",
    "ranks",
    "rate",
    "supports",
    "survives",
    "threshold",
    "unregistered",
    "upper_bound",
    "verification",
]
