from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from evidence_factory import cell
from scipy import linalg, stats

from fpbench.api import CellEvidence, NoParams, Outcome
from fpbench.builtin.metrics.fidelity import (
    CodeInfluence,
    Damage,
    FeatureSets,
    Fidelity,
    Imperceptibility,
    distance_row,
    feature_sets,
)
from fpbench.builtin.metrics.reading import (
    BitAccuracy,
    Detection,
    FalseAccusation,
    Matches,
    Verification,
)
from fpbench.builtin.metrics.spending import Cost
from fpbench.builtin.metrics.tracing import Attribution
from fpbench.stats import reference

USERS, IMAGES, BITS = 12, 6, 32


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 2, (USERS, BITS)).astype(bool)


@pytest.fixture
def evidence(codes):
    def make(flip=0.0, bits=BITS, level="none", copies=USERS, registered=100, **more):
        rng = np.random.default_rng(1)
        signs = codes[:, :bits] * 2.0 - 1

        def column(user, flip=flip):
            wrong = rng.random((IMAGES, bits)) < flip
            logits = np.where(wrong, -signs[user], signs[user]).astype(np.float32)
            return {
                "logits": logits,
                "features": rng.normal(user * 0, 1, (IMAGES, 4)).astype(np.float32),
                "host_psnr": np.full(IMAGES, 30.0 + user),
                "host_ssim": np.full(IMAGES, 0.9),
                "damage_psnr": np.full(IMAGES, 20.0),
                "damage_ssim": np.full(IMAGES, 0.5),
                **({"code_psnr": rng.uniform(20, 40, 3)} if user else {}),
            }

        def unmarked(count):
            return {
                "logits": rng.normal(size=(count, bits)).astype(np.float32),
                "features": rng.normal(size=(200, 4)).astype(np.float32),
            }

        fields = {
            "placement": "in-model",
            "keeps_sample": True,
            "gate": 0.9,
            "level": level,
            "codes": codes[:, :bits],
            "users": [(u,) for u in range(copies)],
            "copies": [column(u) for u in range(copies)],
            "negatives": {"real": unmarked(300), "host": unmarked(200)},
            "clean_host": unmarked(10),
            "reference": rng.normal(size=(300, 4)).astype(np.float32),
            "registered": registered,
            "false_rate": 1e-3,
            "costs": {"fit_s": 2.0},
        }
        return CellEvidence(**(fields | more))

    return make


def rows(cls, evidence):
    return {row.variant: row for row in cls(NoParams()).measure(evidence)}


def test_bit_accuracy_is_the_mean_over_copies_with_a_t_interval(evidence, codes):
    found = evidence(flip=0.1)
    row = rows(BitAccuracy, found)[""]
    copies = [((c["logits"] > 0) == codes[u]).mean() for u, c in enumerate(found.copies)]
    expected = stats.t.interval(0.95, USERS - 1, np.mean(copies), stats.sem(copies))
    assert row.value == pytest.approx(np.mean(copies))
    assert (row.low, row.high) == pytest.approx(expected)
    assert row.by_copy == pytest.approx(copies)
    assert row.detail["converged"] == (row.value >= 0.9)
    assert np.mean(row.detail["per_bit"]) == pytest.approx(1 - row.value)


def test_perfect_readings_are_right_everywhere(evidence):
    found = evidence()
    assert rows(BitAccuracy, found)["code"].value == 1
    attribution = rows(Attribution, found)
    # A perfect match loses to one of 88 distractors with probability about 88 / 2**32.
    assert attribution[""].value == pytest.approx(1, abs=1e-6)
    assert attribution["closed"].value == 1
    assert rows(Verification, found)["fpr=1e-06"].value == 1
    assert rows(Detection, found)["auroc"].value == 1


def test_what_the_bits_cannot_support_is_said_and_is_no_zero(evidence):
    found = evidence(bits=16)
    attribution = rows(Attribution, found)
    row = attribution["n=1000000"]
    assert row.outcome is Outcome.NOT_SUPPORTED
    assert row.value is None
    assert "16 bits cannot tell 1,000,000 users apart" in row.reason
    assert rows(Verification, found)["fpr=1e-06"].outcome is Outcome.NOT_SUPPORTED
    assert rows(FalseAccusation, found)["real"].outcome is Outcome.NOT_SUPPORTED


