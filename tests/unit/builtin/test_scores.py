"""Scores of registered users, and presences, of which thresholds are calibrated on negatives."""

from dataclasses import replace

import numpy as np
import pytest
from evidence_factory import IMAGES, cell, rows
from sklearn.metrics import average_precision_score

from fpbench.api import Outcome
from fpbench.builtin.metrics.blame import Collusion, Forgery
from fpbench.builtin.metrics.keyed import Attributability
from fpbench.builtin.metrics.nulls import UnmarkedBits
from fpbench.builtin.metrics.reading import (
    BitAccuracy,
    Detection,
    FalseAccusation,
    Matches,
    Verification,
)
from fpbench.builtin.metrics.tracing import Attribution, Capacity, Deepfake

USERS, ALPHA = 10, 0.01


@pytest.fixture
def scored():
    """Columns of different location and scale; the owner's is four deviations above the others."""
    rng = np.random.default_rng(5)
    place, scale = rng.normal(size=USERS) * 3, rng.uniform(0.5, 5, USERS)

    def column(n, owner=None):
        z = rng.normal(size=(n, USERS))
        if owner is not None:
            z[:, owner] += 4
        return {"logits": (place + scale * z).astype(np.float32)}

    return cell(
        gives="scores",
        separable=True,
        codes=np.zeros((USERS, 0), dtype=bool),
        users=USERS,
        copies=[column(IMAGES, u) for u in range(USERS)],
        calibration={source: column(600) for source in ("real", "host")},
        negatives={source: column(600) for source in ("real", "host")},
        registered=USERS,
        false_rate=ALPHA,
    )


def standardised(evidence, column):
    """By hand: the larger mean and deviation of the two sources of calibration."""
    sets = [np.float64(c["logits"]) for c in evidence.calibration.values()]
    mean = np.max([s.mean(0) for s in sets], axis=0)
    deviation = np.max([s.std(0) for s in sets], axis=0)
    return (np.float64(column["logits"]) - mean) / deviation


def test_one_threshold_on_the_largest_standardised_score(scored):
    row = rows(Attribution, scored)[""]
    # An image of nobody exceeds the sixth largest of 600 with probability 6 / 601 at most.
    best = [standardised(scored, c).max(1) for c in scored.calibration.values()]
    assert row.detail["threshold"] == pytest.approx(max(np.sort(b)[-6] for b in best))
    assert row.detail["threshold_rule"] == "calibrated on negatives"
    table = np.concatenate([standardised(scored, column) for column in scored.copies])
    owners = np.repeat(np.arange(USERS), IMAGES)
    right = (table.argmax(1) == owners) & (table.max(1) >= row.detail["threshold"])
    assert row.value == pytest.approx(right.mean())
    assert 0.6 < row.value < 0.99
    assert rows(FalseAccusation, scored)["real"].value < 0.02
    assert rows(FalseAccusation, scored)["host"].value < 0.02


def test_a_claim_is_made_on_one_column(scored):
    claims = [standardised(scored, c).ravel() for c in scored.calibration.values()]
    place = int(ALPHA * (claims[0].size + 1))
    row = rows(Verification, scored)["fpr=0.01"]
    assert row.detail["threshold"] == pytest.approx(max(np.sort(c)[-place] for c in claims))
    assert rows(Verification, scored)["fpr=1e-06"].outcome is Outcome.NOT_SUPPORTED


def test_scores_know_their_own_users_alone(scored):
    found = rows(Attribution, scored)
    assert found["n=100"].outcome is Outcome.NOT_SUPPORTED
    assert "10 registered users, and say nothing of 100" in found["n=100"].reason
    assert found["closed"].detail["converged"]
    assert rows(Capacity, scored) == rows(BitAccuracy, scored) == rows(Matches, scored) == {}
    assert rows(UnmarkedBits, scored) == {}


def test_few_negatives_calibrate_nothing(scored):
    few = {s: {"logits": c["logits"][:299]} for s, c in scored.calibration.items()}
    row = rows(Attribution, replace(scored, calibration=few))[""]
    assert row.outcome is Outcome.NOT_SUPPORTED
    assert "at least 300 untouched negatives of each source" in row.reason


