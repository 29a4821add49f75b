import json
from dataclasses import replace

import pytest
from report_factory import BYPASS, COPIES, JPEG, NOISE, TUNE, FakeAttack, FakeRun

from fpbench.api import canonical_json
from fpbench.report.inputs import read_inputs
from fpbench.report.score import MethodScore, score_board
from fpbench.report.tables import Board


def scores(run: FakeRun, folder) -> dict[str, MethodScore]:
    return score_board(run.board(folder))


def by_point(rates):
    return lambda method, seed, point, copy: rates.get(point, 1.0) + 0.001 * (copy % 2)


def test_score_is_the_mean_of_the_tiers_that_the_suite_has(tmp_path):
    rates = {"jpeg 90": 0.8, "jpeg 50": 0.4, "weight-noise 0.1": 0.9, "bypass": 0.0}
    run = FakeRun(methods=["alpha"], right=by_point(rates))
    score = scores(run, tmp_path)["alpha"]
    assert list(score.tiers) == ["processing", "samples", "copy"]
    # processing (.8 + .4) / 2, images .4, copy 0, and .0005 for the odd copies
    assert score.value == pytest.approx((0.6 + 0.4 + 0.0) / 3 + 0.0005)
    assert score.low < score.value < score.high
    assert "this training" in score.rule


@pytest.mark.parametrize("outcome", ["failed", "blocked", "refused"])
def test_a_missing_point_leaves_the_method_without_a_place_and_is_never_zero(tmp_path, outcome):
    run = FakeRun(outcomes={("alpha", "jpeg 50"): (outcome, "the codec broke")})
    found = scores(run, tmp_path)
    assert found["alpha"].value is None
    assert not found["alpha"].placed
    assert f"jpeg 50 {outcome}: the codec broke" in found["alpha"].reason
    assert found["beta"].placed


def test_absent_record_leaves_the_method_without_a_place(tmp_path):
    found = scores(FakeRun(absent=[("alpha", "bypass")]), tmp_path)
    assert "bypass missing" in found["alpha"].reason


def test_unsupported_population_means_no_score(tmp_path):
    found = scores(FakeRun(supported=False), tmp_path)
    assert found["alpha"].value is None
    assert found["alpha"].reason == "not supported: 16 bits are too few"


def test_method_below_its_gate_did_not_converge_and_has_no_place(tmp_path):
    found = scores(FakeRun(accuracy={"alpha": 0.6}), tmp_path)
    assert (
        "did not converge: clean bit accuracy 0.600 is below its gate 0.9" in found["alpha"].reason
    )
    assert not found["alpha"].placed
    assert found["beta"].placed


def test_unavailable_attack_leaves_every_method_without_a_place(tmp_path):
    run = FakeRun(unavailable=[("attacks", "regeneration", "pip install it")])
    found = scores(run, tmp_path)
    assert all(not s.placed and "regeneration" in s.reason for s in found.values())


def test_unavailable_method_is_shown_with_its_reason(tmp_path):
    run = FakeRun(unavailable=[("methods", "gone", "pip install it")])
    found = scores(run, tmp_path)
    assert found["gone"].problems == ("unavailable: pip install it",)
    assert found["alpha"].placed


def wobbling(method, seed, point, copy):
    # A spread of copies and trainings that is not the same in the methods.
    wobble = 0.01 * ((copy * (2 if method == "alpha" else 3) + seed) % 5)
    return (0.3 if method == "worse" else 0.9) + wobble


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_fewer_than_three_trainings_give_an_order_and_no_rank(tmp_path, seeds):
    found = scores(FakeRun(["alpha", "worse"], seeds=seeds, right=wobbling), tmp_path)
    assert {s.rank for s in found.values()} == {None}
    assert all(s.placed and str(len(seeds)) in s.unranked for s in found.values())


def test_from_three_trainings_on_equal_methods_tie_and_a_worse_one_does_not(tmp_path):
    run = FakeRun(["alpha", "beta", "worse"], seeds=(0, 1, 2), right=wobbling)
    found = scores(run, tmp_path)
    assert found["alpha"].rank == found["beta"].rank == 1
    assert found["alpha"].ties == ("beta",)
    assert found["worse"].rank == 3
    assert "trainings" in found["worse"].rule


