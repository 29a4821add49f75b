import json
import os
import shutil
import subprocess
import sys

import pytest

KINDS = ("method", "attack", "host", "dataset", "metric")
TINY = [
    "--set", "dataset.use=my-dataset",
    "--set", "dataset.train=256",
    "--set", "dataset.test=512",
    "--set", "dataset.reference=128",
    "--set", "host.use=my-host",
    "--set", "population.copies=4",
    "--set", "population.images=3",
    "--set", "negatives.real=16",
    "--set", "negatives.host=16",
    "--set", "negatives.attacked_host=6",
    "--set", "secrecy.steps=0",
    "-m", "my-method",
    "-a", "my-attack",
    "-a", "weight-noise[sigma=0.4]",
]  # fmt: skip


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A package of each kind, as `fpbench new` writes it."""
    place = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        subprocess.run(
            [sys.executable, "-m", "fpbench", "new", kind, f"my-{kind}", "--into", place],
            check=True,
            capture_output=True,
        )
    return {kind: place / f"fpbench-my-{kind}" for kind in KINDS}


@pytest.mark.timeout(600)
def test_new_packages_pass_their_own_tests(packages):
    paths = os.pathsep.join(map(str, packages.values()))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", *packages.values(),
         "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir", packages["method"].parent],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        cwd=packages["method"].parent,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.timeout(600)
def test_new_plugins_run_in_the_quickstart(packages, command, tmp_path):
    plugins = []
    for kind, folder in packages.items():  # single files have names of their own
        file = shutil.copy(folder / f"fpbench_my_{kind}" / "plugin.py", tmp_path / f"{kind}.py")
        plugins += ["-p", file]
    code, _, err = command(*plugins, "run", "quickstart", *TINY, "--runs", tmp_path, "-j", 1)
    assert code == 0, err
    text = (tmp_path / "quickstart" / "records.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    worst = [r for r in records if r["metric"] == "my-metric" and r["value"] is not None]
    assert any("my-attack" in r["point"]["label"] for r in worst)
    assert (tmp_path / "quickstart" / "page" / "index.html").is_file()
