import json
from dataclasses import replace

import pytest
from report_factory import BYPASS, COPIES, JPEG, NOISE, FakeAttack, FakeRun

from fpbench.api import canonical_json
from fpbench.report.inputs import read_inputs
from fpbench.report.score import DOES_NOT_APPLY, NOT_REMOVED, MethodScore, score_board
from fpbench.report.tables import Board
from fpbench.report.verdict import join, verdict


def scores(run: FakeRun, folder) -> dict[str, MethodScore]:
    return score_board(run.board(folder))


def by_point(rates):
    return lambda method, seed, point, copy: rates.get(point, 1.0) + 0.001 * (copy % 2)


def test_score_is_the_mean_over_families_with_one_vote_each(tmp_path):
    rates = {"jpeg 90": 0.8, "jpeg 50": 0.4, "weight-noise 0.1": 0.9, "bypass": 0.0}
    run = FakeRun(methods=["alpha"], right=by_point(rates))
    score = scores(run, tmp_path)["alpha"]
    # compression (0.8 + 0.4) / 2, weight noise 0.9, bypass 0, and 0.0005 for the odd copies
    assert score.value == pytest.approx((0.6 + 0.9 + 0.0) / 3 + 0.0005)
    assert score.worst == ("bypass", pytest.approx(0.0005))
    assert score.low < score.value < score.high


def test_attacks_of_one_family_share_its_vote(tmp_path):
    webp = FakeAttack("webp", "compression", strengths=(50.0,))
    run = FakeRun(["alpha"], [JPEG, webp], right=by_point({"jpeg 90": 0.2, "jpeg 50": 0.4}))
    assert scores(run, tmp_path)["alpha"].value == pytest.approx((0.3 + 1.0) / 2 + 0.0005)


def test_untouched_point_is_no_family(tmp_path):
    run = FakeRun(["alpha"], [JPEG], right=by_point({"none": 0.0, "jpeg 90": 1, "jpeg 50": 1}))
    assert scores(run, tmp_path)["alpha"].value == pytest.approx(1.0, abs=1e-3)


def test_only_marked_strengths_of_image_attacks_count(tmp_path):
    marked = replace(JPEG, scored=(90.0,))
    run = FakeRun(["alpha"], [marked], right=by_point({"jpeg 90": 0.8, "jpeg 50": 0.0}))
    assert scores(run, tmp_path)["alpha"].value == pytest.approx(0.8005)


def test_model_attack_over_the_damage_budget_does_not_count(tmp_path):
    rates = {"weight-noise 0.1": 0.7, "weight-noise 0.4": 0.0}
    run = FakeRun(["alpha"], [NOISE], right=by_point(rates))
    part = scores(run, tmp_path)["alpha"].families["weight noise"]
    assert part.points == ("weight-noise 0.1",)
    assert part.value == pytest.approx(0.7005)


def test_family_without_a_strength_in_budget_takes_the_clean_rate(tmp_path):
    rates = {"none": 0.6, "weight-noise 0.1": 0.1, "weight-noise 0.4": 0.0}
    run = FakeRun(["alpha"], [NOISE], right=by_point(rates), ratio=lambda *_: 2.0)
    part = scores(run, tmp_path)["alpha"].families["weight noise"]
    assert part.stand_in == NOT_REMOVED
    assert part.value == pytest.approx(0.6005)


def test_budget_is_applied_to_each_method_alone(tmp_path):
    run = FakeRun(attacks=[NOISE], ratio=lambda m, s, p: 2.0 if m == "alpha" else 1.0)
    found = scores(run, tmp_path)
    assert found["alpha"].families["weight noise"].stand_in == NOT_REMOVED
    assert len(found["beta"].families["weight noise"].points) == 2


def test_an_attack_that_cannot_be_made_on_a_method_leaves_its_clean_rate(tmp_path):
    run = FakeRun(right=by_point({"none": 0.6}), inapplicable=[("alpha", "bypass")])
    found = scores(run, tmp_path)
    part = found["alpha"].families["bypass"]
    assert part.stand_in == DOES_NOT_APPLY
    assert part.value == pytest.approx(0.6005)
    assert found["alpha"].rank is not None
    said = " ".join(verdict(run.board(tmp_path), found))
    assert "Some attacks cannot be made on a method (bypass to alpha)" in said


def test_a_strength_that_cannot_be_reached_is_skipped_in_its_family(tmp_path):
    run = FakeRun(
        ["alpha"],
        right=by_point({"jpeg 90": 0.2, "jpeg 50": 0.8}),
        inapplicable=[("alpha", "jpeg 90")],
    )
    part = scores(run, tmp_path)["alpha"].families["compression"]
    assert part.points == ("jpeg 50",)
    assert part.value == pytest.approx(0.8005)


@pytest.mark.parametrize("outcome", ["failed", "blocked", "refused"])
def test_missing_point_leaves_the_method_unranked_and_is_never_zero(tmp_path, outcome):
    run = FakeRun(outcomes={("alpha", "jpeg 50"): (outcome, "the codec broke")})
    found = scores(run, tmp_path)
    assert found["alpha"].value is None
    assert found["alpha"].rank is None
    assert f"jpeg 50 {outcome}: the codec broke" in found["alpha"].reason
    assert found["beta"].rank == 1
    assert found["beta"].value == pytest.approx(0.925)