def test_a_method_that_trains_nothing_is_run_once_and_ranked(tmp_path):
    run = FakeRun(["alpha", "worse"], seeds=(0, 1, 2), right=wobbling, untrained=("worse",))
    found = scores(run, tmp_path)
    assert len(found["worse"].seeds) == 1
    assert (found["alpha"].rank, found["worse"].rank) == (1, 2)


def test_trainings_are_averaged_and_kept(tmp_path):
    run = FakeRun(["alpha"], [JPEG], seeds=(0, 1), right=lambda m, s, p, c: 0.5 + 0.2 * s)
    score = scores(run, tmp_path)["alpha"]
    assert score.seeds == pytest.approx((0.5, 0.7))
    assert score.value == pytest.approx(0.6)


def test_copies_that_are_all_alike_still_have_an_interval(tmp_path):
    score = scores(FakeRun(["alpha"], [JPEG], right=lambda *_: 1.0), tmp_path)["alpha"]
    assert 0.8 < score.low < 0.98
    assert score.high == 1.0


def test_removal_is_priced_by_what_must_be_held_before_anything_else(tmp_path):
    rates = {"bypass": 0.4, "fine-tune 10": 0.0, "fine-tune 30": 0.0}
    run = FakeRun(["alpha"], [JPEG, BYPASS, TUNE], right=by_point(rates))
    assert scores(run, tmp_path)["alpha"].price.where == "bypass"
    rates["bypass"] = 0.9
    price = scores(run, tmp_path)["alpha"].price
    assert (price.where, price.steps, price.clean) == ("fine-tune 10", 10, 128)
    rates["jpeg 50"] = 0.3
    assert scores(run, tmp_path)["alpha"].price.where == "jpeg 50"


def test_what_is_removed_only_beyond_the_budget_has_no_price(tmp_path):
    blunt = FakeAttack("weight-noise", "weight noise", "model", (0.4,))
    run = FakeRun(["alpha"], [blunt], right=by_point({"weight-noise 0.4": 0.2}))
    # D = 2 at .4: a quarter of the way at the budget, where .8 are left
    assert scores(run, tmp_path)["alpha"].price is None


def test_numbers_of_two_versions_of_a_measure_are_not_compared(tmp_path):
    folder = FakeRun().write(tmp_path)
    file = folder / "records.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        record["metric_version"] = "1" if record["method"].get("label") == "beta" else "2"
    file.write_text("".join(canonical_json(record) + "\n" for record in records))
    found = score_board(Board(read_inputs(folder)))
    assert not any(score.placed for score in found.values())
    assert "attribution 1 and 2" in found["alpha"].reason
    assert "fpbench score" in found["alpha"].reason


def test_a_board_of_the_earlier_score_is_shown_without_places_and_says_why(tmp_path):
    folder = FakeRun().write(tmp_path)
    suite = json.loads((folder / "suite.json").read_text())
    suite["score"] = {"registered": 30, "false_rate": 0.01, "damage_budget": 1.5}
    (folder / "suite.json").write_text(json.dumps(suite))
    found = score_board(Board(read_inputs(folder)))
    assert not any(score.placed for score in found.values())
    assert "earlier score" in found["alpha"].reason


def test_copies_are_cut_to_what_all_attacks_of_a_tier_share(tmp_path):
    few = replace(NOISE, copies=10)
    found = scores(FakeRun(attacks=[few, BYPASS]), tmp_path)["alpha"]
    assert found.tiers["copy"].by_copy.size == 10
    assert COPIES > 10


def test_a_gate_that_is_no_number_ranks_nobody_and_breaks_no_page(tmp_path):
    folder = FakeRun(["alpha"], [JPEG]).write(tmp_path)
    file = folder / "records.jsonl"
    text = file.read_text().replace('"converged":true,"gate":0.9', '"converged":false,"gate":null')
    assert '"gate":null' in text
    file.write_text(text)
    found = score_board(Board(read_inputs(folder)))
    assert "gate (which is no number)" in found["alpha"].reason
