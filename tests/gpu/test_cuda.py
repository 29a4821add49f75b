import pytest

from fpbench.api import Outcome


@pytest.mark.gpu
def test_the_pipeline_runs_on_a_gpu_and_reads_what_it_wrote(suite_file, tmp_path):
    from fpbench.execute.request import Request
    from fpbench.execute.run import Run, Settings
    from fpbench.store import RecordLog

    class Silent:
        def started(self, label): ...
        def progress(self, label, done, total, text): ...
        def finished(self, label, outcome, seconds, note): ...

    request = Request(
        suite=str(suite_file()),
        plugins=("fpbench.testing.fakes",),
        store=str(tmp_path / "store"),
        device="cuda",
    )
    plan, catalogue = request.plan()
    run = Run(plan, request, tmp_path / "run", catalogue, Silent(), Settings())
    assert run.execute().cells == {Outcome.DONE: 16}
    records = RecordLog(tmp_path / "run" / "records.jsonl").read().values()
    accuracy = [
        r for r in records if (r["metric"], r["point"]["label"]) == ("bit-accuracy", "none")
    ]
    assert {r["value"] for r in accuracy if r["method"]["label"] == "perfect"} <= {1.0}
    assert accuracy[0]["environment"]["device"].startswith("cuda")
