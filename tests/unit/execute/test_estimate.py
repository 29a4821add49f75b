import pytest

from fpbench.api import Outcome
from fpbench.execute.estimate import Estimate, Past, duration, estimate
from fpbench.execute.journal import Event
from fpbench.plan import Kind, Stage


def event(kind, label, seconds, outcome=Outcome.DONE):
    return Event("", str(kind), label, outcome, seconds, 0.0)


PAST = Past(
    [
        event(Kind.HOST, "train host", 10.0),
        event(Kind.TRAINING, "train a", 30.0),
        event(Kind.TRAINING, "train a", 1.0),  # went on from a checkpoint
        event(Kind.TRAINING, "train b", 50.0),
        event(Kind.TRAINING, "train c", 900.0, Outcome.FAILED),
    ]
)


def chain():
    stages = [
        Stage(Kind.HOST, "h", "train host"),
        Stage(Kind.TRAINING, "a", "train a", ("h",)),
        Stage(Kind.TRAINING, "c", "train c", ("h",)),
        Stage(Kind.SECRECY, "s", "look", ("a",)),
    ]
    return {stage.key: stage for stage in stages}


def test_a_stage_takes_what_it_took_or_the_mean_of_its_kind():
    stages = chain()
    assert [PAST.seconds(stage) for stage in stages.values()] == [10.0, 30.0, 40.0, None]


def test_the_longest_chain_bounds_the_time_whatever_the_jobs():
    found = estimate(chain(), PAST, 8, lambda stage: 1.0)
    assert (found.work_s, found.wall_s, found.unknown) == (80.0, 50.0, 1)
    assert estimate(chain(), PAST, 1, lambda stage: 1.0).wall_s == 80.0
    assert found.line() == (
        "about 50 s with 8 at a time (80 s of work), "
        "and 1 stages of kinds of which none was run yet"
    )


def test_what_is_done_of_a_stage_is_not_counted():
    half = estimate(chain(), PAST, 1, lambda stage: 0.5, {"h": 3.0, "a": 100.0})
    assert half.work_s == pytest.approx(5 - 3 + 0 + 20)


def test_nothing_known_is_no_estimate():
    assert Estimate(0, 0, 1, 2).line() == (
        "no estimate: 2 stages of kinds of which none was run yet"
    )
    assert Estimate(0, 0, 1, 0).line() == ""
    assert [duration(s) for s in (5, 60, 600, 7200)] == ["5 s", "60 s", "10 min", "2.0 h"]
