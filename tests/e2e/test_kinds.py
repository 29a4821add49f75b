"""Methods whose readings are scores, presences or of weights, through the whole run."""

import csv

import pytest
from rows import value

from fpbench.api import Outcome
from fpbench.report.build import build_page

pytestmark = pytest.mark.timeout(300)

SUITE = """
[suite]
name = "kinds"
[dataset]
use = "toy-faces"
train = 64
test = 120
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "keyed"
[[methods]]
use = "relative"
[[methods]]
use = "retrained"
copies = 3
[[methods]]
use = "present"
[[methods]]
use = "weighed"
[[strangers]]
use = "tiny-host"
label = "another host"
steps = 9
[[attacks]]
use = "jpeg"
quality = [90]
[[attacks]]
use = "weight-noise"
sigma = [0.1]
[[attacks]]
use = "bypass"
[[attacks]]
use = "collude"
users = [2]
[[attacks]]
use = "re-embed"
[population]
copies = 5
images = 4
shared = 2
unregistered = 2
[negatives]
real = 62
host = 62
attacked_host = 40
[score]
registered = 5
false_rate = 0.1
"""


@pytest.fixture(scope="module")
def done(run_in, tmp_path_factory):
    place = tmp_path_factory.mktemp("kinds")
    path = place / "suite.toml"
    path.write_text(SUITE)
    _, found, folder = run_in(place, path)
    return found, folder


@pytest.fixture(scope="module")
def records(done):
    return done[0]


def outcome(records, method, point, metric="", variant=""):
    row = value(records, method, point, metric, variant)
    return row["outcome"], row["reason"]


@pytest.mark.parametrize("method", ["keyed", "relative", "retrained"])
def test_scores_trace_enrolled_users(records, method):
    users = 3 if method == "retrained" else 5
    row = value(records, method, "none", "attribution")
    least = 0.3 if method == "retrained" else 0.9
    assert row["value"] > least
    assert row["detail"]["registered"] == row["clusters"] == users
    assert row["detail"]["threshold_rule"] == "calibrated on negatives"
    # Half of the negatives set the threshold, the others test it; those of nobody else are whole.
    assert value(records, method, "none", "false-accusation", "real")["n"] == 31
    assert value(records, method, "none", "false-accusation", "another host")["n"] == 62
    assert value(records, method, "weight-noise 0.1", "false-accusation", "host")["n"] == 20
    assert value(records, method, "jpeg 90", "attribution")["value"] > least
    closed = value(records, method, "none", "attribution", "closed")
    assert closed["detail"]["converged"] == (closed["value"] >= 0.9)


def test_who_is_not_registered_has_no_column(records):
    free = value(records, "keyed", "none", "false-accusation", "unregistered")
    asked = value(records, "relative", "none", "false-accusation", "unregistered")
    assert free["clusters"] == 5
    assert asked["clusters"] == 2  # copies that were issued for it
    assert free["value"] < 0.2


def test_a_presence_has_no_users(records):
    row = value(records, "present", "none", "detection")
    assert row["value"] > 0.9
    assert value(records, "present", "none", "detection", "on another host")["value"] < 0.2
    assert outcome(records, "present", "none", "attribution")[0] == Outcome.REFUSED
    for point in ("collude 2", "re-embed"):
        found, reason = outcome(records, "present", point)
        assert found == Outcome.REFUSED
        assert "tells no users apart" in reason
    # The step that marks is dropped.
    assert value(records, "present", "bypass", "detection")["value"] < 0.5


def test_weights_are_read_one_row_a_copy(records):
    row = value(records, "weighed", "none", "bit-accuracy")
    assert (row["value"], row["n"], row["clusters"]) == (1, 5, 5)
    found, reason = outcome(records, "weighed", "jpeg 90")
    assert found == Outcome.REFUSED
    assert "reads weights" in reason
    assert value(records, "weighed", "none", "false-accusation", "host")["n"] == 1
    assert value(records, "weighed", "weight-noise 0.1", "bit-accuracy")["n"] == 5
    # Damage is measured on images all the same.
    assert value(records, "weighed", "weight-noise 0.1", "damage", "psnr")["value"] > 10


def test_each_kind_stands_in_its_own_table_of_the_page(done, tmp_path):
    records, folder = done
    about = value(records, "weighed", "none", "bit-accuracy")["method"]
    assert (about["gives"], about["reads"]) == ("bits", "weights")
    page = build_page(folder, tmp_path / "page").parent
    tables = {}
    for name in ("leaderboard", "detection", "weights"):
        with (page / f"{name}.csv").open() as file:
            tables[name] = {row["method"]: row for row in csv.DictReader(file)}
    assert set(tables["leaderboard"]) == {"keyed", "relative", "retrained"}
    assert set(tables["detection"]) == {"keyed", "relative", "retrained", "present"}
    assert set(tables["weights"]) == {"weighed"}
    assert tables["detection"]["present"]["rank"]
    assert float(tables["weights"]["weighed"]["tier_copy"]) > 0.5
    why = tables["leaderboard"]["retrained"]["not_ranked_because"]
    assert "tell 3 registered users apart, and the suite asks for 5" in why
    for path in page.rglob("*.html"):
        assert "detection is not measured here" not in path.read_text()
        assert "bit-accuracy is not measured here" not in path.read_text()
