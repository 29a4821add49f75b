"""What a run costs that has nothing left to do, over 10,000 cells: seconds and memory.

    python tests/simulation/many_cells.py --cells 10000

One cell is measured with fakes; its numbers are put into the store under the keys of all others.
Then `fpbench run` is called twice, in a process of its own each time: the first writes records and
page, the second finds everything done. Only the second one has a bar: 10 s at 10,000 cells.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import click

from fpbench.api import digest
from fpbench.execute.request import Request
from fpbench.plan import Plan
from fpbench.store import Store

STRENGTHS = 50
SUITE = """
[suite]
name = "many-cells"
[dataset]
use = "toy-faces"
train = 16
test = 64
reference = 16
[host]
use = "tiny-host"
[population]
copies = 10
images = 2
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 4
[score]
registered = 30
false_rate = 0.01
"""


def main() -> None:
    """Build the store, run twice, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--page", action="store_true", help="Render the page too.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fpbench-many-") as name:
        folder = Path(name)
        one, many = folder / "one.toml", folder / "many.toml"
        one.write_text(SUITE + _methods(1) + _attack("jpeg", "quality", [50]))
        many.write_text(SUITE + _methods(round(asked.cells / (2 * STRENGTHS + 1))) + _attacks())
        _run(folder, one, "one", page=False)
        plan, store = _plan(folder, many), Store(folder / "store")
        _fill(plan, store, _plan(folder, one))
        click.echo(f"{len(plan.cells):,} cells")
        for text in ("writes records", "finds all done"):
            seconds, peak = _run(folder, many, "many", page=asked.page)
            click.echo(f"{text}: {seconds:.1f} s, at most {peak:.0f} MiB")


def _methods(count: int) -> str:
    return "".join(
        f'[[methods]]\nuse = "perfect"\nlabel = "m{n}"\nbits = 32\n' for n in range(count)
    )


def _attack(use: str, knob: str, strengths: list[float]) -> str:
    return f'[[attacks]]\nuse = "{use}"\n{knob} = {strengths}\n'


def _attacks() -> str:
    grid = range(1, STRENGTHS + 1)
    return _attack("jpeg", "quality", [2 * n - 1 for n in grid]) + _attack(
        "weight-noise", "sigma", [0.01 * n for n in grid]
    )


def _plan(folder: Path, suite: Path) -> Plan:
    request = Request(
        str(suite), plugins=("fpbench.testing.fakes",), store=str(folder / "store"), device="cpu"
    )
    return request.plan()[0]


def _fill(plan: Plan, store: Store, one: Plan) -> None:
    measured = next(cell for cell in one.cells if cell.point.label != "none")
    meta = store.meta(measured.key)
    for number, cell in enumerate(plan.cells):
        if cell.open:
            store.put(cell.key, {}, meta | {"inputs": digest(number)})


def _run(folder: Path, suite: Path, name: str, *, page: bool) -> tuple[float, float]:
    """Seconds and peak MiB of one command."""
    command = [sys.executable, "-m", "fpbench", "-p", "fpbench.testing.fakes", "run", str(suite)]
    command += ["--name", name, "--runs", str(folder), "--device", "cpu", "--threads", "1"]
    command += ["-q"] if page else ["-q", "--no-page"]
    started = time.monotonic()
    process = os.posix_spawn(sys.executable, command, os.environ)
    _, status, used = os.wait4(process, 0)
    assert status == 0, f"ended with status {status}"
    return time.monotonic() - started, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