def test_fewer_registered_than_issued_is_not_supported(evidence):
    assert rows(Attribution, evidence(registered=5))[""].outcome is Outcome.NOT_SUPPORTED


def test_attribution_outcomes_add_up(evidence):
    row = rows(Attribution, evidence(flip=0.15))[""]
    assert row.value + row.detail["wrong"] + row.detail["none"] == pytest.approx(1)
    assert row.low <= row.value <= row.high
    assert row.clusters == USERS
    assert row.detail["threshold_bits"] == 28


def test_false_accusations_are_counted_with_a_bound(evidence):
    found = evidence()
    row = rows(FalseAccusation, found)["real"]
    bits = found.negatives["real"]["logits"] > 0
    best = (bits[:, None] == found.codes[None]).sum(-1).max(1)
    assert row.detail["accused"] == int((best >= 28).sum())
    assert row.n == 300
    bound = stats.beta.ppf(0.95, row.detail["accused"] + 1, 300 - row.detail["accused"])
    assert row.high >= bound
    assert row.high == pytest.approx(bound, abs=1e-3)
    assert rows(FalseAccusation, found)["unregistered"].n == USERS * IMAGES


def test_realised_verification_rates_show_the_worst_user(evidence, codes):
    biased = {"logits": np.tile(np.where(codes[3], 1.0, -1.0), (50, 1)).astype(np.float32)}
    row = rows(Verification, evidence(negatives={"host": biased}))["fpr=0.001"]
    realised = row.detail["realised"]["host"]
    assert realised["worst_user"] == 1
    assert realised["mean"] == pytest.approx(1 / USERS)
    assert realised["images"] == 50


def test_a_method_that_changes_the_sample_is_refused_not_zero(evidence):
    row = rows(Imperceptibility, evidence(keeps_sample=False))["psnr"]
    assert row.outcome is Outcome.REFUSED
    assert row.value is None
    assert rows(Imperceptibility, evidence())["psnr"].value == pytest.approx(30 + (USERS - 1) / 2)
    assert rows(Imperceptibility, evidence(level="image")) == {}


def test_code_influence_is_the_mean_over_all_copies_that_have_a_next_one(evidence):
    found = evidence()
    expected = np.mean([c["code_psnr"].mean() for c in found.copies[1:]])
    row = rows(CodeInfluence, found)["psnr"]
    assert row.value == pytest.approx(expected)
    assert (row.clusters, row.n) == (USERS - 1, 3 * (USERS - 1))
    assert rows(CodeInfluence, evidence(level="image")) == {}


def test_fidelity_is_the_frechet_distance_at_equal_counts(evidence):
    found = evidence()
    row = rows(Fidelity, found)["copies"]
    own = np.concatenate([c["features"] for c in found.copies])
    assert row.n == len(own) == USERS * IMAGES
    a, b = np.cov(own.T), np.cov(found.reference.T)
    mean = own.mean(0) - found.reference.mean(0)
    expected = mean @ mean + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert row.value == pytest.approx(expected, rel=1e-4)
    assert row.detail["reference"] == len(found.reference)


def test_an_attacked_copy_is_compared_with_itself_on_the_same_latents(evidence):
    found = evidence(level="model")
    columns = [{**c, "own_features": c["features"]} for c in found.copies]
    row = rows(Fidelity, replace(found, copies=columns))["copies"]
    assert row.detail["ratio_to_untouched"] == pytest.approx(1)
    moved = [{**c, "features": c["features"] + 5} for c in columns]
    row = rows(Fidelity, replace(found, copies=moved))["copies"]
    assert row.detail["ratio_to_untouched"] > 10


def test_damage_is_what_an_attack_adds_as_a_share_of_the_hosts_distance(evidence):
    def distance(features):
        a, b = np.cov(features.T), np.cov(found.reference.T)
        mean = features.mean(0) - found.reference.mean(0)
        return mean @ mean + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)

    found = evidence(level="model")
    clean = [c["features"] for c in found.copies]
    columns = [
        {**c, "own_features": f, "features": f + 1}
        for c, f in zip(found.copies, clean, strict=True)
    ]
    host = found.clean_host["features"]
    row = rows(Fidelity, replace(found, copies=columns, distance_count=36))["copies"]
    # Three images of each of twelve copies, never all of the first two.
    before = np.concatenate([f[:3] for f in clean])
    added = (distance(before + 1) - distance(before)) / distance(host[:36])
    assert row.n == row.detail["images"] == 36
    assert row.detail["damage"] == pytest.approx(added, rel=1e-3)
    assert row.detail["host"] == pytest.approx(distance(host[:36]), rel=1e-3)
    assert row.detail["untouched"] == pytest.approx(distance(before), rel=1e-3)


