"""Whatever a plugin does to its process, its own cells fail and all others are done."""

import os
import subprocess
import sys

import pytest

from fpbench.store import RecordLog

HARMLESS = ("print", "read", "chdir", "thread")
DEEDS = ("exit", "exit-code", "interrupt", "base", "crash", "kill", "unprintable", "long", "raises")
SUITE = """
[suite]
name = "deadly"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[attacks]]
use = "jpeg"
quality = [50]
[population]
copies = 2
images = 2
shared = 2
[negatives]
real = 4
host = 4
attacked_host = 4
[score]
registered = 30
false_rate = 0.01
"""


@pytest.fixture
def outcomes(tmp_path):
    """Runs a suite as a user would; (exit code, what was said, cell -> (outcome, reason))."""

    def run(text, *more):
        suite = tmp_path / "suite.toml"
        suite.write_text(SUITE + text)
        plugins = ("-p", "fpbench.testing.fakes", "-p", "deadly")
        place = {"PYTHONPATH": os.fspath(__file__).rpartition(os.sep)[0], "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "fpbench", *plugins, "run", suite),
                *("--device", "cpu", "--threads", "1", *more),
            ],
            cwd=tmp_path,
            env={**os.environ, **place},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        log = RecordLog(tmp_path / "runs" / "deadly" / "records.jsonl").read()
        found = {
            (r["method"].get("label"), r["point"]["label"]): (r["outcome"], r["reason"])
            for r in log.values()
            if r["metric"] in ("", "bit-accuracy")
        }
        return done.returncode, done.stdout + done.stderr, found

    return run


def attack(kind, how):
    return f'\n[[attacks]]\nuse = "deadly-{kind}"\nlabel = "{kind} {how}"\nhow = "{how}"\n'


@pytest.mark.timeout(300)
def test_attacks_end_nothing_but_their_cells(outcomes, tmp_path):
    deeds = [(kind, how) for kind in ("image", "model") for how in (*DEEDS, *HARMLESS)]
    code, said, found = outcomes("".join(attack(*deed) for deed in deeds))
    assert code == 4, said
    for point in ("none", "jpeg 50"):
        assert found["perfect", point][0] == "done", said
    for kind, how in deeds:
        outcome, reason = found["perfect", f"{kind} {how}{' 1' * (kind == 'model')}"]
        assert (outcome == "done") == (how in HARMLESS), (kind, how, reason)
        assert len(reason) < 3000
    assert "SIGSEGV" in found["perfect", "image crash"][1]
    assert "SIGKILL" in found["perfect", "model kill 1"][1]
    assert "SystemExit" in found["perfect", "image exit"][1]
    assert "from a program" not in said
    page = tmp_path / "runs" / "deadly" / "page" / "index.html"
    assert page.stat().st_size < 2**21
    assert list((tmp_path / "runs" / "store" / "leases").iterdir()) == []


@pytest.mark.timeout(300)
def test_methods_end_nothing_but_their_cells(outcomes):
    deeds = [
        *(("fit", how) for how in ("exit", "crash")),
        *(("issue", how) for how in ("interrupt", "kill")),
        *(("extract", how) for how in ("base", "crash")),
        *(("refuse", how) for how in ("exit", "raises")),
    ]
    text = "".join(
        f'\n[[methods]]\nuse = "deadly-method"\nlabel = "{where} {how}"\n'
        f'where = "{where}"\nhow = "{how}"\n'
        for where, how in deeds
    )
    draws = [("codes", how) for how in ("exit", "unprintable")]
    text += "".join(
        f'\n[[methods]]\nuse = "perfect"\nlabel = "codes {how}"\n'
        f'codes = {{ use = "deadly-code", how = "{how}" }}\n'
        for _, how in draws
    )
    deeds += draws
    code, said, found = outcomes(text)
    assert code == 4, said
    for point in ("none", "jpeg 50"):
        assert found["perfect", point][0] == "done", said
        for where, how in deeds:
            outcome, reason = found[f"{where} {how}", point]
            assert outcome in ("failed", "blocked"), (where, how, reason)


@pytest.mark.timeout(120)
def test_a_stage_that_takes_too_long_is_ended(outcomes):
    slow = ("--set", "host.steps=4000", "--set", "host.step_s=0.05", "--stage-hours", "0.002")
    code, said, found = outcomes("", *slow)
    assert code == 5, said
    assert {outcome for outcome, _ in found.values()} == {"timed-out"}
    assert "0.002 hours" in found["perfect", "none"][1]
