"""Methods that give scores or a presence, or read weights: their tables, and what pages say."""

import re

import pandas as pd
import pytest
from report_factory import BYPASS, JPEG, NOISE, TUNE, FakeRun

from fpbench.report.build import build_page
from fpbench.report.comparing import compare_sides
from fpbench.report.heat import heat_map
from fpbench.report.kinds import unasked
from fpbench.report.rankings import BY_ATTRIBUTION, BY_DETECTION, OF_WEIGHTS, tables_of
from fpbench.report.score import rankings
from fpbench.report.sides import read_side
from fpbench.report.standings import sources, standings
from fpbench.report.verdict import verdict

METHODS = ("alpha", "keyed", "few", "present", "weighed")
GIVES = {"keyed": "scores", "few": "scores", "present": "presence"}


def mixed(**more) -> FakeRun:
    given = {
        "methods": METHODS,
        "attacks": (JPEG, NOISE, BYPASS, TUNE),
        "gives": GIVES,
        "of_weights": ("weighed",),
        "users": {"few": 12},
    }
    return FakeRun(**{**given, **more})


def cells(board, table, method) -> dict:
    """Head -> cell of a method's row."""
    made = standings(board, rankings(board)[table], table)
    (row,) = [row for row in made.rows if row.method.label == method]
    return dict(zip([c.head for c in made.columns], row.cells, strict=True))


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    return mixed().board(tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    index = build_page(mixed(seeds=(0, 1, 2)).write(folder / "run"), folder / "page")
    return {path.name: path.read_text() for path in index.parent.rglob("*.*") if path.is_file()}


def test_every_method_stands_where_it_may_be_compared(board):
    ranked = rankings(board)
    assert {table: set(scores) for table, scores in ranked.items()} == {
        BY_ATTRIBUTION: {"alpha", "keyed", "few"},
        BY_DETECTION: {"alpha", "keyed", "few", "present"},
        OF_WEIGHTS: {"weighed"},
    }
    assert list(ranked[OF_WEIGHTS]["weighed"].tiers) == ["copy", "training"]
    assert ranked[BY_DETECTION]["present"].placed
    assert ranked[OF_WEIGHTS]["weighed"].placed


@pytest.mark.parametrize(
    ("methods", "tables"),
    [
        (("alpha", "keyed"), (BY_ATTRIBUTION,)),
        (("alpha", "present"), (BY_ATTRIBUTION, BY_DETECTION)),
        (("alpha", "weighed"), (BY_ATTRIBUTION, OF_WEIGHTS)),
    ],
)
def test_a_table_is_shown_for_whom_no_other_has_a_place(tmp_path, methods, tables):
    assert tables_of(mixed(methods=methods).board(tmp_path)) == tables


def test_scores_of_other_users_than_the_suites_have_no_place(board):
    ranked = rankings(board)
    few = ranked[BY_ATTRIBUTION]["few"]
    assert few.value is not None
    assert not few.placed
    assert few.reason == "its scores tell 12 registered users apart, and the suite asks for 30"
    assert ranked[BY_ATTRIBUTION]["keyed"].placed
    assert ranked[BY_DETECTION]["few"].placed  # anybody's image is one question for all


@pytest.mark.parametrize(
    ("method", "table", "words"),
    [
        ("alpha", BY_ATTRIBUTION, "clean bit accuracy 0.600 is below its gate 0.9"),
        ("keyed", BY_ATTRIBUTION, "clean closed-set accuracy 0.600 is below its gate 0.9"),
        ("present", BY_DETECTION, "clean AUROC 0.600 is below its gate 0.9"),
    ],
)
def test_each_kind_has_a_gate_of_its_own(tmp_path, method, table, words):
    found = rankings(mixed(accuracy={method: 0.6}).board(tmp_path))[table]
    assert words in found[method].reason
    assert [m for m, score in found.items() if "converge" in score.reason] == [method]


def test_detection_is_ranked_by_detection(tmp_path):
    def right(method, seed, point, copy):
        return (0.4 if method == "present" else 0.9) + 0.01 * ((copy + seed) % 3)

    found = rankings(mixed(right=right, seeds=(0, 1, 2)).board(tmp_path))[BY_DETECTION]
    assert found["alpha"].rank == 1
    assert found["present"].rank == 4
    assert found["present"].price.value < 0.5


def test_a_missing_detection_leaves_the_detector_without_a_place_and_nobody_else(tmp_path):
    run = mixed(outcomes={("present", "jpeg 50"): ("failed", "the codec broke")})
    ranked = rankings(run.board(tmp_path))
    assert "jpeg 50 failed: the codec broke" in ranked[BY_DETECTION]["present"].reason
    assert ranked[BY_DETECTION]["alpha"].placed
    assert ranked[BY_ATTRIBUTION]["alpha"].placed


def test_what_has_no_meaning_is_refused_with_the_reason_and_never_missing(board):
    shown = cells(board, BY_ATTRIBUTION, "keyed")
    for head in ("Bit accuracy", "Largest N"):
        assert shown[head].outcome == "refused"
        assert shown[head].reason == "the method gives scores, no bits"
    assert shown["Attribution"].text != "–"
    assert cells(board, OF_WEIGHTS, "weighed")["Bit accuracy"].text == "0.990"
    assert board.number("present", "jpeg 90", "verification", "fpr=0.01").outcome == "refused"
    assert board.number("alpha", "none", "no-such-metric").outcome == "missing"


def test_shares_detected_stand_by_source(board):
    assert sources(board) == ["real", "host", "another host"]
    shown = cells(board, BY_DETECTION, "present")
    assert shown["AUROC"].sub == "gate 0.9"
    assert shown["On real"].text == "0.01"
    assert "need not be silent" in shown["On another host"].sub
    assert "silent" not in cells(board, BY_DETECTION, "alpha")["On another host"].sub
    # Of bits, what real images are detected of is an accusation.
    assert "of 1,000" in cells(board, BY_DETECTION, "alpha")["On real"].sub


def test_heat_maps_have_their_own_methods_and_attacks(board):
    by_table = {table: heat_map(board, table) for table in tables_of(board)}
    assert [m.label for m in by_table[BY_ATTRIBUTION].methods] == ["alpha", "keyed", "few"]
    assert [heading for heading, _ in by_table[OF_WEIGHTS].parts] == ["Attacks on the model"]
    present = [m.label for m in by_table[BY_DETECTION].methods].index("present")
    jpeg = by_table[BY_DETECTION].parts[0][1][1]
    assert jpeg.rows[0][1][present].shown.outcome == "done"


def test_sentences_name_their_table(board):
    said = verdict(board, rankings(board))
    assert any(s.startswith("Detection: By score") and "present" in s for s in said)
    assert any(s.startswith("Readers of weights: weighed") for s in said)
    assert not any("0 bits" in s or "0 and 16 bits" in s for s in said)


def test_pages_say_what_methods_give_and_nothing_of_no_bits(pages):
    index = pages["index.html"]
    assert "in-model, scores" in index
    assert "in-model, 16 bits, read from weights" in index
    assert not any(re.search(r"\b0 bits", text) for text in pages.values())
    assert '<bdi>present</bdi> (in-model, presence; in <a href="#detection">' in index
    for metric in ("bit-accuracy", "attribution", "verification", "false-accusation", "detection"):
        assert f"{metric} is not measured here" not in pages["present.html"]
    assert "bit-accuracy is not measured here" not in pages["keyed.html"]
    assert ">Wrong <" not in pages["present.html"]
    assert ">Wrong <" in pages["keyed.html"]
    assert ">Bit accuracy <" not in pages["keyed.html"]
    assert "Not measured: the method gives presence, no bits." in pages["present.html"]
    assert "Share of images called marked or generated, by source" in pages["present.html"]
    assert pages["alpha.html"].count("mean of these tiers") == 2  # of two tables
    assert "no attack on images reaches it" in pages["weighed.html"]


def test_every_table_has_its_files(pages, tmp_path):
    for name, method, column in (
        ("leaderboard", "keyed", "attribution_right"),
        ("detection", "present", "auroc"),
        ("weights", "weighed", "bit_accuracy"),
    ):
        (tmp_path / f"{name}.csv").write_text(pages[f"{name}.csv"])
        table = pd.read_csv(tmp_path / f"{name}.csv").set_index("method")
        assert table.loc[method, column] > 0.9
        assert method in pages[f"{name}.tex"]
    leaderboard = pd.read_csv(tmp_path / "leaderboard.csv").set_index("method")
    assert list(leaderboard.index) == ["alpha", "keyed", "few"]
    assert leaderboard["bits"].isna().to_list() == [False, True, True]
    assert leaderboard.loc["keyed", "bit_accuracy_outcome"] == "refused"


@pytest.mark.parametrize("method", ["present", "weighed"])
def test_a_board_of_one_kind_alone_is_a_page(tmp_path, method):
    text = build_page(
        mixed(methods=(method,)).write(tmp_path / "run"), tmp_path / "page"
    ).read_text()
    assert "Not in this table" in text
    assert "No method has a score" not in text


def test_rules_of_what_is_unasked_spare_bits():
    for metric in ("bit-accuracy", "attribution", "capacity", "deepfake", "detection"):
        assert unasked("bits", "samples", metric, "") == ""
    assert unasked("presence", "samples", "detection", "auroc") == ""
    assert "real images have none" in unasked("bits", "weights", "false-accusation", "real")


@pytest.mark.parametrize(
    ("a", "b", "metric", "score"),
    [
        ("alpha", "keyed", "attribution", ""),
        ("alpha", "present", "detection", ""),
        ("alpha", "present", "attribution", "the table of attribution and the table of detection"),
        ("alpha", "weighed", "attribution", "no table by attribution holds both"),
        ("alpha", "few", "attribution", "its scores tell 12 registered users apart"),
        ("alpha", "keyed", "bit-accuracy", None),
    ],
)
def test_scores_are_compared_within_a_table(tmp_path, a, b, metric, score):
    folder = mixed().write(tmp_path)
    found = compare_sides(read_side(folder, a), read_side(folder, b), metric)
    assert found.lines
    if score is None:
        assert found.score is None
        assert all(
            line.reason == "B refused: the method gives scores, no bits" for line in found.lines
        )
    elif score:
        assert score in found.score.reason
        assert found.score.result is None
    else:
        assert found.score.result is not None


def test_rates_among_other_numbers_of_users_are_not_compared(tmp_path):
    folder = mixed().write(tmp_path)
    found = compare_sides(read_side(folder, "keyed"), read_side(folder, "few"))
    assert {line.reason for line in found.lines} == {
        "asked among 30 users for A and among 12 for B"
    }