def test_no_damage_is_said_where_the_hosts_distance_is_none():
    real = reference([[0.0], [1.0]])
    own = [np.array([[0.0], [2.0]])] * 2
    sets = FeatureSets(own, [np.array([[0.0], [3.0]])] * 2, np.array([[0.0], [1.0]]))
    row = distance_row("copies", sets, real, {}, cell(level="model"))
    assert row.detail["host"] == 0
    assert row.detail["damage"] is None
    untouched = distance_row("copies", replace(sets, untouched=own), real, {}, cell())
    assert "damage" not in untouched.detail


@pytest.mark.parametrize("count", [1, 12, 13, 25])
def test_a_cut_takes_as_many_images_of_each_copy_to_within_one(evidence, count):
    found = evidence()
    columns = [{"features": np.full((IMAGES, 1), user, dtype=np.float32)} for user in range(USERS)]
    sets = feature_sets(
        replace(found, copies=columns, distance_count=count), "features", np.zeros((200, 1))
    )
    taken = np.bincount(sets.own[:, 0].astype(int), minlength=USERS)
    assert len(sets.own) == len(sets.host) == taken.sum() == count
    assert taken.max() - taken.min() <= 1


def test_damage_and_cost_belong_to_their_cells(evidence):
    assert rows(Damage, evidence(level="image"))["psnr"].value == 20
    (cost,) = Cost(NoParams()).measure(evidence())
    assert cost.cost == {"fit_s": 2.0}
    assert cost.value is None
    assert list(Cost(NoParams()).measure(evidence(level="model"))) == []


def test_identical_images_count_as_99_db(evidence):
    found = evidence(level="image")
    columns = [{**c, "damage_psnr": np.full(IMAGES, np.inf)} for c in found.copies]
    same = replace(found, copies=columns)
    assert rows(Damage, same)["psnr"].value == 99


def test_matches_are_counted_against_the_own_code_and_for_nobody_against_all(evidence, codes):
    found = evidence(flip=0.2)
    got = rows(Matches, found)
    own = [
        int(((image > 0) == codes[user]).sum())
        for user, column in enumerate(found.copies)
        for image in column["logits"]
    ]
    strangers = [
        int(((image > 0) == code).sum())
        for image in found.negatives["host"]["logits"]
        for code in codes
    ]
    for source, matches in (("copies", own), ("host", strangers)):
        counts = got[source].detail["counts"]
        assert len(counts) == codes.shape[1] + 1
        assert {m: c for m, c in enumerate(counts) if c} == dict(Counter(matches))
    assert got["host"].n == len(found.negatives["host"]["logits"])
    assert got["copies"].detail["threshold_bits"] <= codes.shape[1]


@pytest.mark.parametrize(("flip", "inverted"), [(0.0, None), (0.5, None), (1.0, True), (0.9, True)])
def test_a_reader_that_is_surely_below_chance_is_called_inverted(evidence, flip, inverted):
    assert rows(BitAccuracy, evidence(flip=flip))[""].detail.get("inverted") is inverted


def test_copies_that_draw_one_image_have_not_converged(evidence):
    found = evidence()
    one = [{**c, "features": np.repeat(c["features"][:1], IMAGES, axis=0)} for c in found.copies]
    row = rows(BitAccuracy, replace(found, copies=one))[""]
    assert row.value == 1
    assert row.detail["converged"] is False
    assert row.detail["unconverged"] == "all images of the copies are alike"
    # A reader may be sure of every bit of all images; that is no sign of it.
    assert rows(BitAccuracy, found)[""].detail["converged"] is True
    few = replace(found, copies=[*one[:-1], found.copies[-1]])
    assert "unconverged" not in rows(BitAccuracy, few)[""].detail
