"""Users who are told apart by scores, from their copies to whom images lead to."""

import json

import numpy as np
import pytest
from PIL import Image

import fpbench
from fpbench.users import Registry

pytestmark = pytest.mark.timeout(240)

SUITE = """
[suite]
name = "scores"
[dataset]
use = "toy-faces"
train = 64
test = 300
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "keyed"
[[methods]]
use = "relative"
[[methods]]
use = "present"
[[methods]]
use = "weighed"
[[methods]]
use = "decentralized"
keys = 12
samples = 32
key_steps = 2
key_batch = 8
steps = 2
rounds = 1
judged = 16
batch = 4
[[methods]]
use = "wouaf"
bits = 8
steps = 2
whole_batch = 8
carrier = "low-rank"
reading = "calibrated"
photographs = 16
[population]
copies = 3
images = 2
shared = 2
unregistered = 1
[negatives]
real = 240
host = 240
attacked_host = 10
[score]
registered = 5
false_rate = 0.1
"""
WHO = ("-p", "fpbench.testing.fakes")
USERS = ("Ada", "Bo", "Cy")
RATE = ("--false-rate", "0.05")


@pytest.fixture(scope="module")
def run(run_in, tmp_path_factory):
    place = tmp_path_factory.mktemp("scores")
    path = place / "suite.toml"
    path.write_text(SUITE)
    run_in(place, path)
    return place


@pytest.fixture
def desk(run, command, tmp_path):
    """Runs commands on a registry of the test's own."""
    registry = tmp_path / "users.db"
    assert command("users", "init", registry)[0] == 0

    def at(verb, *arguments):
        store = (
            ()
            if "--verify" in arguments and "--method" not in arguments
            else ("--store", run / "store")
        )
        return command(*WHO, verb, *arguments, "--registry", registry, *store)

    return at, registry


def issued(at, run, tmp_path, label="keyed", users=USERS):
    """A folder of PNGs of each user's copy."""
    folders = {}
    for user in users:
        code, _, err = at("issue", f"{run / 'run'}:{label}", "--user", user, "-o", tmp_path / user)
        assert code == 0, err
        copy = fpbench.load_copy(tmp_path / user, plugins=("fpbench.testing.fakes",))
        folders[user] = tmp_path / f"images of {user}"
        folders[user].mkdir()
        for number, image in enumerate(copy.sample(4)):
            Image.fromarray(image).save(folders[user] / f"{number}.png")
    return folders


def noise(folder, count=3):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        image = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        image.save(folder / f"{number}.png")
    return folder


def test_scores_lead_to_who_was_issued_the_copy_and_nobody_else(desk, run, tmp_path):
    at, _ = desk
    method = f"{run / 'run'}:keyed"
    for user, folder in issued(at, run, tmp_path).items():
        code, out, err = at("trace", folder, "--method", method, "--json-lines", *RATE)
        assert (code, err) == (0, "")
        lines = [json.loads(line) for line in out.splitlines()]
        assert [line["accused"][0]["user"] for line in lines] == [user] * 4
        assert [len(line["images"]) for line in lines] == [1] * 4
        for line in lines:
            (suspect,) = line["accused"]
            assert line["best"]["match"] >= line["threshold"]
            # Of 120 negatives none is as high.
            assert suspect["family_wise"] == pytest.approx(1 / 121)
            assert suspect["p_value"] == pytest.approx(1 / 361)
            assert line["codes"] == 3
        pooled = at("trace", folder, "--method", method, "--pool", "--false-rate", "0.2")[1]
        assert pooled.startswith(f"all together: {user} (active), ")
    out = at("trace", noise(tmp_path / "noise"), "--method", method, *RATE)[1]
    assert out.count("nobody; nobody's score is ") == 3
    out = at("trace", tmp_path / "noise", "--method", method)[1]
    said = "a false rate of 0.001 is calibrated on at least 3,000 untouched negatives of each"
    assert out.count(f"nobody; {said} source, and there are 120, the best has ") == 3


def test_thresholds_are_those_of_a_board(desk, run, tmp_path):
    """What is read in the negatives of users whom the run knows is what it has stored."""
    at, _ = desk
    issued(at, run, tmp_path, users=USERS[:1])
    method = fpbench.open_run(run / "run", plugins=("fpbench.testing.fakes",)).method("keyed")
    own = method.negatives()
    assert {source: scores.shape for source, scores in own.items()} == {
        "host": (240, 3),
        "real": (240, 3),
    }
    stored = method._bench
    for source, scores in own.items():
        key = stored.plan.null_key(method._fit, source, None)
        (shard,) = set(stored.store.columns(key).values())
        arrays = stored.store.shard(key, shard).arrays
        (kept,) = (array for name, array in arrays.items() if name.endswith("/logits"))
        assert np.array_equal(kept, scores)
    report = json.loads(
        at(
            "trace", tmp_path / "images of Ada", "--method", f"{run / 'run'}:keyed", "--json", *RATE
        )[1]
    )
    assert set(report["tried"]) == {"host", "real"}
    for accused, of in report["tried"].values():
        assert of == 120
        assert accused <= 12  # of 6 expected at most


