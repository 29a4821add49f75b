"""What measuring costs over a large population: seconds of a cell, memory, files of a copy.

    python tests/simulation/many_copies.py --copies 300 1000 3000 10000

A fake is issued to so many users, read under two image attacks and measured; each step in a process
of its own. Evidence and numbers of a cell should grow as the population does: the first cell of a
training loads all readings, the others find them at hand. Every reading is compared with every
code, so that this part alone grows with the square; it is a count of bits in machine words.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import click

from fpbench.cli.progress import Lines
from fpbench.execute.request import Request
from fpbench.execute.run import Run, Settings
from fpbench.stages.measuring import Measurer
from fpbench.store import Store

IMAGES = 2
SUITE = """
[suite]
name = "many-copies"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
bits = 32
[[attacks]]
use = "jpeg"
quality = [50, 70]
[population]
copies = {copies}
images = {images}
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 4
[score]
registered = 100000
false_rate = 0.01
"""


def main() -> None:
    """Run and measure each population."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--copies", type=int, nargs="+", default=[300, 1000])
    for copies in parser.parse_args().copies:
        with tempfile.TemporaryDirectory(prefix="fpbench-many-") as name:
            for step in (issue_and_read, measure, publish):
                process = get_context("spawn").Process(target=step, args=(Path(name), copies))
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(f"{step.__name__} ended with {process.exitcode}")


def issue_and_read(folder: Path, copies: int) -> None:
    """Fill the store."""
    request = _request(folder, copies)
    plan, catalogue = request.plan()
    started = time.monotonic()
    Run(plan, request, folder / "run", catalogue, Lines(quiet=True), Settings(here=True)).execute()
    _say(f"{copies:,} copies: run in {time.monotonic() - started:.0f} s")
    kinds = Counter[str]()
    for path in (folder / "store" / "objects").rglob("*"):
        kinds["files" if path.is_file() else "folders"] += 1
        kinds["bytes"] += path.stat().st_size if path.is_file() else 0
    click.echo("  of a copy: " + ", ".join(f"{n / copies:,.1f} {k}" for k, n in kinds.items()))


def measure(folder: Path, copies: int) -> None:
    """Compute the numbers of every cell again."""
    plan, _ = _request(folder, copies).plan()
    measurer = Measurer(plan, Store(folder / "store"))
    for cell in plan.cells:
        started = time.monotonic()
        evidence = measurer.evidence(cell)
        seen = time.monotonic()
        slow = {}
        for metric in plan.metrics:
            before = time.monotonic()
            metric.measure(evidence)
            slow[metric.name] = time.monotonic() - before
        done = time.monotonic()
        most = ", ".join(f"{k} {v:.2f}" for k, v in Counter(slow).most_common(3))
        _say(
            f"  {cell.point.label}: evidence {seen - started:.2f} s, numbers {done - seen:.2f} s "
            f"({most})"
        )


def publish(folder: Path, copies: int) -> None:
    """Export the run, and verify it, which makes every number again from the readings."""
    del copies
    group = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes"]
    bundle = str(folder / "run.zip")
    for command in (["export", str(folder / "run"), "-o", bundle], ["verify", bundle]):
        started = time.monotonic()
        subprocess.run([*group, *command], check=True, stdout=subprocess.DEVNULL)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        seconds = time.monotonic() - started
        click.echo(f"  {command[0]}: {seconds:.1f} s, at most {peak:.0f} MiB")


def _request(folder: Path, copies: int) -> Request:
    suite = folder / "suite.toml"
    suite.write_text(SUITE.format(copies=copies, images=IMAGES))
    return Request(
        str(suite),
        plugins=("fpbench.testing.fakes",),
        store=str(folder / "store"),
        device="cpu",
        threads=1,
    )


def _say(text: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"{text}, at most {peak:.0f} MiB")


if __name__ == "__main__":
    main()
