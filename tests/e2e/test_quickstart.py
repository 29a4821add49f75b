import json
import subprocess
import sys

import pytest
from tiny_quickstart import TINY

from fpbench.store import RecordLog


def fpbench(folder, *arguments, timeout=240):
    return subprocess.run(
        [sys.executable, "-m", "fpbench", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.timeout(300)
def test_the_real_methods_go_all_the_way_to_the_page(tmp_path):
    result = fpbench(tmp_path, "run", "quickstart", *TINY)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs" / "quickstart"
    records = RecordLog(folder / "records.jsonl").read().values()
    assert {r["outcome"] for r in records} <= {"done", "refused", "not-supported"}
    assert {r["method"]["label"] for r in records} == {
        "hidden",
        "scalable-gan",
        "weight-modulation",
    }
    refused = {(r["method"]["label"], r["metric"]) for r in records if r["outcome"] == "refused"}
    assert refused == {
        ("scalable-gan", "imperceptibility"),
        ("scalable-gan", ""),  # its copies share no layers with the host
        ("hidden", ""),  # its mark is in none of the layers it shares with the host
        ("weight-modulation", ""),  # neither of the two has an embedder
    }
    levels = {r["level"] for r in records if r["outcome"] == "done"}
    assert levels == {"none", "image", "model", "coalition", "forgery"}
    page = (folder / "page" / "index.html").read_text()
    assert "did not converge" in page
    assert "file://" in result.stdout
    again = fpbench(tmp_path, "run", "quickstart", *TINY, "--json")
    assert json.loads(again.stdout)["executed"] == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_quickstart_reaches_its_bar_on_every_seed(tmp_path, seed):
    result = fpbench(tmp_path, "run", "quickstart", "--set", f"suite.seed={seed}", timeout=3500)
    assert result.returncode == 0, result.stderr
    records = RecordLog(tmp_path / "runs" / "quickstart" / "records.jsonl").read().values()

    def value(method, metric, variant="", point="none"):
        (row,) = [
            r
            for r in records
            if (r["method"]["label"], r["metric"], r["variant"], r["point"]["label"])
            == (method, metric, variant, point)
        ]
        return row["value"]

    for method in ("scalable-gan", "weight-modulation", "hidden"):
        assert value(method, "bit-accuracy") >= 0.99
    for method in ("weight-modulation", "hidden"):
        assert value(method, "imperceptibility", "psnr") >= 30
    assert value("scalable-gan", "code-influence", "psnr") >= 30
    assert value("hidden", "bit-accuracy", point="bypass") == pytest.approx(0.5, abs=0.05)
    assert value("weight-modulation", "bit-accuracy", point="fine-tune 30") < 0.9


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.timeout(3600)
def test_the_quickstart_runs_on_real_faces(tmp_path, real_data):
    arguments = ["--set", "dataset.use=image-folder"]
    arguments += ["--set", f"dataset.path={real_data / 'utkface-64.zip'}"]
    result = fpbench(tmp_path, "run", "quickstart", *arguments, timeout=3500)
    assert result.returncode == 0, result.stderr
