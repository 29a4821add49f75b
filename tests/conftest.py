import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytest

SUITE = """
[suite]
name = "fakes"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
[[attacks]]
use = "jpeg"
quality = [90, 50]
[[attacks]]
use = "weight-noise"
sigma = [0.1, 0.3]
[[attacks]]
use = "fine-tune"
steps = [1, 3]
copies = 3
images = 6
clean_images = 8
[[attacks]]
use = "bypass"
[population]
copies = 5
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


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """No test reads the user's home or reaches the network."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def refuse(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            raise OSError(f"tests have no network, got a connection to {address}")
        return connect(self, address)

    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def plain_suite():
    """The default text of `suite_file`."""
    return SUITE


@pytest.fixture
def suite_file(tmp_path):
    """Writes a suite: the default text with some lines exchanged."""

    def write(*replacements, text=SUITE):
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / "suite.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def run_in():
    """Runs a suite in this process below a folder; returns (summary, records by id, run folder)."""
    from fpbench.api import Outcome
    from fpbench.execute.request import Request
    from fpbench.execute.run import Run, Settings
    from fpbench.store import RecordLog

    class Silent:
        def planned(self, stages, about):
            assert stages

        def ended(self):
            pass

        def started(self, label):
            pass

        def progress(self, label, done, total, text):
            pass

        def finished(self, label, outcome, seconds, note):
            assert isinstance(outcome, Outcome)

        def waiting(self, label, whom):
            pass

    def run(
        place,
        path,
        *,
        folder="run",
        store="store",
        plugins=(),
        jobs=1,
        device="cpu",
        weights="",
        here=True,
        methods=(),
        attacks=(),
        **settings,
    ):
        request = Request(
            suite=str(path),
            plugins=("fpbench.testing.fakes", *plugins),
            store=str(place / store),
            device=device,
            threads=1,
            jobs=jobs,
            weights=weights,
            methods=methods,
            attacks=attacks,
        )
        plan, catalogue = request.plan()
        target = place / folder
        summary = Run(
            plan, request, target, catalogue, Silent(), Settings(here=here, **settings)
        ).execute()
        return summary, RecordLog(target / "records.jsonl").read(), target

    return run


@pytest.fixture
def run_suite(run_in, tmp_path):
    """`run_in` the test's own folder."""
    return partial(run_in, tmp_path)


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command line in this process; returns (exit code, output, messages)."""
    from fpbench.cli.main import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fpbench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def real_data():
    """The folder of real images, named by FPBENCH_TEST_DATA; skipped where there is none."""
    folder = os.environ.get("FPBENCH_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("FPBENCH_TEST_DATA does not name a folder of real images")
    return Path(folder)
