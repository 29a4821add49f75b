import numpy as np
import pytest
from scipy import stats

from fpbench.api import CellEvidence, NoParams, Outcome
from fpbench.builtin.metrics.blame import Collusion, Forgery
from fpbench.builtin.metrics.reading import BitAccuracy, FalseAccusation
from fpbench.builtin.metrics.spending import AttackCost
from fpbench.builtin.metrics.tracing import Attribution, Capacity, Deepfake

BITS, USERS, IMAGES, REGISTERED, ALPHA = 32, 6, 5, 100, 1e-3
# Least matching bits for which 100 fair codes exceed it with probability 1e-3 together.
T = next(t for t in range(BITS + 1) if 1 - stats.binom.cdf(t - 1, BITS, 0.5) ** 100 <= ALPHA)


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 2, (USERS, BITS)).astype(bool)


def evidence(codes, level, users, read, **more):
    fields = {
        "placement": "in-model",
        "keeps_sample": True,
        "gate": 0.9,
        "level": level,
        "codes": codes,
        "users": users,
        "copies": [{"logits": np.where(bits, 1.0, -1.0)} for bits in read],
        "negatives": {},
        "clean_host": {},
        "reference": np.zeros((2, 4), np.float32),
        "registered": REGISTERED,
        "false_rate": ALPHA,
        "costs": {},
    }
    return CellEvidence(**(fields | more))


def rows(cls, found):
    return {row.variant: row for row in cls(NoParams()).measure(found)}


def test_a_coalition_that_shows_one_members_code_is_traced(codes):
    read = [np.repeat(codes[[1]], IMAGES, axis=0), np.repeat(codes[[2]], IMAGES, axis=0)]
    found = rows(Collusion, evidence(codes, "coalition", [(0, 1), (2, 3)], read))
    assert found["traced"].value == pytest.approx(1, abs=2 * ALPHA)
    assert found["lost"].value == 0
    assert found["traced"].clusters == 2
    assert found["traced"].detail["coalition"] == 2
    assert found["traced"].detail["threshold_bits"] == T
    assert found["traced"].detail["members_accused"] >= 1


def test_a_coalition_that_shows_another_users_code_frames_him(codes):
    read = [np.repeat(codes[[4]], IMAGES, axis=0)]
    found = rows(Collusion, evidence(codes, "coalition", [(0, 1)], read))
    assert found["framed"].value == 1
    assert found["traced"].value == found["lost"].value == 0


def test_two_codes_in_one_reading_can_trace_and_frame(codes):
    close = codes.copy()
    close[4] = close[0]
    close[4, :2] ^= True  # an innocent user two bits away from a member
    read = [np.repeat(close[[0]], IMAGES, axis=0)]
    found = rows(Collusion, evidence(close, "coalition", [(0, 1)], read))
    assert BITS - 2 >= T
    assert found["traced-and-framed"].value == 1


def test_rules_that_accuse_one_user_at_most_stand_beside_it(codes):
    close = codes.copy()
    close[1] = close[0]
    close[1, :2] ^= True  # two members, both above the threshold
    read = [np.repeat(close[[0]], IMAGES, axis=0)]
    found = rows(Collusion, evidence(close, "coalition", [(0, 1)], read))
    assert found["lost@exactly-one"].value == pytest.approx(1, abs=ALPHA)
    assert found["traced@best-match"].value == pytest.approx(1, abs=ALPHA)
    for rule in ("exactly-one", "best-match"):
        parts = [found[f"{name}@{rule}"].value for name in ("traced", "framed", "lost")]
        assert sum(parts) == pytest.approx(1)


def test_a_reading_of_nobody_is_lost(codes):
    # Half of each member's bits are wrong, and nobody comes near the threshold.
    read = [np.repeat(codes[[0]] ^ (np.arange(BITS) % 2 == 0), IMAGES, axis=0)]
    found = rows(Collusion, evidence(codes, "coalition", [(0, 1)], read))
    assert found["lost"].value == pytest.approx(1, abs=ALPHA)


def test_a_forgery_is_counted_where_the_victims_match_reaches_the_threshold(codes):
    edge = codes[[0]].copy()
    edge[0, : BITS - T] ^= True
    below = codes[[1]].copy()
    below[0, : BITS - T + 1] ^= True
    found = rows(Forgery, evidence(codes, "forgery", [(0,), (1,)], [edge, below]))
    assert found[""].by_copy == [1, 0]
    assert found["match"].by_copy == pytest.approx([T / BITS, (T - 1) / BITS])
    chance = stats.binom.sf(T - 1, BITS, 0.5)
    assert found[""].detail["by_chance"] == pytest.approx(chance)
    assert chance * REGISTERED < 2 * ALPHA


def test_too_few_bits_are_not_supported_rather_than_lost(codes):
    short = codes[:, :8]
    one = [short[[0]]]
    assert {
        row.outcome for row in rows(Collusion, evidence(short, "coalition", [(0, 1)], one)).values()
    } == {Outcome.NOT_SUPPORTED}
    found = rows(Forgery, evidence(short, "forgery", [(0,)], one))
    assert found[""].outcome == Outcome.NOT_SUPPORTED
    assert found["match"].value == 1


@pytest.mark.parametrize("metric", [BitAccuracy, Attribution, FalseAccusation, Capacity, Deepfake])
@pytest.mark.parametrize("level", ["coalition", "forgery"])
def test_measures_of_one_owner_say_nothing_where_there_is_none(codes, metric, level):
    assert rows(metric, evidence(codes, level, [(0,)], [codes[[0]]])) == {}


@pytest.mark.parametrize("level", ["none", "image", "model"])
def test_blame_says_nothing_where_there_is_an_owner(codes, level):
    found = evidence(codes, level, [(0,)], [codes[[0]]])
    assert rows(Collusion, found) == rows(Forgery, found) == {}


def test_the_cost_of_an_attack_is_a_mean_over_copies(codes):
    found = evidence(
        codes,
        "model",
        [(0,), (1,)],
        [codes[[0]], codes[[1]]],
        attack_costs=[{"attack_s": 1.0}, {"attack_s": 3.0}],
        attack_steps=30,
    )
    row = rows(AttackCost, found)[""]
    assert row.cost == {"attack_s": 2.0}
    assert row.detail == {"steps": 30}
