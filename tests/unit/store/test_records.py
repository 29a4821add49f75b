import pytest

from fpbench.api import StoreError
from fpbench.store import RecordLog


@pytest.fixture
def log(tmp_path):
    return RecordLog(tmp_path / "records.jsonl")


def test_equal_records_are_not_written_twice(log):
    assert log.update([{"record_id": "a", "value": 1.0, "created_utc": "monday"}]) == 1
    assert log.update([{"record_id": "a", "value": 1.0, "created_utc": "tuesday"}]) == 0


def test_new_values_supersede_and_old_lines_stay(log, tmp_path):
    log.update([{"record_id": "a", "value": 1.0}])
    log.update([{"record_id": "a", "value": 2.0}])
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert len(lines) == 2
    latest = log.read()["a"]
    assert latest["value"] == 2.0
    assert latest["supersedes"] is not None


def test_records_no_longer_given_are_withdrawn_and_can_come_back(log, tmp_path):
    log.update([{"record_id": "a", "value": 1.0}, {"record_id": "b", "value": 2.0}])
    log.update([{"record_id": "a", "value": 1.0}])
    assert list(log.read()) == ["a"]
    assert log.update([{"record_id": "a", "value": 1.0}]) == 0
    log.update([{"record_id": "a", "value": 1.0}, {"record_id": "b", "value": 2.0}])
    assert log.read()["b"]["value"] == 2.0
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4


def test_line_torn_by_a_kill_is_passed_over_and_overwritten(log, tmp_path):
    log.update([{"record_id": "a", "value": 1.0}])
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write('{"record_id": "b", "va')
    assert list(log.read()) == ["a"]
    log.update([{"record_id": "a", "value": 1.0}, {"record_id": "c", "value": 3.0}])
    assert list(log.read()) == ["a", "c"]


def test_edited_lines_are_reported_by_number(log, tmp_path):
    (tmp_path / "records.jsonl").write_text('{"record_id": "a"}\nnot json\n')
    with pytest.raises(StoreError, match="line 2"):
        log.read()
