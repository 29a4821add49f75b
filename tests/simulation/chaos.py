"""Kills runs at random moments until they are through: `python tests/simulation/chaos.py`.

A suite of 200 small cells is run once in peace. Then it is run again and again into another store,
and each time SIGKILL hits a worker, the parent or all of them at a random moment. In the end the
records must be those of the peaceful run, every artefact intact, no stage done twice and no process
left. With `--together N`, N runs at once share the store instead, and none is killed.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from fpbench.store import RecordLog, Store
from fpbench.store.records import content

SUITE = f"""
[suite]
name = "chaos"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
steps = 60
step_s = 0.02
checkpoint_steps = 5
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
[[attacks]]
use = "jpeg"
quality = {list(range(10, 97))}
[[attacks]]
use = "weight-noise"
sigma = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
[[attacks]]
use = "fine-tune"
steps = [1, 2, 3]
images = 4
clean_images = 8
[[attacks]]
use = "bypass"
[population]
copies = 6
images = 4
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 10
[score]
registered = 30
false_rate = 0.01
"""
MARK = "FPBENCH_CHAOS"


def start(suite: Path, runs: Path, mark: str) -> subprocess.Popen[bytes]:
    """A run of the suite, in a process group of its own."""
    command = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes", "run", str(suite)]
    command += ["--device", "cpu", "--threads", "1", "-j", "2", "--no-page", "--runs", str(runs)]
    environment = {**os.environ, MARK: mark, "OMP_NUM_THREADS": "1"}
    with (runs.parent / f"{runs.name}.txt").open("ab") as said:
        return subprocess.Popen(
            command, env=environment, stdout=said, stderr=said, start_new_session=True
        )


def processes(mark: str) -> list[int]:
    """Numbers of all processes that bear a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def strike(rng: random.Random, parent: int, mark: str) -> str:
    """Kill the parent, one of its workers, or everything."""
    everyone = processes(mark)
    whom = rng.choice(["parent", "worker", "all"])
    workers = [pid for pid in everyone if pid != parent]
    if whom == "worker" and workers:
        targets = [rng.choice(workers)]
    elif whom == "all":
        targets = everyone
    else:
        targets = [parent]
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return whom


def contents(runs: Path) -> dict[str, object]:
    """The records of a run without what may differ."""
    log = RecordLog(runs / "chaos" / "records.jsonl")
    return {identity: content(record) for identity, record in log.read().items()}


def twice(runs: Path) -> list[str]:
    """Labels of stages that were done more than once."""
    lines = (runs / "chaos" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines if line.endswith("}")]
    done = collections.Counter(e["label"] for e in events if e["outcome"] == "done")
    # What has failed cells is done again for them, and measuring looks at all of them.
    return [
        label
        for label, count in done.items()
        if count > 1 and not label.startswith(("read", "measure"))
    ]


@click.command()
@click.option("--kills", default=50, show_default=True, help="Kills before it is left alone.")
@click.option("--kills-in-one", default=10, show_default=True, help="Kills of one store.")
@click.option("--together", default=0, help="Runs at once on one store, instead of kills.")
@click.option("--repeats", default=1, show_default=True, help="Of --together, in new stores.")
@click.option("--seed", default=0, show_default=True)
def main(kills: int, kills_in_one: int, together: int, repeats: int, seed: int) -> None:
    """Run in peace, run in chaos, compare."""
    rng, mark = random.Random(seed), f"{os.getpid()}"  # noqa: S311 - moments, no secrets
    with tempfile.TemporaryDirectory() as place:
        suite = Path(place) / "suite.toml"
        suite.write_text(SUITE, encoding="utf-8")
        began = time.monotonic()
        peace = Path(place) / "peace"
        assert start(suite, peace, mark).wait() == 0
        whole_s = time.monotonic() - began
        expected = contents(peace)
        click.echo(f"in peace: {len(expected)} records in {whole_s:.1f} s")
        if together:
            for number in range(repeats):
                runs = Path(place) / f"together-{number}"
                running = [start(suite, runs, mark) for _ in range(together)]
                codes = [process.wait() for process in running]
                check(runs, expected, mark)
                click.echo(f"{together} at once, {number + 1} of {repeats}: exit codes {codes}")
                assert set(codes) == {0}
            return
        hits, round_ = collections.Counter[str](), 0
        while hits.total() < kills:
            runs, round_ = Path(place) / f"chaos-{round_}", round_ + 1
            rounds = 0
            while rounds < kills_in_one and hits.total() < kills:
                process = start(suite, runs, mark)
                time.sleep(rng.uniform(0.2, whole_s / 3))
                if process.poll() is not None:
                    break  # it was through
                hits[strike(rng, process.pid, mark)] += 1
                rounds += 1
                # A parent that has lost a worker goes on; else the next one finds what it left.
                if rng.random() < 0.5:
                    process.kill()
                process.wait()
                deadline = time.monotonic() + 10
                while processes(mark) and time.monotonic() < deadline:
                    time.sleep(0.05)
                assert not processes(mark), "processes are left"
            assert start(suite, runs, mark).wait() == 0
            check(runs, expected, mark)
            click.echo(f"round {round_}: as in peace; killed so far: {dict(hits)}")


def check(runs: Path, expected: dict[str, object], mark: str) -> None:
    """Compare a store and its records with those of the peaceful run."""
    found = contents(runs)
    assert found == expected, f"{len(found)} records, {len(expected)} expected, or other contents"
    assert Store(runs / "store").verify() == []
    assert twice(runs) == [], twice(runs)
    assert not processes(mark), "processes are left"
    assert [p for p in (runs / "store" / "leases").iterdir() if not p.name.startswith(".")] == []


if __name__ == "__main__":
    main()
