import pytest

from fpbench.api import Outcome


@pytest.mark.gpu
def test_the_pipeline_runs_on_a_gpu_and_reads_what_it_wrote(suite_file, run_suite):
    summary, records, _ = run_suite(suite_file(), device="cuda")
    assert summary.cells == {Outcome.DONE: 16}
    accuracy = [
        r
        for r in records.values()
        if (r["metric"], r["point"]["label"]) == ("bit-accuracy", "none")
    ]
    assert {r["value"] for r in accuracy if r["method"]["label"] == "perfect"} <= {1.0}
    assert accuracy[0]["environment"]["device"].startswith("cuda")
