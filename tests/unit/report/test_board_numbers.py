"""What a board makes of numbers that were chosen by hand."""

import json

import pytest
from report_factory import JPEG, NOISE, FakeAttack, FakeRun

from fpbench.report import overview
from fpbench.report.curves import attack_curves
from fpbench.report.distributions import distributions
from fpbench.report.exports import csv, latex
from fpbench.report.heat import heat_map
from fpbench.report.inputs import read_inputs
from fpbench.report.score import score_board
from fpbench.report.standings import standings
from fpbench.report.tables import Board


@pytest.fixture
def board(tmp_path):
    def make(run: FakeRun, change=lambda record: None) -> Board:
        folder = run.write(tmp_path / "run")
        records = [json.loads(x) for x in (folder / "records.jsonl").read_text().splitlines()]
        for record in records:
            change(record)
        (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        return Board(read_inputs(folder))

    return make


def column(board: Board, head: str):
    table = standings(board, score_board(board))
    place = next(n for n, c in enumerate(table.columns) if c.head == head)
    return {row.method.label: row.cells[place] for row in table.rows}


RATES = {"a": 0.95, "b": 0.7, "c": 0.99}


def rates(method, seed, point, copy):
    return RATES[method] + 0.001 * copy


def test_the_best_is_the_best_end_of_ranked_methods_only(board):
    run = FakeRun(list("abc"), [JPEG], seeds=(0, 1, 2), right=rates)
    run.accuracy = {"a": 0.97, "b": 0.95, "c": 0.2}
    made = board(run)
    assert {k: v.best for k, v in column(made, "Bit accuracy").items()} == {
        "a": True,
        "b": False,
        "c": False,
    }
    # c reads best of all, but did not converge.
    assert [k for k, v in column(made, "Attribution").items() if v.best] == ["a"]
    assert [k for k, v in column(made, "Score").items() if v.best] == ["a"]


def test_without_ranks_no_score_and_no_tier_is_the_best(board):
    made = board(FakeRun(list("ab"), [JPEG, NOISE], right=rates))
    for head in ("Score", "Processing", "Images", "Copy"):
        assert not any(cell.best for cell in column(made, head).values())


def test_a_stand_in_and_few_copies_are_never_the_best(board):
    run = FakeRun(list("ab"), [JPEG, NOISE], seeds=(0, 1, 2), right=rates, inapplicable=[
        ("a", "weight-noise 0.1"), ("a", "weight-noise 0.4"),
    ])  # fmt: skip
    made = board(run)
    cells = column(made, "Copy")
    assert cells["a"].sub == "as tier samples"
    assert not cells["a"].best

    def claims_nothing(record):
        if record["metric"] == "verification" and record["method"]["label"] == "a":
            record["detail"] = {"no_claim": "6 copies"}
            record["value"] = 0.999

    cells = column(board(run, claims_nothing), "TPR at FPR ≤ 10⁻²")
    assert not cells["a"].best


def test_a_rate_is_named_at_what_it_really_is(board):
    def exact(record):
        if record["metric"] == "verification":
            record["detail"] = {"false_rate_exact": 2.7e-3}

    cells = column(board(FakeRun(["a"], [JPEG], right=rates), exact), "TPR at FPR ≤ 10⁻²")
    assert cells["a"].sub.endswith("at 2.7e-03")


def accusations(values):
    def change(record):
        if record["metric"] == "false-accusation":
            found = values.get((record["variant"], record["point"]["label"]), (0.0, 0.001))
            record["value"], record["high"] = found

    return change


def test_the_worst_accusation_is_the_largest_and_of_equals_the_weakest(board):
    values = {
        ("real", "none"): (0.001, 0.002),
        ("host", "none"): (0.004, 0.01),
        ("real", "jpeg 90"): (0.03, 0.04),
        ("real", "jpeg 50"): (0.03, 0.2),
    }
    made = board(FakeRun(["a"], [JPEG], right=rates), accusations(values))
    assert column(made, "False accusation")["a"].text == "0.004"
    assert column(made, "False accusation")["a"].sub.startswith("host")
    table = overview.accusations(made)
    _, cells = table.rows[0]
    assert cells[0].text == "0.001"
    assert cells[1].text == "0.03"
    assert cells[1].sub.startswith("jpeg 50, and 1 more alike\n≤ 0.2")


def test_what_is_mostly_arithmetic_is_no_worst_source(board):
    values = {("unregistered", "none"): (0.02, 0.12)}
    made = board(FakeRun(["a"], [JPEG], right=rates), accusations(values))
    assert "unregistered" not in column(made, "False accusation")["a"].sub


def test_the_price_of_removal_says_what_it_takes(board):
    def removed(method, seed, point, copy):
        return (
            0.2 if (method, point) == ("a", "weight-noise 0.1") else rates(method, seed, "", copy)
        )

    made = board(FakeRun(list("ab"), [JPEG, NOISE], right=removed))
    cells = column(made, "Price of removal")
    assert cells["a"].text == "weight-noise 0.1"
    assert cells["a"].sub == "no training, D = 0.10, leaves 0.200"
    assert cells["b"].text == "none found"


def test_the_frontier_holds_those_that_no_other_beats(board):
    class Point:
        def __init__(self, x, score):
            self.x, self.score = x, score

    points = [Point(2, 0.5), Point(1, 0.4), Point(3, 0.45), Point(4, 0.9), Point(4, 0.8)]
    assert overview.frontier(points) == [(1, 0.4), (2, 0.5), (4, 0.9)]


def test_unranked_methods_are_in_no_chart_of_scores(board):
    run = FakeRun(list("ab"), [JPEG], right=rates, accuracy={"b": 0.2})
    made = board(run)
    drawn = overview.plane(made, score_board(made))
    assert " i0" in drawn
    assert " i1" not in drawn


@pytest.mark.parametrize(("rate", "level"), [(0.0, 0), (0.31, 3), (0.96, 10)])
def test_more_traced_is_a_stronger_colour(board, rate, level):
    made = board(FakeRun(["a"], [JPEG], right=lambda *_: rate))
    cell = heat_map(made).parts[0][1][1].rows[0][1][0]
    assert cell.shown.css == f"heat-{level}"


def test_points_are_marked_with_their_part_in_the_score(board):
    few = FakeAttack("swap", "step swap", "model", (0.5,), copies=4)
    run = FakeRun(["a"], [JPEG, NOISE, few], right=rates, ineffective=[("a", "weight-noise 0.1")])
    groups = {g.title: g for _, part in heat_map(board(run)).parts for g in part}
    marks = {
        point.label: cells[0].mark for g in groups.values() for point, cells in g.rows if g.link
    }
    assert marks == {
        "jpeg 90": "scored",
        "jpeg 50": "scored",
        "weight-noise 0.1": "no effect",
        "weight-noise 0.4": "over budget",
        "swap 0.5": "few copies",
    }


def test_two_trainings_are_shown_as_they_are(board):
    run = FakeRun(["a"], [JPEG], seeds=(0, 1), right=lambda m, seed, p, c: 0.9 - 0.3 * seed)
    made = board(run)
    scores = score_board(made)
    assert overview.score_rows(made, scores)[0][1][4] == "0.900, 0.600"
    header, row = csv(made, scores).splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    assert "these trainings" in values["score_interval_of"]
    assert float(values["score_seed_0"]) == pytest.approx(0.9)
    assert float(values["score_seed_1"]) == pytest.approx(0.6)
    series = attack_curves(made, made.attacks[0]).panels[0].svg
    assert 'class="band"' in series


def test_the_file_has_intervals_tiers_and_whole_ranks(board):
    run = FakeRun(list("abc"), [JPEG], seeds=(0, 1, 2), right=rates, accuracy={"c": 0.2})
    made = board(run)
    header, *rows = csv(made, score_board(made)).splitlines()
    values = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    assert [v["rank"] for v in values] == ["1", "2", ""]
    assert float(values[0]["score_low"]) < float(values[0]["score"])
    assert float(values[0]["score"]) < float(values[0]["score_high"])
    assert float(values[1]["tier_processing"]) == pytest.approx(0.7055)


HOSTILE = ["=HYPERLINK(1)", "@SUM(1)", "a\rb\nc", "[x] & 50%_$", "-1"]


def test_labels_are_no_formulas_no_lines_and_no_latex(board):
    made = board(FakeRun(HOSTILE, [JPEG]))
    scores = score_board(made)
    rows = csv(made, scores).splitlines()
    assert len(rows) == 1 + len(HOSTILE)
    assert not any(row.startswith(("=", "@", "-")) for row in rows)
    body = [x for x in latex(made, scores).splitlines() if x.endswith("\\\\")][1:]
    assert len(body) == len(HOSTILE)
    assert any(row.startswith("{}[x] \\& 50\\%\\_\\$") for row in body)


def test_distributions_are_of_the_strongest_scored_strength(board):
    attack = FakeAttack("jpeg", "compression", strengths=(90.0, 50.0, 10.0), scored=(90.0, 50.0))

    def differ(record):
        if record["metric"] == "matches" and record["point"]["label"] == "jpeg 50":
            record["detail"]["threshold_bits"] = 9

    made = board(FakeRun(["a"], [attack], right=rates), differ)
    found = distributions(made, made.methods[0])
    assert [each.title for each in found] == ["untouched", "jpeg 50"]
    assert "threshold 14" in found[0].svg
    assert "threshold 9" in found[1].svg
    assert found[0].rows == [
        (7, ["0.000", "0.167", "0.167"]),
        (8, ["0.000", "0.667", "0.667"]),
        (9, ["0.000", "0.167", "0.167"]),
        (14, ["0.167", "0.000", "0.000"]),
        (15, ["0.667", "0.000", "0.000"]),
        (16, ["0.167", "0.000", "0.000"]),
    ]


def test_records_without_optional_fields_still_make_a_page(board, tmp_path):
    def bare(record):
        for name in ("dataset", "host", "environment", "created_utc", "command", "cost"):
            record.pop(name, None)
        if record["metric"] == "training":
            record["detail"].pop("step")

    from fpbench.report.build import build_page

    board(FakeRun(["a"], [JPEG]), bare)
    assert build_page(tmp_path / "run", tmp_path / "page").is_file()
