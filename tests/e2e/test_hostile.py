"""What lies in the folder of a run or its store may be torn, newer, gone or of another kind."""

import hashlib
import json
import shutil

import pytest

from fpbench.api import canonical_json

FAKES = ("-p", "fpbench.testing.fakes")
HERE = ("--device", "cpu", "--threads", "1", "-j", "1", "--no-page", "-q")
SMALL = """
[suite]
name = "small"
[dataset]
use = "toy-faces"
train = 16
test = 16
reference = 16
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[attacks]]
use = "jpeg"
quality = [90]
[population]
copies = 2
images = 4
shared = 2
[negatives]
real = 4
host = 4
attacked_host = 4
[score]
registered = 30
false_rate = 0.01
"""
LOOK = ("status", "report", "logs", "export", "why", "ls")


@pytest.fixture(scope="module")
def whole(run_in, tmp_path_factory):
    """A small run, finished."""
    place = tmp_path_factory.mktemp("whole")
    (place / "suite.toml").write_text(SMALL)
    run_in(place, place / "suite.toml", folder="small")
    return place


@pytest.fixture
def made(whole, tmp_path):
    """A copy of it to spoil."""
    return shutil.copytree(whole, tmp_path / "runs")


@pytest.fixture
def ask(command, made):
    """Puts a question about the run; returns (exit code, all that was said)."""

    def ask(what):
        run = made / "small"
        arguments = {
            "why": ("why", "0" * 64, "--run", run),
            "ls": ("cache", "ls", "--store", made / "store"),
            "export": ("export", run, "-o", made / "bundle.zip"),
            "run": ("run", made / "suite.toml", "--runs", made, *HERE),
            "repair": ("run", made / "suite.toml", "--runs", made, "--repair", *HERE),
            "retry": ("retry", run, *HERE),
        }.get(what, (what, run))
        code, out, err = command(*FAKES, *arguments)
        assert code != 3, err
        assert "Traceback" not in err
        return code, out + err

    return ask


SPOILT = {
    "torn": lambda data: data[: len(data) * 2 // 3],
    "empty": lambda data: b"",
    "nul": lambda data: data[:50] + b"\0" * 100 + b"\n" + data[50:],
    "latin": lambda data: data[:50] + b"\xff\xe9" + data[50:],
    "deep": lambda data: b"[" * 100_000 + b"\n",
    "folder": None,
}


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize(
    "name", ["records.jsonl", "events.jsonl", "request.json", "suite.json", "suite.toml"]
)
def test_what_is_spoilt_in_a_run_is_said_and_the_run_writes_it_again(made, ask, name, how):
    path = made / "small" / name
    if not path.is_file():
        path.write_text("{}\n")
    data, spoil = path.read_bytes(), SPOILT[how]
    path.unlink()
    if spoil is None:
        path.mkdir()
    else:
        path.write_bytes(spoil(data))
    for what in LOOK:
        ask(what)
    code, said = ask("run")
    if code:  # nothing is overwritten that is not known for sure to be ours
        assert (name in said, "again" in said) == (True, True)
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        assert ask("run")[0] == 0
    assert ask("report")[0] == ask("status")[0] == ask("export")[0] == 0


@pytest.mark.parametrize("how", ["torn", "latin", "folder"])
def test_spoilt_strips_are_drawn_again(made, ask, how):
    index = made / "small" / "samples" / "samples.json"
    index.parent.mkdir(exist_ok=True)
    index.write_bytes(b"[" if how == "torn" else b"\xff")
    if how == "folder":
        index.unlink()
        index.mkdir()
    ask("export")
    ask("report")
    assert ask("run")[0] == (7 if how == "folder" else 0)


def rewrite(path, **changes):
    """Change an artefact's manifest as somebody who may."""
    body = json.loads(path.read_text()) | changes
    del body["self"]
    body["self"] = hashlib.sha256(canonical_json(body).encode()).hexdigest()
    path.write_text(canonical_json(body))


def test_what_a_newer_version_stored_is_neither_read_nor_dropped(made, ask):
    manifests = sorted((made / "store" / "objects").glob("*/*/*/manifest.json"))
    for path in manifests:
        rewrite(path, format=2)
    for what in ("run", "repair", "retry", "export"):
        code, said = ask(what)
        assert (code, "update fpbench, or name another --store" in said) == (7, True), what
    assert ask("report")[0] == ask("status")[0] == 0
    assert all(path.is_file() for path in manifests)


def test_records_and_requests_of_a_newer_version_are_named(made, ask):
    records, request = made / "small" / "records.jsonl", made / "small" / "request.json"
    before = records.read_text()
    records.write_text(before.replace('"schema_version":2', '"schema_version":3'))
    for what in ("report", "export", "run"):
        code, said = ask(what)
        assert (code, "Update fpbench" in said) == (1, True), what
    records.write_text(before)
    request.write_text(json.dumps(json.loads(request.read_text()) | {"priority": 1}))
    code, said = ask("retry")
    assert (code, "priority" in said, "fpbench that wrote it" in said) == (2, True, True)
    assert ask("run")[0] == 0


def test_a_run_that_is_written_anew_with_less_says_what_is_gone(made, command):
    again = ("run", made / "suite.toml", "--runs", made, *HERE)
    assert "written anew" not in command(*FAKES, *again)[2]
    fewer = ("-m", "blind", "-a", "bypass")
    assert "written anew" not in command(*FAKES, *again, *fewer, "--name", "mine")[2]
    code, _, err = command(*FAKES, *again, *fewer)
    assert (code, f"{made / 'small'} is written anew without perfect, jpeg;" in err) == (0, True)


def test_without_its_plugin_a_run_is_read_and_nothing_of_it_dropped(made, command):
    kept = sorted((made / "store" / "objects").glob("*/*"))
    assert command("report", made / "small")[0] == 0
    assert command("cache", "ls", "--store", made / "store")[0] == 0
    lacking = [("status",), ("retry", *HERE), ("score",)]
    for what, *more in lacking:
        code, _, err = command(what, made / "small", *more)
        assert (code, "'perfect'" in err, "-p MODULE" in err) == (2, True, True)
    code, _, err = command("cache", "gc", "--keep", "small", "--yes", "--store", made / "store")
    assert (code, "nothing is deleted" in err or "'perfect'" in err) == (2, True)
    assert sorted((made / "store" / "objects").glob("*/*")) == kept


def test_a_code_that_is_lost_is_issued_again_for_measuring(made, ask):
    objects = made / "store" / "objects"
    lines = (made / "small" / "records.jsonl").read_text().splitlines()
    lost = {json.loads(line)["cell"] for line in lines}
    metas = {p: json.loads(p.read_text())["meta"] for p in objects.glob("*/*/main/manifest.json")}
    lost |= {path.parents[1].name for path, meta in metas.items() if "code" in meta}
    for key in lost:
        shutil.rmtree(objects / key[:2] / key, ignore_errors=True)
    assert ask("run")[0] == 0