def test_images_that_decide_together_are_calibrated_together(scored):
    assert rows(Attribution, scored)["m=10"].outcome is Outcome.NOT_SUPPORTED
    loose = replace(scored, false_rate=0.1)
    ten = rows(Attribution, loose)["m=10"]
    assert ten.value == 1
    assert ten.detail["threshold"] < rows(Attribution, loose)[""].detail["threshold"]


def test_who_is_not_registered_is_left_out_where_that_is_free(scored):
    assert rows(FalseAccusation, scored)["unregistered"].value < 0.03
    assert "open" in rows(Deepfake, scored)
    bound = replace(scored, separable=False)
    lacking = rows(FalseAccusation, bound)["unregistered"]
    assert lacking.outcome is Outcome.NOT_SUPPORTED
    assert "[population] unregistered" in lacking.reason
    assert "open" not in rows(Deepfake, bound)
    outside = {**bound.negatives, "unregistered": bound.negatives["real"]}
    asked = replace(bound, negatives=outside, outsiders=3)
    assert rows(FalseAccusation, asked)["unregistered"].clusters == 3


def test_everybody_of_a_coalition_or_forgery_may_be_blamed(scored):
    pair = replace(scored, level="coalition", users=[(0, 1), (2, 3)], copies=scored.copies[:3:2])
    assert rows(Collusion, pair)["traced"].value > 0.5
    assert rows(Forgery, replace(scored, level="forgery"))[""].value > 0.5


@pytest.fixture
def present(scored):
    rng = np.random.default_rng(6)
    return replace(
        scored,
        gives="presence",
        separable=False,
        copies=[{"logits": rng.normal(3, 1, IMAGES).astype(np.float32)} for _ in range(USERS)],
        calibration={"real": {"logits": rng.normal(size=600).astype(np.float32)}},
        negatives={
            "real": {"logits": rng.normal(size=600).astype(np.float32)},
            "host": {"logits": rng.normal(3, 1, 1200).astype(np.float32)},
            "other": {"logits": rng.normal(1, 1, 1200).astype(np.float32)},
        },
        silent=frozenset({"real"}),
    )


def test_a_presence_is_detected_and_traced_to_nobody(present):
    found = rows(Detection, present)
    copies = np.concatenate([c["logits"] for c in present.copies])
    real = present.negatives["real"]["logits"]
    labels = np.r_[np.ones(copies.size), np.zeros(real.size)]
    area = average_precision_score(labels, np.r_[copies, real])
    assert found["ap"].value == pytest.approx(area)
    assert found["auroc"].detail["converged"]
    assert found[""].value == pytest.approx(found["on host"].value, abs=0.1)
    assert found["on real"].value < 0.02 < 0.05 < found["on other"].value < 0.5
    assert found["on real"].detail["silent"]
    assert not found["on host"].detail["silent"]
    refused = rows(Attribution, present)[""]
    assert refused.outcome is Outcome.REFUSED
    assert rows(FalseAccusation, present) == rows(Verification, present) == {}
    assert rows(Deepfake, present)["detection"].value > 0.8


def test_a_presence_is_detected_where_no_negative_is_read_again(present):
    # Under an attack on the model the host's images alone are, and of them it may say what it will.
    attacked = replace(present, level="model", negatives={"host": present.negatives["host"]})
    found = rows(Detection, attacked)
    assert set(found) == {"", "on host"}
    assert found[""].value == rows(Detection, present)[""].value


def test_the_papers_own_rule_is_the_sign_of_each_score(scored):
    found = rows(Attributability, scored)
    table = np.concatenate([column["logits"] for column in scored.copies])
    owners = np.repeat(np.arange(USERS), IMAGES)
    signs = np.where(np.eye(USERS, dtype=bool)[owners], table > 0, table < 0)
    assert found[""].value == pytest.approx(signs.all(axis=1).mean())
    own = (table[np.arange(len(owners)), owners] > 0).mean()
    quiet = (scored.negatives["real"]["logits"] < 0).mean()
    assert found["distinguishability"].value == pytest.approx((own + quiet) / 2)
    few = replace(scored, copies=scored.copies[:3])
    assert set(rows(Attributability, few)) == {""}
