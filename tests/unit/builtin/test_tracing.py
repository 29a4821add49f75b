from dataclasses import replace

import numpy as np
import pytest
from evidence_factory import BITS, IMAGES, USERS, cell, codes, rows
from scipy import stats
from sklearn.metrics import roc_auc_score

from fpbench.api import Outcome
from fpbench.builtin.metrics.nulls import UnmarkedBits
from fpbench.builtin.metrics.reading import (
    BitAccuracy,
    Detection,
    FalseAccusation,
    Verification,
)
from fpbench.builtin.metrics.secrecy import Secrecy
from fpbench.builtin.metrics.tracing import Attribution, Capacity, Deepfake
from fpbench.stats import rate


def match(logits, issued):
    """Brute force: equal bits of each reading with each code."""
    return ((logits > 0)[:, None] == issued[None]).sum(-1)


def threshold(n, alpha=1e-3, bits=BITS):
    """Least t that any of n fair codes reaches with probability alpha at most."""
    tails = stats.binom.sf(np.arange(bits + 2) - 1, bits, 0.5)
    return int(np.argmax(1 - (1 - tails) ** n <= alpha))


def test_ten_images_decide_better_than_one():
    found = rows(Attribution, cell(flip=0.2))
    one, ten = found[""], found["m=10"]
    assert ten.n == USERS * (IMAGES // 10)
    assert ten.clusters == USERS
    assert one.value < 0.4 < 0.8 < ten.value
    # The same by hand: logits add up.
    evidence = cell(flip=0.2)
    logits = np.stack([c["logits"] for c in evidence.copies])
    pooled = logits.reshape(USERS, -1, 10, BITS).sum(2).reshape(-1, BITS)
    found_match = match(pooled, evidence.codes)
    owners = np.repeat(np.arange(USERS), IMAGES // 10)
    own = found_match[np.arange(len(owners)), owners]
    found_match[np.arange(len(owners)), owners] = -1
    alone = 1 - stats.binom.sf(own - 1, BITS, 0.5)
    right = (own >= threshold(100)) & (own > found_match.max(1))
    assert ten.value == pytest.approx(np.mean(right * alone ** (100 - USERS)))


def test_too_few_images_to_decide_together_is_said():
    row = rows(Attribution, cell())["m=100"]
    assert row.outcome is Outcome.NOT_SUPPORTED
    assert "20 images of a copy are too few" in row.reason


def test_few_copies_claim_nothing_and_keep_their_number():
    row = rows(Attribution, cell())[""]
    assert row.value == pytest.approx(1, abs=1e-6)
    assert "12 copies; a claim needs 30" in row.detail["no_claim"]


def test_capacity_is_that_of_the_binary_symmetric_channel():
    evidence = cell(flip=0.1)
    row = rows(Capacity, evidence)[""]
    error = row.detail["bit_error_rate"]
    entropy = stats.entropy([error, 1 - error], base=2)
    assert row.value == pytest.approx(BITS * (1 - entropy))


def test_bits_that_never_change_are_no_capacity():
    evidence = cell(flip=0.1)
    stuck = [c["logits"].copy() for c in evidence.copies]
    for logits in stuck:
        logits[:, :6] = 1
    dead = replace(evidence, copies=[{"logits": logits} for logits in stuck])
    row = rows(Capacity, dead)[""]
    right = (np.stack(stuck) > 0) == evidence.codes[:, None]
    error = 1 - right[:, :, 6:].mean()
    assert row.detail["dead_bits"] == 6
    expected = (BITS - 6) * (1 - stats.entropy([error, 1 - error], base=2))
    assert row.value == pytest.approx(expected)
    assert rows(Capacity, evidence)[""].detail["dead_bits"] == 0


def test_a_reader_of_dead_bits_alone_has_no_capacity():
    dead = [{"logits": np.ones((IMAGES, BITS), dtype=np.float32)}] * USERS
    assert rows(Capacity, replace(cell(), copies=dead))[""].value == 0


def test_the_largest_population_is_the_last_power_of_ten_that_is_traced():
    images, users = 50, 40
    evidence = cell(flip=0.02, bits=64, images=images, users=users)
    row = rows(Capacity, evidence)["users"]
    logits = np.concatenate([c["logits"] for c in evidence.copies])
    found = match(logits, evidence.codes)
    own = found[np.arange(len(found)), np.repeat(np.arange(users), images)]

    def surely_right(n):
        lost = stats.binom.sf(own - 1, 64, 0.5)
        right = (own >= threshold(n, bits=64)) * (1 - lost) ** (n - users)
        return rate(right.reshape(users, -1).sum(1), np.full(users, images)).low

    assert surely_right(row.value) >= 0.95 > surely_right(10 * row.value)
    assert row.detail["traced"] > row.detail["traced_low"] == pytest.approx(surely_right(row.value))
    assert 1e2 < row.value < 1e15


@pytest.mark.parametrize(("bits", "flip"), [(8, 0.0), (32, 0.4)])
def test_a_population_that_cannot_be_told_apart_is_not_supported(bits, flip):
    assert rows(Capacity, cell(flip=flip, bits=bits))["users"].outcome is Outcome.NOT_SUPPORTED


def test_deepfakes_are_told_by_the_threshold_and_models_by_the_best_match():
    evidence = cell(flip=0.1)
    found = rows(Deepfake, evidence)
    logits = np.concatenate([c["logits"] for c in evidence.copies])
    made = match(logits, evidence.codes)
    real = match(evidence.negatives["real"]["logits"], evidence.codes)
    labels = np.r_[np.ones(len(made)), np.zeros(len(real))]
    scores = np.r_[made.max(1), real.max(1)]
    assert found["auroc"].value == pytest.approx(roc_auc_score(labels, scores))
    t = threshold(100)
    caught, spared = (made.max(1) >= t).mean(), (real.max(1) < t).mean()
    # Distractors add and take away less than alpha.
    assert found["detection"].value == pytest.approx((caught + spared) / 2, abs=2e-3)
    owners = np.repeat(np.arange(USERS), IMAGES)
    second = np.sort(made, 1)[:, -2]
    closed = (made.argmax(1) == owners) & (made.max(1) > second)
    assert found["closed"].value == pytest.approx(closed.mean())
    assert found["open"].value < found["closed"].value
    assert found["detection"].low < found["detection"].value < found["detection"].high


def test_deepfakes_need_real_images():
    assert rows(Deepfake, cell(level="model", negatives={})) == {}


def test_another_users_code_is_matched_by_chance_only():
    row = rows(BitAccuracy, cell(flip=0.05))["wrong-key"]
    assert row.low < 0.5 < row.high
    assert abs(row.value - 0.5) < 0.1


def test_p_values_are_those_of_the_largest_match():
    evidence = cell(flip=0.1)
    detail = rows(Detection, evidence)[""].detail
    best = match(np.concatenate([c["logits"] for c in evidence.copies]), evidence.codes).max(1)
    p = 1 - (1 - stats.binom.sf(best - 1, BITS, 0.5)) ** 100
    assert detail["log10_p"]["0.5"] == pytest.approx(np.quantile(np.log10(p), 0.5), rel=1e-6)


def test_realised_rates_have_a_bound_and_say_what_they_cannot_show():
    realised = rows(Verification, cell())["fpr=0.01"].detail["realised"]["real"]
    assert 0 <= realised["mean"] < realised["bound"] < 0.05
    assert "no_claim" not in realised  # 300 images bound one in a hundred
    rare = rows(Verification, cell())["fpr=1e-06"].detail["realised"]["real"]
    assert "is shown, not 1e-06" in rare["no_claim"]
    assert rare["bound"] > 1e-6
    row = rows(FalseAccusation, cell())["real"]
    assert row.high > 1e-3
    assert "is shown, not 0.001" in row.detail["no_claim"]


def test_fair_bits_count_fully_and_copied_ones_once():
    fair = rows(UnmarkedBits, cell())["real"]
    assert fair.value == pytest.approx(BITS, rel=0.15)
    rng = np.random.default_rng(0)
    one = rng.normal(size=(300, 1))
    copied = {"real": {"logits": np.repeat(one, BITS, axis=1)}}
    row = rows(UnmarkedBits, cell(negatives=copied))["real"]
    assert row.value == pytest.approx(1, rel=0.05)
    assert sum(row.detail["correlations"]) == BITS * (BITS - 1) // 2
    assert rows(UnmarkedBits, cell(level="image")) == {}


def test_secrecy_is_the_balanced_accuracy_on_unseen_copies():
    rng = np.random.default_rng(0)
    copies, host = rng.normal(0.5, 1, (6, 40)), rng.normal(-0.5, 1, 200)
    scores = {"copies": copies, "host": host, "seen": copies[0]}
    found = rows(Secrecy, cell(secrecy=scores))
    assert found[""].value == pytest.approx(((copies > 0).mean() + (host <= 0).mean()) / 2)
    assert found[""].clusters == 6
    labels = np.r_[np.ones(copies.size), np.zeros(host.size)]
    area = roc_auc_score(labels, np.r_[copies.ravel(), host])
    assert found["auroc"].value == pytest.approx(area)
    assert rows(Secrecy, cell()) == {}
    refused = rows(Secrecy, cell(secrecy_refused="no images"))[""]
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "no images")


def test_codes_of_the_factory_are_uniform():
    assert abs(codes(bits=4096).mean() - 0.5) < 0.01