def test_absent_record_leaves_the_method_unranked(tmp_path):
    found = scores(FakeRun(absent=[("alpha", "bypass")]), tmp_path)
    assert "bypass missing" in found["alpha"].reason


def test_unknown_damage_leaves_the_method_unranked(tmp_path):
    found = scores(FakeRun(ratio=lambda m, s, p: None if m == "alpha" else 1.0), tmp_path)
    assert "weight-noise 0.1 incomplete" in found["alpha"].reason
    assert found["alpha"].value is None


def test_unsupported_population_means_no_score(tmp_path):
    found = scores(FakeRun(supported=False), tmp_path)
    assert found["alpha"].value is None
    assert found["alpha"].reason == "not supported: 16 bits are too few"


def test_method_below_its_gate_did_not_converge_and_is_not_ranked(tmp_path):
    found = scores(FakeRun(accuracy={"alpha": 0.6}), tmp_path)
    assert (
        "did not converge: clean bit accuracy 0.600 is below its gate 0.9" in found["alpha"].reason
    )
    assert found["alpha"].rank is None
    assert found["beta"].rank == 1


def test_unavailable_attack_leaves_every_method_unranked(tmp_path):
    run = FakeRun(unavailable=[("attacks", "regeneration", "pip install it")])
    found = scores(run, tmp_path)
    assert all(s.rank is None and "regeneration" in s.reason for s in found.values())


def test_unavailable_method_is_shown_with_its_reason(tmp_path):
    run = FakeRun(unavailable=[("methods", "gone", "pip install it")])
    found = scores(run, tmp_path)
    assert found["gone"].problems == ("unavailable: pip install it",)
    assert found["alpha"].rank == 1


def test_equal_methods_tie_and_a_worse_one_does_not(tmp_path):
    def right(method, seed, point, copy):
        # A spread of copies that is not the same in the two, so that they differ by noise only.
        wobble = 0.01 * ((copy * (2 if method == "alpha" else 3)) % 5)
        return (0.3 if method == "worse" else 0.9) + wobble

    found = scores(FakeRun(["alpha", "beta", "worse"], right=right), tmp_path)
    assert found["alpha"].rank == found["beta"].rank == 1
    assert found["alpha"].ties == ("beta",)
    assert found["worse"].rank == 3


def test_copies_are_cut_to_what_all_points_of_a_family_share(tmp_path):
    few = replace(NOISE, copies=3)
    part = scores(FakeRun(attacks=[few], ratio=lambda *_: 9.0), tmp_path)["alpha"]
    assert part.families["weight noise"].by_copy == pytest.approx([0.9, 0.91, 0.92])


def test_training_seeds_are_averaged_and_shown(tmp_path):
    run = FakeRun(["alpha"], [JPEG], seeds=(0, 1), right=lambda m, s, p, c: 0.5 + 0.2 * s)
    score = scores(run, tmp_path)["alpha"]
    assert score.seeds == pytest.approx((0.5, 0.7))
    assert score.value == pytest.approx(0.6)


def test_copies_that_are_all_alike_still_have_an_interval(tmp_path):
    score = scores(FakeRun(["alpha"], [JPEG], right=lambda *_: 1.0), tmp_path)["alpha"]
    # Clopper and Pearson for 6 of 6: (0.025)^(1/6)
    assert (score.low, score.high) == (pytest.approx(0.025 ** (1 / COPIES)), 1.0)


def test_verdict_names_ties_survivors_and_limits(tmp_path):
    run = FakeRun(right=lambda m, s, p, c: 0.0 if p == "bypass" and m == "beta" else 1.0)
    board = run.board(tmp_path)
    text = " ".join(verdict(board, score_board(board)))
    assert "alpha (1.000) has the best score" in text
    assert "Every ranked method survives compression and weight noise" in text
    assert "Only alpha survives bypass" in text
    assert "No method supports 10,000 or more registered users at 16 bits" in text
    assert "exceeds α = 0.01" in text


def test_verdict_of_nothing_ranked_says_so(tmp_path):
    board = FakeRun(supported=False, attacks=[BYPASS]).board(tmp_path)
    found = verdict(board, score_board(board))
    assert found[0] == "No method is ranked."
    assert "alpha and beta are not ranked" in found[1]


def test_long_lists_are_cut_with_their_count():
    assert join(list("abcdefgh")) == "a, b, c, d and 4 more"
    assert join(["a"]) == "a"
    assert join(["a", "b"]) == "a and b"


def test_numbers_of_two_versions_of_a_measure_are_not_ranked(tmp_path):
    folder = FakeRun().write(tmp_path)
    file = folder / "records.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        record["metric_version"] = "1" if record["method"].get("label") == "beta" else "2"
    file.write_text("".join(canonical_json(record) + "\n" for record in records))
    found = score_board(Board(read_inputs(folder)))
    assert {score.rank for score in found.values()} == {None}
    assert "attribution 1 and 2" in found["alpha"].reason
    assert "fpbench score" in found["alpha"].reason
