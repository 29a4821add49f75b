"""How long a wide board takes to draw, and how much memory. Run with --benchmark-only -s."""

import json
import subprocess
import sys
import time

import pytest
from wide_run import write_wide_run

MIB = 1024
CHILD = """
import json, resource, sys, time
from pathlib import Path
from fpbench.report.build import build_page
started = time.perf_counter()
build_page(Path(sys.argv[1]), Path(sys.argv[2]))
seconds = time.perf_counter() - started
# A wide board packs its records in a second process: both count.
who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
whole = [resource.getrusage(each).ru_maxrss for each in who]
peak = sum(whole) / 1024
print(json.dumps({"seconds": seconds, "mib": peak}))
"""


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide") / "run"
    return folder, write_wide_run(folder, methods=30, attacks=40, strengths=3)


@pytest.mark.timeout(300)
def test_a_board_of_a_hundred_thousand_records(benchmark, wide, tmp_path):
    folder, records = wide
    found = []

    def draw():
        # A process of its own, so that its peak is its own; its start counts too.
        out = tmp_path / str(time.monotonic_ns())
        command = [sys.executable, "-c", CHILD, str(folder), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout))

    benchmark.pedantic(draw, rounds=2)
    benchmark.extra_info["records"] = records
    benchmark.extra_info["seconds_without_start"] = min(each["seconds"] for each in found)
    benchmark.extra_info["peak_mib"] = max(each["mib"] for each in found)
    assert records > 95_000
    assert max(each["mib"] for each in found) < MIB
