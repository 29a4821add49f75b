"""The threat tiers: what counts, up to which damage, and how the worst is chosen."""

from dataclasses import replace

import numpy as np
import pytest
from report_factory import BYPASS, COPIES, JPEG, NOISE, TUNE, FakeAttack, FakeRun

from fpbench.report.score import score_board
from fpbench.report.tiers import Candidate, worst_case

BOTH = FakeAttack("weight-noise", "weight noise", "model", (0.1, 0.2, 0.4))


def by_point(rates):
    return lambda method, seed, point, copy: rates.get(point, 1.0)


def by_damage(damages):
    return lambda method, seed, point: damages.get(point, 0.1)


def tiers(run, folder, method="alpha"):
    score = score_board(run.board(folder))[method]
    assert not score.problems
    return score.tiers


def test_processing_is_the_mean_over_families_with_one_vote_each(tmp_path):
    webp = FakeAttack("webp", "compression", strengths=(50.0,))
    blur = FakeAttack("blur", "filtering", strengths=(1.0,))
    rates = {"jpeg 90": 0.2, "jpeg 50": 0.4, "webp 50": 0.5, "blur 1": 0.9}
    found = tiers(FakeRun(["alpha"], [JPEG, webp, blur], right=by_point(rates)), tmp_path)
    # compression: jpeg (.2 + .4) / 2 and webp .5; filtering .9
    assert found["processing"].value == pytest.approx(((0.3 + 0.5) / 2 + 0.9) / 2)
    assert found["samples"].value == pytest.approx(0.2)
    assert found["samples"].worst == "jpeg 90"


def test_only_named_strengths_are_processing_while_the_worst_is_looked_for_at_all(tmp_path):
    marked = replace(JPEG, scored=(90.0,))
    rates = {"jpeg 90": 0.8, "jpeg 50": 0.1}
    found = tiers(FakeRun(["alpha"], [marked], right=by_point(rates)), tmp_path)
    assert found["processing"].value == pytest.approx(0.8)
    assert found["samples"].value == pytest.approx(0.1)


def test_a_curve_counts_up_to_where_it_crosses_the_budget(tmp_path):
    rates = {"weight-noise 0.1": 0.9, "weight-noise 0.2": 0.7, "weight-noise 0.4": 0.1}
    damages = {"weight-noise 0.1": 0.1, "weight-noise 0.2": 0.3, "weight-noise 0.4": 0.7}
    run = FakeRun(["alpha"], [BOTH], right=by_point(rates), damage=by_damage(damages))
    part = tiers(run, tmp_path)["copy"]
    # from (.3, .7) to (.7, .1), at .5
    assert part.value == pytest.approx(0.4)
    assert part.worst == "weight-noise 0.2–0.4"


def test_one_strength_beyond_the_budget_is_no_cliff(tmp_path):
    rates = {"weight-noise 0.1": 0.0, "weight-noise 0.4": 0.0}
    damages = {"weight-noise 0.1": 1.0, "weight-noise 0.4": 2.0}
    run = FakeRun(["alpha"], [NOISE], right=by_point(rates), damage=by_damage(damages))
    # from (0, 1) to (1, 0), at .5
    assert tiers(run, tmp_path)["copy"].value == pytest.approx(0.5)


def test_a_curve_that_leaves_the_budget_and_comes_back_counts_both_parts(tmp_path):
    rates = {"weight-noise 0.1": 0.8, "weight-noise 0.2": 0.6, "weight-noise 0.4": 0.2}
    damages = {"weight-noise 0.1": 0.1, "weight-noise 0.2": 0.9, "weight-noise 0.4": 0.4}
    run = FakeRun(["alpha"], [BOTH], right=by_point(rates), damage=by_damage(damages))
    assert tiers(run, tmp_path)["copy"].value == pytest.approx(0.2)


