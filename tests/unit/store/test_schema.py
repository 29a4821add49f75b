import json
import time
from pathlib import Path

import pytest

from fpbench.api import StoreError, canonical_json
from fpbench.store import RecordLog
from fpbench.store.schema import KNOWN, MIGRATIONS, SCHEMA_VERSION, checked, parsed, unknown_fields

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = range(1, SCHEMA_VERSION + 1)


def golden(version=SCHEMA_VERSION):
    lines = (GOLDEN / f"schema-{version}.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if not record.get("withdrawn")]


@pytest.fixture
def record():
    return next(r for r in golden() if r["metric"] == "bit-accuracy")


@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_every_version_are_read_as_today(version):
    read = RecordLog(GOLDEN / f"schema-{version}.jsonl").read().values()
    expected = (GOLDEN / f"schema-{version}.read.jsonl").read_text()
    assert "".join(canonical_json(r) + "\n" for r in read) == expected
    assert {r["schema_version"] for r in read} == {SCHEMA_VERSION}


def attacked(kind, access):
    return {"kind": kind, "access": access}


@pytest.mark.parametrize(
    ("model", "image", "tier"),
    [
        (None, None, ""),
        (None, attacked("image", ["images"]), "samples"),
        (attacked("model", ["copy"]), None, "copy"),
        (attacked("model", ["clean-images", "copy"]), None, "training"),
        (attacked("model", ["copy", "trainer"]), None, "training"),
        (attacked("model", ["copy"]), attacked("image", ["images"]), ""),
        (attacked("coalition", ["copies"]), None, ""),
        (attacked("forgery", ["target"]), None, ""),
    ],
)
def test_records_before_tiers_get_the_tier_that_their_access_tells(model, image, tier):
    old = next(r for r in golden(1) if r["metric"] == "bit-accuracy")
    found = checked({**old, "point": {"label": "x", "model": model, "image": image}})
    assert found["tier"] == tier
    assert found["budget"] is found["damage"] is None
    assert (found["method"]["reads"], found["method"]["gives"]) == ("samples", "bits")
    assert "reads" not in old["method"]


def test_golden_records_are_of_every_kind_and_version():
    assert {p.name for p in GOLDEN.iterdir()} == {
        f"schema-{v}{end}" for v in VERSIONS for end in (".jsonl", ".read.jsonl")
    }
    outcomes = {r["outcome"] for r in golden()}
    assert outcomes >= {"done", "refused", "not-supported", "unavailable"}
    assert set(MIGRATIONS) == set(VERSIONS) - {SCHEMA_VERSION}


REQUIRED = [
    *("record_id", "schema_version", "suite", "cell", "method", "training_seed", "point"),
    *("metric", "variant", "value", "low", "high", "rule", "n", "clusters", "by_copy"),
    *("outcome", "reason", "detail"),
]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_field_that_pages_need_must_be_there(record, name):
    del record[name]
    with pytest.raises(StoreError, match=name):
        checked(record)


def test_other_fields_may_be_absent_and_new_ones_are_kept(record):
    for name in KNOWN - set(REQUIRED):
        record.pop(name, None)
    record["mood"] = "fine"
    assert checked(record) is record
    assert unknown_fields(record) == {"mood"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("value", "0.5", "a number or null"),
        ("value", float("nan"), "finite"),
        ("low", float("-inf"), "finite"),
        ("high", True, "a number or null"),
        ("n", 1.5, "a number"),
        ("by_copy", [0.5, "x"], "numbers or null"),
        ("by_copy", [0.5, float("inf")], "finite"),
        ("by_copy", [10**400], "finite"),
        ("outcome", "splendid", "one of blocked, done"),
        ("detail", [], "an object"),
        ("method", {"label": 3}, "method.label"),
        ("point", {}, "point.label"),
        ("record_id", "a" * 63, "64 hexadecimal digits"),
        ("record_id", "A" * 64, "64 hexadecimal digits"),
        ("record_id", "a" * 64 + "\n", "64 hexadecimal digits"),
        ("schema_version", "1", "schema_version"),
        ("schema_version", True, "schema_version"),
        ("unit", 3, "a text as 'unit'"),
        ("tier", None, "a text as 'tier'"),
        ("damage", float("inf"), "finite"),
        ("budget", "0.5", "a number or null"),
    ],
)
def test_wrong_values_are_named(record, name, value, expected):
    with pytest.raises(StoreError, match=expected):
        checked({**record, name: value})


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1.5E+400", "9" * 400 + ".0"]
)
def test_numbers_that_json_does_not_have_are_refused_at_any_depth(record, number):
    line = canonical_json({**record, "detail": {"deep": [{"curve": "here"}]}})
    with pytest.raises(StoreError, match=r"line 3: expected|line 3\): expected"):
        parsed(line.replace('"here"', number), "line 3")


def test_hexadecimal_digits_that_look_like_numbers_are_fine(record):
    record["inputs"] = {"fit": "5e999" + "0" * 59}
    assert parsed(canonical_json(record)) == record


def test_older_records_go_through_every_step(record):
    steps = {
        0: lambda r: {**r, "value": r["value"] * 10},
        1: lambda r: {**r, "unit": "share"},
    }
    old = {**record, "schema_version": 0, "value": 0.05}
    new = checked(old, version=2, migrations=steps)
    assert (new["schema_version"], new["value"], new["unit"]) == (2, 0.5, "share")
    assert old["schema_version"] == 0


def test_what_a_step_makes_is_checked_too(record):
    with pytest.raises(StoreError, match="finite"):
        checked(
            {**record, "schema_version": SCHEMA_VERSION - 1},
            migrations={SCHEMA_VERSION - 1: lambda r: {**r, "value": float("nan")}},
        )


def test_newer_and_unreadable_versions_say_what_to_do(record):
    with pytest.raises(StoreError) as newer:
        checked({**record, "schema_version": SCHEMA_VERSION + 1}, "line 7 of a.jsonl")
    for part in (
        record["record_id"][:16],
        "line 7 of a.jsonl",
        "expected schema",
        "Update fpbench",
    ):
        assert part in str(newer.value)
    with pytest.raises(StoreError, match="cannot be read any more"):
        checked({**record, "schema_version": 0})


def test_a_withdrawal_needs_no_more_than_its_name():
    line = canonical_json({"record_id": "a" * 64, "withdrawn": True, "supersedes": "b" * 64})
    assert parsed(line)["withdrawn"]
    with pytest.raises(StoreError, match="record_id"):
        parsed('{"record_id": "a", "withdrawn": true}')


@pytest.mark.timeout(60)
def test_many_records_are_checked_in_a_moment(record):
    record["by_copy"] = [0.5] * 30
    least = float("inf")
    for _ in range(3):  # the machine may be busy
        started = time.process_time()
        for _ in range(10_000):
            checked(record)
        least = min(least, time.process_time() - started)
    assert least < 0.2
