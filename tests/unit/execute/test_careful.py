import pytest

from fpbench.api import Outcome
from fpbench.execute.careful import Careful
from fpbench.execute.problems import Problem
from fpbench.execute.request import Request
from fpbench.execute.worker import Died
from fpbench.plan import Kind, Stage


@pytest.fixture
def plan(suite_file):
    return Request(str(suite_file()), plugins=("fpbench.testing.fakes",)).plan()[0]


class Dying:
    """A worker whose process dies wherever it is told to."""

    def __init__(self, *places):
        self.places, self.skipped = list(places), []

    def run(self, key, skip=()):
        self.skipped.append(list(skip))
        if self.places:
            problem = Problem(key, key, Outcome.FAILED, "it died", "its last words")
            raise Died(problem, self.places.pop(0))
        return []


def test_a_stage_whose_process_dies_in_nobodys_attack_fails_under_its_own_name():
    stage = Stage(Kind.HOST, "a" * 64, "train host it")
    (problem,) = Careful(Dying(None)).run(stage)
    assert (problem.key, problem.label) == (stage.key, "train host it")


def test_where_a_process_died_is_left_out_and_the_rest_is_run(plan):
    fit = plan.fits[0]
    cells = tuple(cell for cell in plan.cells if cell.fit is fit)
    stage = Stage(Kind.COPY, "a" * 64, "read it", cells=cells, fit=fit, user=0)
    worker = Dying(("weight-noise 0.1", None), (None, "jpeg 90"))
    problems = Careful(worker).run(stage)
    assert worker.skipped[-1] == [("weight-noise 0.1", None), (None, "jpeg 90")]
    assert sorted(problem.label for problem in problems) == [
        "perfect under jpeg 90",
        "perfect under weight-noise 0.1",
    ]
    # Twice at one place is more than that place's doing.
    again = Careful(Dying(("bypass", None), ("bypass", None))).run(stage)
    assert [problem.key for problem in again][-1] == stage.key
