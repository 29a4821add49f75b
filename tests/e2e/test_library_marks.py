"""A library in an environment of its own, through a whole suite; see `tiny_libraries`."""

import pytest
from rows import value
from tiny_libraries import make

from fpbench.api import Outcome
from fpbench.stages.context import _MADE


@pytest.mark.timeout(120)
def test_a_library_is_unavailable_until_it_is_prepared(
    run_suite, suite_file, tmp_path, monkeypatch
):
    monkeypatch.setenv("FPBENCH_ENVIRONMENTS", str(tmp_path / "environments"))
    suite = suite_file(('use = "blind"', 'use = "blind-watermark"\nbits = 8'))

    def outcomes(records):
        mine = [r for r in records.values() if r["method"].get("label") == "blind-watermark"]
        return {(r["outcome"], r["reason"]) for r in mine if not r["metric"]}

    _, records, _ = run_suite(suite)
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 1
    missing = [reason for outcome, reason in outcomes(records) if outcome == Outcome.UNAVAILABLE]
    assert missing
    assert all("run `fpbench prepare SUITE`" in reason for reason in missing)
    make("blind-watermark", tmp_path)
    summary, records, _ = run_suite(suite)
    for name in [name for name in _MADE if name.startswith("blind-watermark ")]:
        _MADE.pop(name).close()
    assert summary.cells == {Outcome.DONE: 12, Outcome.REFUSED: 4}
    assert value(records, "blind-watermark", "none", "bit-accuracy")["value"] == 1
    refused = [reason for outcome, reason in outcomes(records) if outcome == Outcome.REFUSED]
    assert refused
    assert all("the marking step is opaque" in reason for reason in refused)