def test_images_that_become_better_are_within_any_budget(tmp_path):
    run = FakeRun(["alpha"], [NOISE], right=by_point({"weight-noise 0.1": 0.3}))
    run.damage = by_damage({"weight-noise 0.1": -0.2, "weight-noise 0.4": 0.4})
    assert tiers(run, tmp_path)["copy"].value == pytest.approx(0.3)


def test_what_moves_pixels_counts_at_the_strengths_that_the_suite_names(tmp_path):
    crop = FakeAttack("crop", "geometry", strengths=(0.9, 0.5), geometric=True, samples=(0.9,))
    rates = {"crop 0.9": 0.6, "crop 0.5": 0.0}
    run = FakeRun(["alpha"], [crop], right=by_point(rates), damage=lambda *_: 0.9)
    found = tiers(run, tmp_path)
    assert found["samples"].value == pytest.approx(0.6)
    assert found["processing"].value == pytest.approx(0.3)


def test_who_may_train_can_do_all_that_needs_no_training(tmp_path):
    rates = {"weight-noise 0.1": 0.3, "fine-tune 10": 0.9, "fine-tune 30": 0.8}
    run = FakeRun(["alpha"], [replace(NOISE, strengths=(0.1,)), TUNE], right=by_point(rates))
    found = tiers(run, tmp_path)
    assert found["copy"].value == found["training"].value == pytest.approx(0.3)
    rates["fine-tune 30"] = 0.1
    found = tiers(run, tmp_path)
    assert found["copy"].value == pytest.approx(0.3)
    assert (found["training"].value, found["training"].worst) == (
        pytest.approx(0.1),
        "fine-tune 30",
    )


def test_who_may_train_and_does_not_is_read_on_all_copies_as_who_needs_no_training(tmp_path):
    def right(method, seed, point, copy):
        return {"weight-noise 0.1": 0.3 if copy < 10 else 0.9}.get(point, 1.0)

    run = FakeRun(
        ["alpha"], [replace(NOISE, strengths=(0.1,)), replace(TUNE, copies=10)], right=right
    )
    found = tiers(run, tmp_path)
    # Of all twelve copies, not the .3 of the ten that are trained on.
    assert found["copy"].value == found["training"].value == pytest.approx(0.4)
    assert found["training"].by_copy.size == COPIES


def test_more_steps_or_clean_images_than_the_adversary_has_do_not_count(tmp_path):
    long = replace(TUNE, strengths=(30.0, 300.0))
    run = FakeRun(["alpha"], [long], right=by_point({"fine-tune 300": 0.0, "fine-tune 30": 0.7}))
    assert tiers(run, tmp_path)["training"].value == pytest.approx(0.7)


def test_an_attack_that_cannot_be_made_gives_nothing_and_an_empty_tier_takes_the_one_before(
    tmp_path,
):
    run = FakeRun(
        attacks=[JPEG, BYPASS, TUNE],
        right=by_point({"jpeg 50": 0.6, "bypass": 0.2}),
        inapplicable=[("alpha", n) for n in ("bypass", "fine-tune 10", "fine-tune 30")],
    )
    found = tiers(run, tmp_path)
    assert found["copy"].value == found["samples"].value == pytest.approx(0.6)
    assert found["copy"].stand_in == "as tier samples"
    assert found["training"].stand_in == "as tier copy"
    assert tiers(run, tmp_path, "beta")["training"].value == pytest.approx(0.2)


def test_without_an_attack_on_images_an_empty_tier_takes_the_clean_rate(tmp_path):
    run = FakeRun(
        attacks=[BYPASS], right=by_point({"none": 0.7}), inapplicable=[("alpha", "bypass")]
    )
    part = tiers(run, tmp_path)["copy"]
    assert (part.value, part.stand_in) == (pytest.approx(0.7), "clean rate")


