import shutil

import pytest

SMALL = """
[suite]
name = "small"
[dataset]
use = "toy-faces"
train = 24
test = 24
reference = 16
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[methods]]
use = "broken"
where = "fit"
[[attacks]]
use = "jpeg"
quality = [50]
[[attacks]]
use = "weight-noise"
sigma = [0.1]
[population]
copies = 2
images = 2
shared = 1
[negatives]
real = 4
host = 4
attacked_host = 2
"""


@pytest.fixture(scope="session")
def small_run(run_in, tmp_path_factory):
    """A small run in which one method has numbers and the training of another fails."""
    place = tmp_path_factory.mktemp("small")
    (place / "suite.toml").write_text(SMALL)
    run_in(place, place / "suite.toml")
    return place


@pytest.fixture
def made(small_run, tmp_path):
    """A copy of it that a test may change: a folder with `run` and `store`."""
    shutil.copytree(small_run, tmp_path / "made")
    return tmp_path / "made"


@pytest.fixture
def opened(made):
    """It with its plan."""
    from fpbench.execute.runs import open_run

    return open_run(made / "run", ("fpbench.testing.fakes",))