def test_evidence_of_scores_is_computed_again(desk, run, tmp_path, command):
    at, registry = desk
    folder, report = issued(at, run, tmp_path)["Bo"], tmp_path / "report.json"
    asked = ("trace", folder, "--method", f"{run / 'run'}:keyed")
    assert at(*asked, "-o", report, *RATE)[0] == 0
    page = report.with_suffix(".html").read_text()
    assert "<b><bdi>Bo</bdi></b>" in page
    assert " of 120 images of the host, " in page
    assert command("users", "revoke", registry, "Bo", "--reason", "misuse")[0] == 0
    issued(at, run, tmp_path, users=["Di"])
    assert at(*asked, "--verify", report) == (0, "Result: HOLDS\n", "")
    told = json.loads(report.read_text())
    for change, said in (
        ({"negatives": {}}, "expected scores of images without a mark, got none"),
        ({"negatives": {**told["negatives"], "host": "abc"}}, "it was changed"),
        ({"tried": {"host": [0, 120], "real": [0, 119]}}, "tried: expected"),
        ({"false_rate": 0.03}, "verdicts: expected"),
        ({"codes": 2}, "it was changed"),
    ):
        report.write_text(json.dumps({**told, **change}))
        code, _, err = at("trace", "--verify", report)
        assert (code in (1, 2), said in err) == (True, True), err


def test_there_are_as_many_users_as_keys(desk, run, tmp_path):
    at, registry = desk
    # Of 16 keys three are the run's users', two of copies that attacks are tuned on.
    with Registry.open(registry) as opened:
        facts = fpbench.open_run(run / "run", plugins=("fpbench.testing.fakes",)).method("keyed")
        opened.add_model("run:keyed", facts.facts)
        opened.import_users("run:keyed", ["user\n", *(f"user {n}\n" for n in range(11))])
        assert [opened.code("run:keyed", n).shape for n in (0, 10)] == [(0,), (0,)]
        opened.audit()
    code, _, err = at("issue", f"{run / 'run'}:keyed", "--user", "one", "-o", tmp_path / "one")
    assert code == 2
    assert "12 users of a registry: expected at most 16 users, got 17" in err
    assert "5 of them are the run's own" in err
    with Registry.open(registry) as opened:
        assert opened.count("run:keyed") == 11


@pytest.mark.parametrize("label", ["decentralized", "wouaf"])
def test_methods_that_enrol_are_traced(label, desk, run, tmp_path):
    at, _ = desk
    folders = issued(at, run, tmp_path, label)
    code, out, err = at(
        "trace", folders["Ada"], "--method", f"{run / 'run'}:{label}", "--json", *RATE
    )
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["codes"] == 3
    assert len(report["verdicts"]) == 4
    assert set(report["negatives"]) == ({"host", "real"} if label == "decentralized" else set())


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("relative", "got one whose scores of a user depend on all others"),
        ("present", "got one that says whether there is a mark, and not whose"),
        ("weighed", "got one that reads the weights of a copy"),
    ],
)
def test_what_leads_to_nobody_is_refused_by_name(label, said, desk, run, tmp_path):
    at, registry = desk
    noise(tmp_path / "noise")
    code, _, err = at("trace", tmp_path / "noise", "--method", f"{run / 'run'}:{label}")
    assert (code, said in err) == (2, True), err
    if label != "weighed":
        code, _, err = at("issue", f"{run / 'run'}:{label}", "--user", "Ada", "-o", tmp_path / "a")
        assert (code, said in err) == (2, True), err
        with Registry.open(registry) as opened:
            assert opened.models() == []


def test_an_empty_registry_leads_to_nobody(desk, run, tmp_path):
    at, registry = desk
    trained = fpbench.open_run(run / "run", plugins=("fpbench.testing.fakes",)).method("keyed")
    with Registry.open(registry) as opened:
        opened.add_model("run:keyed", trained.facts)
    report = tmp_path / "report.json"
    code, out, _ = at(
        "trace", noise(tmp_path / "noise", 1), "--method", f"{run / 'run'}:keyed", "-o", report
    )
    assert (code, "0.png: nobody; no code was issued yet\n" in out) == (0, True)
    again = (tmp_path / "noise", "--verify", report, "--method", f"{run / 'run'}:keyed")
    for asked in (("--verify", report), again):
        assert at("trace", *asked) == (0, "Result: HOLDS\n", "")