def test_what_left_the_mark_as_it_was_counts_nowhere(tmp_path):
    rates = {"weight-noise 0.1": 0.3, "bypass": 0.8}
    run = FakeRun(
        ["alpha"],
        [replace(NOISE, strengths=(0.1,)), BYPASS],
        right=by_point(rates),
        ineffective=[("alpha", "weight-noise 0.1")],
    )
    assert tiers(run, tmp_path)["copy"].value == pytest.approx(0.8)


def test_too_few_copies_decide_nothing_unless_there_are_no_more(tmp_path):
    few = replace(NOISE, strengths=(0.1,), copies=4)
    run = FakeRun(["alpha"], [few, BYPASS], right=by_point({"weight-noise 0.1": 0.0}))
    assert tiers(run, tmp_path)["copy"].value == pytest.approx(1.0)


@pytest.mark.parametrize("attacks", [[JPEG], [NOISE]])
def test_unknown_damage_leaves_the_method_without_a_place(tmp_path, attacks):
    run = FakeRun(attacks=attacks)
    run.damage = lambda m, s, p: None if m == "alpha" else 0.1
    found = score_board(run.board(tmp_path))
    assert found["alpha"].value is None
    assert "damage is" in found["alpha"].reason
    assert found["beta"].placed


def test_the_worst_of_equals_is_not_biased_by_choosing_it():
    rng = np.random.default_rng(1)

    def candidate(number):
        by_copy = (rng.random((40, 18)) < 0.5).mean(axis=1)
        return Candidate("a", f"a {number}", by_copy, 0.1, "copy", ("copy",), 0, 0)

    chosen, naive = [], []
    for _ in range(200):
        listed = [candidate(n) for n in range(12)]
        chosen.append(worst_case(listed, 18).value)
        naive.append(min(c.value for c in listed))
    error = np.std(chosen) / np.sqrt(len(chosen))
    assert abs(np.mean(chosen) - 0.5) < 4 * error
    assert np.mean(naive) < 0.5 - 10 * error


def test_an_attack_that_makes_tracing_easier_is_not_made(tmp_path):
    run = FakeRun(["alpha"], [BYPASS], right=by_point({"none": 0.6, "bypass": 0.9}))
    part = tiers(run, tmp_path)["copy"]
    assert (part.value, part.worst) == (pytest.approx(0.6), "no attack helps")


def test_a_clear_worst_is_found_exactly():
    rates = [np.full(COPIES, 0.9), np.full(COPIES, 0.2)]
    listed = [
        Candidate("a", f"a {n}", rate, 0.1, "copy", ("copy",), 0, 0) for n, rate in enumerate(rates)
    ]
    found = worst_case(listed, 10)
    assert (found.value, found.worst) == (pytest.approx(0.2), "a 1")


def test_attacks_on_images_that_learn_count_where_they_belong_and_within_the_means(tmp_path):
    learns = FakeAttack(
        "surrogate", "adversarial", strengths=(2.0,), access=("clean-images", "images")
    )
    leaks = replace(learns, label="embedder-leak", tier="training")
    trains = replace(learns, label="longer", strengths=(50.0, 200.0), steps=True)
    rates = {"surrogate 2": 0.7, "embedder-leak 2": 0.2, "longer 50": 0.6, "longer 200": 0.0}
    damages = {"embedder-leak 2": 0.2}
    attacks = [JPEG, NOISE, learns, leaks, trains]
    run = FakeRun(["alpha"], attacks, right=by_point(rates), damage=by_damage(damages))
    found = tiers(run, tmp_path / "within")
    # 200 steps are more than the suite allows; jpeg alone is processing
    assert found["processing"].value == pytest.approx(1)
    assert (found["samples"].value, found["samples"].worst) == (pytest.approx(0.6), "longer 50")
    assert (found["training"].value, found["training"].worst) == (
        pytest.approx(0.2),
        "embedder-leak 2",
    )
    # of images the damage is 1 - SSIM, whose budget of .25 is met half of the way
    run.damage = by_damage({"embedder-leak 2": 0.5})
    assert tiers(run, tmp_path / "over")["training"].value == pytest.approx(0.6)
