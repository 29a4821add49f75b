import json
from datetime import UTC, datetime, timedelta

import pytest

from fpbench.api import StoreError
from fpbench.execute.records import record_id
from fpbench.publish.checks import MOST_PROBLEMS, incomplete, read_records
from fpbench.publish.lock import locked

SUITE = {
    "methods": [{"label": "a"}],
    "training": {"seeds": [0]},
    "attacks": [{"label": "jpeg", "strengths": []}],
}


def row(label="none", cell="1", **more):
    record = {
        "schema_version": 1,
        "suite": {"name": "s", "version": 1, "seed": 0},
        "cell": cell,
        "level": "image",
        "method": {"label": "a"},
        "training_seed": 0,
        "point": {"label": label},
        "metric": "m",
        "variant": "",
        "value": 1.0,
        "low": None,
        "high": None,
        "rule": "",
        "n": 0,
        "clusters": 0,
        "by_copy": [],
        "outcome": "done",
        "reason": "",
        "detail": {},
        **more,
    }
    return {**record, "record_id": record_id(record)}


def away(**more):
    own = {
        "level": "",
        "metric": "",
        "value": None,
        "outcome": "unavailable",
        "reason": "no plugin",
    }
    return row("", "", **{**own, "method": {"label": "b"}, **more})


WHOLE = [row(), row("jpeg", "2")]


def test_cells_and_what_was_unavailable_are_complete():
    attack = away(method={}, point={"label": "x"})
    assert incomplete([*WHOLE, away(), attack], SUITE) == []


@pytest.mark.parametrize(
    "more",
    [
        {"metric": "m"},
        {"variant": "v"},
        {"outcome": "done"},
        {"training_seed": 1},
        {"value": 1.0},
        {"by_copy": [1.0]},
        {"detail": {"x": 1}},
        {"level": "image"},
        {"method": {}},
        {"method": {"label": "b", "bits": 3}},
        {"point": {"label": "none"}},
        {"point": {"label": "", "model": {}}},
    ],
)
def test_records_of_no_cell_say_no_more_than_that_something_is_unavailable(more):
    (problem,) = incomplete([*WHOLE, away(**more)], SUITE)
    assert "unavailable and no more, got an empty key" in problem


def test_what_trains_nothing_is_asked_for_once():
    twice = {**SUITE, "training": {"seeds": [0, 1]}}
    missing = incomplete([*WHOLE, away()], twice)
    assert [text.partition(":")[0] for text in missing] == [
        "a (training seed 1) under none",
        "a (training seed 1) under jpeg",
    ]
    once = [{**method, "trains": False} for method in SUITE["methods"]]
    assert incomplete([*WHOLE, away()], {**twice, "methods": once}) == []


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([*WHOLE, row(cell="3", metric="other")], "a under none: expected one key as cell, got 2"),
        (
            [row(), row("jpeg")],
            "a under jpeg: expected its own key as cell, got that of a under no",
        ),
    ],
)
def test_a_cell_has_one_key_of_its_own(records, message):
    (problem,) = incomplete(records, SUITE)
    assert message in problem


def written(folder, *records):
    (folder / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return read_records(folder / "records.jsonl")


@pytest.mark.parametrize("said", ["zzzz", "2026-01-31", "2026-02-31T00:00:00+00:00", "9999-12-31"])
def test_dates_that_no_run_writes_are_named(tmp_path, said):
    (problem,) = written(tmp_path, row(created_utc=said)).problems
    assert "expected a date like 2026-01-31T12:00:00+00:00 as created_utc" in problem


def test_dates_to_come_are_named(tmp_path):
    now = datetime.now(UTC)
    dates = [(now + timedelta(hours=h)).isoformat(timespec="seconds") for h in (0, 23, 25)]
    found = written(tmp_path, *(row(created_utc=d, metric=d) for d in dates))
    assert len(found.records) == 2
    (problem,) = found.problems
    assert f"expected a created_utc that is over, got {dates[2]}" in problem


def test_no_more_than_some_problems_are_looked_for(tmp_path):
    (tmp_path / "records.jsonl").write_text("x\n" * 1000)
    found = read_records(tmp_path / "records.jsonl")
    assert len(found.problems) == MOST_PROBLEMS
    assert found.problems[0].endswith("Export the run again")


def test_one_process_at_a_time_holds_a_board(tmp_path):
    board = tmp_path / "boards" / "s"
    with locked(board):
        with pytest.raises(StoreError, match="if it was killed, delete that file"), locked(board):
            pass
        assert [p.name for p in board.parent.iterdir()] == [".s.lock"]
    with locked(board):
        pass
    assert list(board.parent.iterdir()) == []
