"""Boards that gain methods and attacks, also where the first submission changed the suite."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from fpbench.publish.board import read_submissions
from fpbench.report.inputs import read_inputs

SUITE = """
[suite]
name = "shown"
[dataset]
use = "image-folder"
path = "nowhere.zip"
train = 30
test = 30
reference = 20
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
[[attacks]]
use = "jpeg"
quality = [50]
[population]
copies = 2
images = 3
shared = 2
[negatives]
real = 10
host = 10
attacked_host = 10
[secrecy]
steps = 0
[score]
registered = 10
false_rate = 0.1
"""
SETTINGS = (
    *("--set", "population.copies=3", "--set", "dataset.train=20"),
    *("--set", "suite.seed=4", "-s", "1,0", "-a", "jpeg[quality=50,70]"),
)


class Place:
    """A folder with a suite and images, in which command lines are run."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "shown.toml").write_text(SUITE)
        rng = np.random.default_rng(0)
        for number in range(90):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            for name in ("photographs", "pictures of mine"):
                (folder / name).mkdir(exist_ok=True)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")

    def call(self, *words):
        from fpbench.cli.main import main

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["fpbench", "-p", "fpbench.testing.fakes", *words])
            try:
                main()
            except SystemExit as ended:
                return ended.code
        return 0

    def run(self, suite, *words, name):
        """A run in the common store, as a bundle."""
        end = ("--no-page", "-q", "--threads", "1", "-j", "1", "--name", name)
        assert self.call("run", suite, *words, *end) == 0
        assert self.call("export", f"runs/{name}", "-o", f"{name}.zip") == 0
        return f"{name}.zip"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A board of one submission whose run changed the suite."""
    place = Place(tmp_path_factory.mktemp("place"))
    bundle = place.run("shown.toml", "--set", "dataset.path=photographs", *SETTINGS, name="first")
    assert place.call("board", "add", bundle, "boards/shown") == 0
    return place


@pytest.fixture
def place(first):
    """The same; the board is as it was, afterwards."""
    shutil.copytree(first.folder / "boards", first.folder / "kept")
    yield first
    shutil.rmtree(first.folder / "boards")
    (first.folder / "kept").rename(first.folder / "boards")


def labels(place, table="methods"):
    suite = json.loads((place.folder / "boards/shown/suite.json").read_text())
    return [each["label"] for each in suite[table]]


def test_who_runs_with_the_same_settings_joins_whatever_his_places_are_called(place):
    mine = ("--set", "dataset.path=pictures of mine", "-m", "perfect[label=newcomer,bits=12]")
    bundle = place.run("shown.toml", *mine, *SETTINGS, name="same")
    assert place.call("board", "add", bundle, "boards/shown") == 0
    assert labels(place) == ["perfect", "blind", "newcomer"]


def test_who_runs_with_others_is_told_each_and_the_command_that_fits(place, capsys):
    mine = ("--set", "dataset.path=photographs", "-m", "perfect[label=newcomer,bits=12]")
    bundle = place.run("shown.toml", *mine, name="other")
    capsys.readouterr()
    assert place.call("board", "add", bundle, "boards/shown") != 0
    said = capsys.readouterr().err.splitlines()
    assert said[1:6] == [
        "  dataset.train: the board has 20, the bundle 30",
        "  population.copies: the board has 3, the bundle 2",
        "  suite.seed: the board has 4, the bundle 0",
        "  training.seeds: the board has [1, 0], the bundle [0]",
        "  attacks jpeg.strengths: the board has [70.0, 50.0], the bundle [50.0]",
    ]
    assert said[6:] == [
        "Run the board's own settings, with your PATHs, and export that:",
        "  fpbench run boards/shown -m 'perfect[label=newcomer,bits=12]' --set dataset.path=PATH",
        "Or name another board.",
    ]
    # The printed command is one: quoted for a shell, with a path in the place of PATH.
    words = shlex.split(said[7].replace("PATH", "'pictures of mine'"))
    bundle = place.run(*words[2:], name="fits")
    assert place.call("board", "add", bundle, "boards/shown") == 0
    assert labels(place) == ["perfect", "blind", "newcomer"]
    (newcomer,) = {
        r["method"]["bits"]
        for r in read_inputs(place.folder / "boards/shown").records
        if r["method"]["label"] == "newcomer"
    }
    assert newcomer == 12


def test_an_attack_joins_with_all_methods(place, capsys):
    images = ("--set", "dataset.path=photographs")
    more = ("-a", "jpeg", "-a", "gaussian-noise[sigma=0.1]")
    bundle = place.run("boards/shown", "-m", "perfect", *more, *images, name="one")
    capsys.readouterr()
    assert place.call("board", "add", bundle, "boards/shown") != 0
    said = capsys.readouterr().err.splitlines()
    assert said[1] == "  attacks: the board has ['jpeg'], the bundle ['gaussian-noise', 'jpeg']"
    assert said[3] == "  fpbench run boards/shown -m perfect --set dataset.path=PATH"
    command = (
        "  fpbench run boards/shown -a jpeg -a 'gaussian-noise[sigma=0.1]' --set dataset.path=PATH"
    )
    assert said[5] == command
    words = shlex.split(command.replace("PATH", "photographs"))
    bundle = place.run(*words[2:], name="all")
    assert place.call("board", "add", bundle, "boards/shown") == 0
    assert labels(place, "attacks") == ["jpeg", "gaussian-noise"]
    # Whoever comes then has the attack to pass, too, and finds it in the board's settings.
    bundle = place.run("boards/shown", "-m", "perfect[label=third]", *images, name="third")
    assert place.call("board", "add", bundle, "boards/shown") == 0
    brought = read_submissions(place.folder / "boards/shown")
    assert [each["status"] for each in brought] == ["re-scored"] * 3
    points = {
        r["point"]["label"]
        for r in read_inputs(place.folder / "boards/shown").records
        if r["method"]["label"] == "third"
    }
    assert points == {"none", "jpeg 70", "jpeg 50", "gaussian-noise 0.1"}


def test_other_images_are_said_beside_the_command(place, capsys):
    shutil.copytree(place.folder / "photographs", place.folder / "fewer")
    (place.folder / "fewer" / "0.png").unlink()
    mine = ("--set", "dataset.path=fewer", "-m", "perfect[label=newcomer]")
    bundle = place.run("boards/shown", *mine, name="fewer")
    capsys.readouterr()
    assert place.call("board", "add", bundle, "boards/shown") != 0
    said = capsys.readouterr().err.splitlines()
    assert said[1].startswith("  images: the board's have the digest ")
    assert said[3].endswith(" --set dataset.path=PATH")


def test_the_page_says_how_to_join(place):
    page = (place.folder / "boards/shown/page/protocol.html").read_text()
    command = "fpbench run leaderboards/shown -m METHOD --set dataset.path=PATH"
    assert f">{command}</pre>" in page
    assert "<code>dataset.path</code>" in page
    listed = json.loads((place.folder / "boards/shown/submissions.json").read_text())
    assert listed["places"] == ["dataset.path"]
