"""suite.toml → a frozen `Suite`; every mistake in the file is reported at once."""

from fpbench.spec.model import (
    Backbone,
    Cross,
    Negatives,
    Population,
    Score,
    Suite,
    SuiteAttack,
    SuiteMethod,
    UnavailableComponent,
)
from fpbench.spec.read import read_attacks, read_suite, suite_names, suite_text

__all__ = [
    "Backbone",
    "Cross",
    "Negatives",
    "Population",
    "Score",
    "Suite",
    "SuiteAttack",
    "SuiteMethod",
    "UnavailableComponent",
    "read_attacks",
    "read_suite",
    "suite_names",
    "suite_text",
]
