import math

import pytest
from evidence_factory import cell, rows

from fpbench.api import Outcome
from fpbench.builtin.metrics.spending import Training


def phase(points, **more):
    curve = [{"step": float(25 * i), "loss": 1 / (i + 1)} for i in range(points)]
    return {"curve": curve, "images": 640.0, "seconds": 4.0, "precision": "bf16", **more}


def test_a_training_has_its_throughput_and_its_curve():
    found = rows(Training, cell(trainings={"method": {"joint": phase(3)}}))
    row = found["method joint"]
    assert (row.value, row.n) == (160.0, 640)
    assert row.detail["step"] == [0, 25, 50]
    assert row.detail["curve"] == {"loss": [1.0, 0.5, 0.3333]}
    assert row.detail["precision"] == "bf16"


@pytest.mark.parametrize("points", [1, 60, 61, 500, 1201])
def test_long_curves_are_thinned_and_keep_their_ends(points):
    row = rows(Training, cell(trainings={"host": {"pairs": phase(points)}}))["host pairs"]
    steps = row.detail["step"]
    assert (steps[0], steps[-1]) == (0, 25 * (points - 1))
    assert len(steps) <= 61
    assert steps == sorted(set(steps))


def test_what_was_not_logged_at_a_point_is_a_gap():
    curve = [{"step": 0.0, "loss": 1.0}, {"step": 25.0, "accuracy": 0.5}]
    row = rows(Training, cell(trainings={"host": {"p": phase(1) | {"curve": curve}}}))["host p"]
    assert row.detail["curve"] == {"loss": [1.0, None], "accuracy": [None, 0.5]}


def test_a_training_whose_time_is_unknown_has_no_throughput():
    row = rows(Training, cell(trainings={"host": {"p": phase(2, seconds=0.0)}}))["host p"]
    assert row.outcome is Outcome.NOT_SUPPORTED
    assert row.value is None
    assert not math.isnan(row.detail["curve"]["loss"][0])


def test_other_cells_say_nothing_of_it():
    assert rows(Training, cell()) == {}
