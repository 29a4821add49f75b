import json

import pytest

from fpbench.api import StoreError
from fpbench.store import RecordLog
from fpbench.store.schema import SCHEMA_VERSION

A, B, C = (letter * 64 for letter in "abc")


@pytest.fixture
def log(tmp_path):
    return RecordLog(tmp_path / "records.jsonl")


def record(identity, value, **more):
    blank = dict.fromkeys(("metric", "variant", "rule", "reason", "cell"), "")
    return {
        "record_id": identity,
        "schema_version": SCHEMA_VERSION,
        "suite": {"name": "s", "version": 1, "seed": 0},
        "method": {"label": "m"},
        "point": {"label": "none"},
        "training_seed": 0,
        "value": value,
        "low": None,
        "high": None,
        "n": 1,
        "clusters": 1,
        "by_copy": [],
        "outcome": "done",
        "detail": {},
        **blank,
        **more,
    }


def test_equal_records_are_not_written_twice(log):
    assert log.update([record(A, 1.0, created_utc="monday")]) == 1
    assert log.update([record(A, 1.0, created_utc="tuesday")]) == 0


def test_new_values_supersede_and_old_lines_stay(log, tmp_path):
    log.update([record(A, 1.0)])
    log.update([record(A, 2.0)])
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert len(lines) == 2
    latest = log.read()[A]
    assert latest["value"] == 2.0
    assert latest["supersedes"] is not None


def test_records_no_longer_given_are_withdrawn_and_can_come_back(log, tmp_path):
    log.update([record(A, 1.0), record(B, 2.0)])
    log.update([record(A, 1.0)])
    assert list(log.read()) == [A]
    assert log.update([record(A, 1.0)]) == 0
    log.update([record(A, 1.0), record(B, 2.0)])
    assert log.read()[B]["value"] == 2.0
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4


def test_line_torn_by_a_kill_is_passed_over_and_overwritten(log, tmp_path):
    log.update([record(A, 1.0)])
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"record_id": "b", "va')
    assert list(log.read()) == [A]
    log.update([record(A, 1.0), record(C, 3.0)])
    assert list(log.read()) == [A, C]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"record_id": "a"}', '{"value": 1}'])
def test_edited_lines_are_reported_by_number(log, tmp_path, line):
    (tmp_path / "records.jsonl").write_text(f"{json.dumps(record(A, 1.0))}\n{line}\n")
    with pytest.raises(StoreError, match=r"line 2 of .*records\.jsonl"):
        log.read()


def test_bytes_that_are_no_text_are_reported(log, tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(StoreError, match="UTF-8"):
        log.read()
