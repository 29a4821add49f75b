"""Which function runs a stage."""

from __future__ import annotations

from collections.abc import Callable

from fpbench.plan import Kind, Stage
from fpbench.stages.bench import Bench
from fpbench.stages.choosing import choose, choose_host
from fpbench.stages.copies import read_copy
from fpbench.stages.enrol import enrol
from fpbench.stages.issue import issue
from fpbench.stages.measuring import measure
from fpbench.stages.negatives import read_negatives
from fpbench.stages.references import read_host_features, read_reference, try_backbone
from fpbench.stages.secrecy import measure_secrecy
from fpbench.stages.training import train_host, train_method, train_stranger
from fpbench.stages.tuning import tune

RUNS: dict[Kind, Callable[[Stage, Bench], dict[str, BaseException] | None]] = {
    Kind.BACKBONE: try_backbone,
    Kind.REFERENCE: read_reference,
    Kind.HOST: train_host,
    Kind.HOST_CHOICE: choose_host,
    Kind.HOST_FEATURES: read_host_features,
    Kind.TRAINING: train_method,
    Kind.CHOICE: choose,
    Kind.STRANGER: train_stranger,
    Kind.ISSUE: issue,
    Kind.ENROL: enrol,
    Kind.TUNING: tune,
    Kind.COPY: read_copy,
    Kind.NEGATIVES: read_negatives,
    Kind.SECRECY: measure_secrecy,
    Kind.MEASURING: measure,
}
"""Each brings the artefacts of a stage into the store; what it returns are errors by key of a cell.

What is stored already is not made again, so that running a stage twice is free.
"""
