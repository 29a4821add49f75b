"""Runs as others get them: exported, verified from their readings, added to a board."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rows import value
from safetensors.numpy import load_file

from fpbench.api import Outcome, StoreError, canonical_json
from fpbench.cli.main import cli, main
from fpbench.execute.records import outcome_record
from fpbench.execute.request import read_request
from fpbench.execute.samples import write_samples
from fpbench.plan import Want
from fpbench.publish import board as boards
from fpbench.publish.archive import open_bundle
from fpbench.publish.board import add_to_board
from fpbench.publish.bundle import Wish, export
from fpbench.publish.contents import contents
from fpbench.publish.verify import verify
from fpbench.report.inputs import read_inputs
from fpbench.stages.measuring import Measurer
from fpbench.store import RecordLog, Store

sys.path.append(str(Path(__file__).parents[1] / "unit" / "publish"))
from bundle_factory import lines, packed, seal

FAKES = ("fpbench.testing.fakes",)
SCRIPT = "<script>alert(1)</script>"
SUITE = f"""
[suite]
name = "shown"
seed = 3
[dataset]
use = "image-folder"
path = "PATH"
train = 40
test = 40
reference = 40
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
label = "{SCRIPT}"
[[attacks]]
use = "jpeg"
quality = [50]
[[attacks]]
use = "fine-tune"
steps = [1]
copies = 3
clean_images = 8
tune = {{ learning_rate = [1e-4, 1e-3] }}
[[attacks]]
use = "leaked-code"
[population]
copies = 5
images = 4
shared = 2
[negatives]
real = 20
host = 20
attacked_host = 10
[secrecy]
steps = 5
images = 4
[score]
registered = 30
false_rate = 0.01
"""
OTHER = SUITE.replace('use = "perfect"', 'use = "perfect"\nlabel = "newcomer"').replace(
    f'[[methods]]\nuse = "blind"\nlabel = "{SCRIPT}"\n', ""
)
CHANGED = SUITE.replace('use = "perfect"', 'use = "perfect"\nbits = 12').replace(
    f'[[methods]]\nuse = "blind"\nlabel = "{SCRIPT}"\n', ""
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photographs, which are gone once everything has been run."""
    place = tmp_path_factory.mktemp("private")
    photographs = place / "photographs"
    photographs.mkdir()
    rng = np.random.default_rng(0)
    for number in range(120):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photographs / f"{number}.png")
    return place


@pytest.fixture(scope="module")
def runs(run_in, place):
    """Folders of three runs in one store: of all methods, of a new one, of a changed one."""
    found = []
    for name, text in (("all", SUITE), ("newcomer", OTHER), ("changed", CHANGED)):
        suite = place / f"{name}.toml"
        suite.write_text(text.replace("PATH", str(place / "photographs")))
        command = f"fpbench run {suite} --runs {place}"
        found.append(run_in(place, suite, folder=name, command=command)[2])
        suite.unlink()  # what a run needs of it, it has kept
    shutil.rmtree(place / "photographs")
    return found


def exported(run, target, **wish):
    request = read_request(run, FAKES, run.parent / "store")
    export(run, request, target, Wish("somebody", "as a test", **wish))
    return target


@pytest.fixture(scope="module")
def bundles(runs, tmp_path_factory):
    place = tmp_path_factory.mktemp("bundles")
    return [exported(run, place / f"{run.name}.zip") for run in runs]


@pytest.fixture
def folder(bundles, tmp_path):
    """The first bundle unpacked, to be edited."""
    shutil.unpack_archive(bundles[0], tmp_path / "bundle")
    return tmp_path / "bundle"


def verified(path, plugins=FAKES, **options):
    with open_bundle(path) as bundle:
        return verify(bundle, plugins, **options)


def edit(folder, change):
    """Change records of a bundle, as somebody would who makes a manifest for them too."""
    file = folder / "records.jsonl"
    changed = [change(record) for record in lines(file)]
    file.write_text("".join(json.dumps(r) + "\n" for r in changed if r is not None))
    return seal(folder)


def is_row(record, method, point, metric, variant=""):
    names = (record["method"].get("label"), record["point"]["label"])
    return (*names, record["metric"], record["variant"]) == (method, point, metric, variant)


# -- what is exported ----------------------------------------------------------------------------


def test_equal_runs_give_equal_bundles(runs, bundles, tmp_path):
    again = exported(runs[0], tmp_path / "again.zip")
    assert again.read_bytes() == bundles[0].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["again.zip"]


def test_no_place_of_the_machine_survives(folder, place):
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert len(files) > 40
    for file in files:
        for secret in (str(place), place.parent.name, "/tmp", str(Path.home())):  # noqa: S108
            assert secret.encode() not in file.read_bytes(), (file, secret)
    commands = {r["command"] for r in lines(folder / "records.jsonl")}
    assert commands == {f"fpbench run all.toml --runs {place.name}"}
    assert 'path = "photographs"' in (folder / "suite.toml").read_text()


def test_neither_photographs_nor_weights_nor_issued_copies_are_in_it(folder, bundles, runs):
    assert (runs[0] / "samples" / "real.png").is_file()
    assert (runs[0] / "samples" / "perfect-copy-0.png").is_file()
    assert not list(folder.rglob("*.png"))
    assert "  no images" in contents(bundles[0])
    assert images_in(folder / "store") == []
    request = read_request(folder, FAKES, folder / "store")
    plan, _ = request.plan()
    store = Store(folder / "store")
    trained = [plan.host_key, *(fit.key for fit in plan.fits)]
    for key in trained:
        assert store.get(key).arrays == {}
        assert store.meta(key)["cost"]["wall_s"] >= 0
        assert not store.has(plan.training_images_key(key))
    forged = [m for m in plan.open_points(plan.fits[0]) if m is not None and m.kind == "forgery"]
    arrays = reading(store, plan, forged[0]).arrays
    assert {name.partition("/")[2] for name in arrays} == {"logits", "damage_psnr", "damage_ssim"}
    arrays = reading(store, plan, None, user=1).arrays
    assert "code_psnr" in {name.partition("/")[2] for name in arrays}


def images_in(root):
    """Names of all arrays in a store that could be images."""
    return [
        name
        for file in root.rglob("arrays.safetensors")
        for name, array in load_file(file).items()
        if array.ndim == 4 and array.dtype == np.uint8
    ]


def reading(store, plan, model, user=0):
    key = plan.reading_key(plan.fits[0], user, model)
    return store.shard(key, store.columns(key)[plan.column(plan.fits[0], Want())])


@pytest.fixture
def shown(runs, tmp_path):
    """A bundle with strips, unpacked."""
    shutil.unpack_archive(exported(runs[0], tmp_path / "s.zip", keep_real=True), tmp_path / "shown")
    return tmp_path / "shown"


def test_what_is_inside_is_said_by_kind(runs, shown):
    folder, said = shown, list(contents(shown.parent / "s.zip"))
    strips = list((folder / "samples").glob("*.png"))
    real, width = 2, 32
    drawn = sum(cv2.imread(str(p)).shape[1] // width for p in strips) - real
    assert said[-1] == (
        f"  {drawn} images drawn by the host and by copies, or attacked; {real} of the data set"
    )
    stored = [p for p in (folder / "store").rglob("*") if p.is_file()]
    line = next(line for line in said if "readings" in line)
    assert line.split() == [
        "readings",
        f"{len(stored):,}",
        "files",
        f"{sum(p.stat().st_size for p in stored):,}",
        "bytes",
    ]
    assert images_in(folder / "store") == []


def test_sheets_are_no_part_of_numbers(runs, tmp_path, monkeypatch):
    """A run whose sheets are gone has the same numbers, and strips of what is left."""
    place = tmp_path / "again"
    shutil.copytree(runs[0].parent / "store", place / "store")
    store = Store(place / "store")
    request = read_request(runs[0], FAKES, place / "store")
    plan, _ = request.plan()
    for fit in plan.fits:
        for model in plan.open_points(fit):
            store.drop(plan.sheet_key(fit, 0, model))
    measurer = Measurer(plan, store)
    cells = [cell for cell in plan.cells if cell.refusal is None]
    assert not any(measurer.missing(cell) for cell in cells)
    samples = json.loads((runs[0] / "samples" / "samples.json").read_text())["methods"]["perfect"]
    gone = np.zeros((2, 3, 32, 32), dtype=np.uint8)
    monkeypatch.setattr("fpbench.execute.samples._real", lambda plan: gone)
    write_samples(plan, measurer, place / "samples")
    left = json.loads((place / "samples" / "samples.json").read_text())["methods"]["perfect"]
    assert len(left["codes"]) == len(samples["codes"]) - 1 == 1
    assert samples["points"]
    assert left["points"] == {}


def test_drawn_data_may_be_shown(runs, tmp_path):
    with open_bundle(exported(runs[0], tmp_path / "b.zip", keep_real=True)) as bundle:
        assert (bundle.folder / "samples" / "real.png").is_file()
        assert (bundle.folder / "samples" / "perfect-leaked-code.png").is_file()
        found = verify(bundle, FAKES)
    assert found.status == "re-scored"
    assert "no real person" in found.notes[0]


def test_a_run_whose_readings_are_gone_is_not_exported_with_them(runs, tmp_path):
    request = read_request(runs[0], FAKES, tmp_path / "no-store")
    with pytest.raises(StoreError, match=r"export: expected in .* the readings of all 7 measured"):
        export(runs[0], request, tmp_path / "b.zip", Wish())
    assert list(tmp_path.iterdir()) == []
    export(runs[0], request, tmp_path / "b.zip", Wish(readings=False))
    found = verified(tmp_path / "b.zip")
    assert (found.status, found.numbers) == ("self-reported", 0)
    assert "holds no readings" in found.reasons[0]


def test_what_is_no_run_is_not_exported(tmp_path):
    (tmp_path / "request.json").write_text('{"suite": "quickstart"}')
    request = read_request(tmp_path, (), tmp_path)
    with pytest.raises(StoreError, match="expected a run with records"):
        export(tmp_path, request, tmp_path / "b.zip", Wish())


# -- what is verified ----------------------------------------------------------------------------


def test_a_bundle_gives_its_numbers_without_images_weights_or_the_store(bundles, folder):
    for path in (bundles[0], folder):
        found = verified(path)
        assert (found.status, found.problems, found.reasons) == ("re-scored", [], [])
    assert found.numbers == sum(1 for r in lines(folder / "records.jsonl") if r["metric"]) > 100
    assert any("submitter's own" in note for note in found.notes)


def test_every_artefact_of_a_bundle_is_needed(folder):
    store = Store(folder / "store")
    kinds = {}
    for key in store.keys():  # noqa: SIM118 - a store is no dict
        (shard,) = {path.parent for path in (folder / "store").rglob(f"{key}/*/manifest.json")}
        meta = json.loads((shard / "manifest.json").read_text())["meta"]
        kinds.setdefault((tuple(sorted(meta)), shard.name == "main"), key)
    assert len(kinds) >= 5  # readings, trainings, issued copies, reference, secrecy, tuning
    whole = folder.parent / "whole"
    folder.rename(whole)
    for key in kinds.values():
        shutil.copytree(whole, folder)
        Store(folder / "store").drop(key)
        found = verified(seal(folder))
        assert found.status != "re-scored", key
        shutil.rmtree(folder)


CHEATS = {
    "value": ("attribution", lambda r: {**r, "value": 0.123}),
    "high": ("attribution", lambda r: {**r, "high": 0.999}),
    "outcome": ("attribution", lambda r: {**r, "outcome": "not-supported", "reason": "no"}),
    "by_copy[2]": (
        "bit-accuracy",
        lambda r: {**r, "by_copy": [*r["by_copy"][:2], 0.1, *r["by_copy"][3:]]},
    ),
    "detail.converged": (
        "bit-accuracy",
        lambda r: {**r, "detail": {**r["detail"], "converged": 2}},
    ),
    "clusters": ("attribution", lambda r: {**r, "clusters": 30}),
    "method.bits": ("attribution", lambda r: {**r, "method": {**r["method"], "bits": 64}}),
    "higher_is_better": ("attribution", lambda r: {**r, "higher_is_better": False}),
    "level": ("attribution", lambda r: {**r, "level": "model"}),
}


@pytest.mark.parametrize("field", CHEATS)
def test_a_record_that_the_readings_do_not_give_is_named(folder, field):
    metric, cheat = CHEATS[field]

    def change(record):
        return cheat(record) if is_row(record, "perfect", "none", metric) else record

    found = verified(edit(folder, change))
    assert found.status == "refused"
    assert len(found.problems) == 1
    assert f"perfect under none: {metric}: expected" in found.problems[0]
    assert f"as {field}, got" in found.problems[0]


def test_a_strength_that_shall_not_count_is_named(folder):
    def change(record):
        if record["point"]["label"] == "jpeg 50":
            record["point"]["image"]["scored"] = False
        return record

    found = verified(edit(folder, change))
    assert "expected True as point.image.scored, got False" in found.problems[0]


def test_an_edited_reading_is_found(folder):
    store = Store(folder / "store")
    plan, _ = read_request(folder, FAKES, folder / "store").plan()
    key = plan.reading_key(plan.fits[0], 0, None)
    (name,) = set(store.columns(key).values())
    shard = store.shard(key, name)
    arrays = {k: -v if k.endswith("/logits") else v for k, v in shard.arrays.items()}
    meta = dict(shard.meta)
    columns = meta.pop("columns")
    store.drop(key)
    store.append(key, name, arrays, columns, meta)  # with the digests of a real one
    found = verified(seal(clean(folder)))
    assert found.status == "refused"
    assert any(p.startswith("perfect under none: bit-accuracy: expected") for p in found.problems)


def clean(folder):
    """A bundle's folder without what opening its store for writing left there."""
    shutil.rmtree(folder / "store" / "tmp", ignore_errors=True)
    return folder


def test_weights_in_a_bundle_are_found(folder):
    store = Store(folder / "store")
    plan, _ = read_request(folder, FAKES, folder / "store").plan()
    meta = store.meta(plan.host_key)
    store.drop(plan.host_key)
    store.put(plan.host_key, {"weight": np.zeros(3, np.float32)}, meta)
    found = verified(seal(clean(folder)))
    assert [p for p in found.problems if "which are weights" in p]


def test_an_artefact_that_nothing_needs_is_found(folder):
    Store(folder / "store").put("a" * 64, {"weight": np.zeros(3, np.float32)}, {})
    found = verified(seal(clean(folder)))
    assert [p for p in found.problems if "is not needed by any number" in p]


def test_a_cell_that_was_left_out_is_named(folder):
    found = verified(edit(folder, lambda r: None if r["point"]["label"] == "jpeg 50" else r))
    assert found.status == "refused"
    assert "perfect under jpeg 50: expected numbers or an outcome" in found.problems[0]


def test_a_row_that_was_left_out_is_named(folder):
    found = verified(
        edit(folder, lambda r: None if is_row(r, "perfect", "jpeg 50", "attribution") else r)
    )
    assert found.problems == [
        "perfect under jpeg 50: attribution: expected a record of it, got none; it was left out"
    ]


def test_a_metric_that_was_left_out_is_no_more_than_self_reported(folder):
    found = verified(edit(folder, lambda r: None if r["metric"] == "attribution" else r))
    assert found.status == "self-reported"
    assert "metric attribution: the bundle has no row of it" in found.reasons[0]


def test_numbers_that_are_kept_back_are_named(folder):
    kept = []

    def change(record):
        if record["method"]["label"] != "perfect" or record["point"]["label"] != "jpeg 50":
            return record
        kept.append(record)
        named = {"metric": "", "variant": "", "outcome": "failed", "reason": "it was too bad"}
        return renamed({**record, **named, "value": None}) if len(kept) == 1 else None

    found = verified(edit(folder, change))
    assert len(found.problems) == 1
    assert f"expected {len(kept)} numbers" in found.problems[0]
    assert "got “failed”" in found.problems[0]


def unmeasured(folder, outcome, **more):
    """Take the numbers and a reading of one cell out of a bundle; say that it ended otherwise."""
    store = Store(folder / "store")
    plan, _ = read_request(folder, FAKES, folder / "store").plan()
    named = ("perfect", "fine-tune 1")
    (cell,) = [c for c in plan.cells if (c.fit.method.label, c.point.label) == named]
    store.drop(plan.reading_key(cell.fit, 0, cell.point.model))
    record = {**outcome_record(plan, cell, outcome, "it broke", ""), **more}
    others = [
        r
        for r in lines(folder / "records.jsonl")
        if (r["method"].get("label"), r["point"]["label"]) != named
    ]
    return rewritten(clean(folder), [*others, record])


def rewritten(folder, records):
    text = "".join(json.dumps(r) + "\n" for r in records)
    (folder / "records.jsonl").write_text(text)
    return seal(folder)


def test_a_cell_that_failed_is_shown_as_such(folder):
    assert verified(unmeasured(folder, Outcome.FAILED)).status == "re-scored"


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.NOT_SUPPORTED])
def test_only_rules_refuse_a_cell(folder, outcome):
    (problem,) = verified(unmeasured(folder, outcome)).problems
    assert "perfect under fine-tune 1: expected numbers, or one of blocked, failed" in problem
    assert "though no rule of the suite refuses it" in problem


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("point.image", {"point": {"label": "fine-tune 1", "image": {"kind": "x"}, "model": None}}),
        ("level", {"level": "image"}),
        ("detail", {"detail": {"refused_by": "attack"}}),
        ("value", {"value": 1.0}),
    ],
)
def test_a_cell_that_failed_says_nothing_else(folder, field, more):
    (problem,) = verified(unmeasured(folder, Outcome.FAILED, **more)).problems
    assert f"as {field}, got" in problem


def test_numbers_under_the_key_of_another_cell_are_named(folder):
    def change(record):
        mine = is_row(record, "perfect", "none", record["metric"], record["variant"])
        return {**record, "cell": "0" * 64} if mine else record

    (problem,) = verified(edit(folder, change)).problems
    assert "1 of 7 cells have other keys than here, e.g. perfect under none" in problem
    found = verified(edit(folder, lambda r: {**r, "cell": f"{r['cell'][1:]}0"}))
    assert found.status == "self-reported"
    assert "the source of a metric was another one" in found.reasons[0]


def called_unavailable(folder, **parts):
    record = next(r for r in lines(folder / "records.jsonl") if not r["metric"])
    nothing = {"cell": "", "level": "", "outcome": "unavailable", "detail": {}, "reason": "gone"}
    return renamed({**record, **nothing, **parts})


def test_what_is_called_unavailable_and_is_installed_here_is_named(folder):
    suite = json.loads((folder / "suite.json").read_text())
    suite["attacks"] = [a for a in suite["attacks"] if a["label"] != "jpeg"]
    (folder / "suite.json").write_text(json.dumps(suite))
    record = called_unavailable(folder, method={}, point={"label": "jpeg"})
    kept = [r for r in lines(folder / "records.jsonl") if r["point"]["label"] != "jpeg 50"]
    found = verified(rewritten(folder, [*kept, record]))
    assert found.status == "self-reported"
    assert found.reasons[0].startswith("attack jpeg: the bundle calls it unavailable, and it is")
    # The same as a method: the attack itself is missing then.
    record = called_unavailable(folder, method={"label": "jpeg"}, point={"label": ""})
    found = verified(rewritten(folder, [*kept, record]))
    assert "expected methods of the suite, got 'jpeg'" in found.problems[0]
    assert "got another attacks" in found.problems[1]


def test_images_among_what_numbers_are_made_of_are_found(folder):
    store = Store(folder / "store")
    store.put("a" * 64, {"sheet": np.zeros((2, 3, 8, 8), dtype=np.uint8)}, {})
    # Found also by who lacks the plugins to make the numbers again.
    problems = verified(seal(clean(folder)), plugins=()).problems
    assert problems == [
        "store: expected no images in artefact aaaaaaaaaaaaaaaa…, got some; export again"
    ]


def test_photographs_are_found_where_the_manifest_denies_them(runs, tmp_path):
    shown = exported(runs[0], tmp_path / "b.zip", keep_real=True)
    shutil.unpack_archive(shown, tmp_path / "bundle")
    problems = verified(seal(tmp_path / "bundle", real=False)).problems
    texts = " ".join(problems)
    assert "got 'real'" in texts
    assert "got 'perfect under leaked-code'" in texts
    assert "expected no strips, since the images of the data set are photographs" in texts


def test_a_bundle_that_no_page_can_be_drawn_of_is_named(shown):
    folder = shown
    index = json.loads((folder / "samples" / "samples.json").read_text())
    index["methods"]["perfect"]["training"] = {"host": {"not a step": "host.png"}}
    (folder / "samples" / "samples.json").write_text(json.dumps(index))
    texts = " ".join(verified(seal(folder)).problems)
    assert "expected a bundle that a page can be drawn of" in texts


def renamed(record):
    """A record with the identity that it has now."""
    from fpbench.execute.records import record_id

    return {**record, "record_id": record_id(record)}


def test_rows_of_another_version_of_a_metric_are_named(folder):
    def change(record):
        old = record["metric"] == "attribution"
        return {**record, "metric_version": "0", "value": 0.5} if old else record

    found = verified(edit(folder, change))
    assert found.status == "self-reported"
    assert "metric attribution: expected rows of version" in found.reasons[0]
    assert found.numbers > 0


def test_trainings_by_other_source_are_named(folder):
    def change(record):
        if record["method"]["label"] == "perfect" and record["metric"]:
            record["inputs"]["fit"] = "0" * 64
        return record

    found = verified(edit(folder, change))
    assert found.status == "self-reported"
    assert "method perfect: expected the training" in found.reasons[0]


def test_components_that_are_not_installed_are_named(folder):
    found = verified(folder, plugins=())
    assert found.status == "self-reported"
    assert found.numbers == 0
    assert [r.partition(" is not")[0] for r in found.reasons] == [
        "host tiny-host",
        "method perfect",
        "method blind",
    ]


BROKEN = {
    "NaN": (lambda line: line.replace('"value": 1.0', '"value": NaN', 1), "the number NaN"),
    "no JSON": (lambda line: line[:-5], "records.jsonl"),
    "another schema": (
        lambda line: line.replace('"schema_version": 2', '"schema_version": 99'),
        "of a newer fpbench",
    ),
    "an older schema": (
        lambda line: line.replace('"schema_version": 2', '"schema_version": 0'),
        "cannot be read any more",
    ),
    "a name": (lambda line: line.replace('"metric": "', '"metric": "x'), "it was edited"),
    "another suite": (lambda line: line.replace('"seed": 3', '"seed": 4'), "it was edited"),
    "twice": (lambda line: f"{line}\n{line}", "expected every record once"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_line_that_is_broken_is_named(folder, what):
    change, message = BROKEN[what]
    file = folder / "records.jsonl"
    rows = [json.dumps(record) for record in lines(file)]
    number = next(n for n, row in enumerate(rows) if '"value": 1.0' in row)
    rows[number] = change(rows[number])
    file.write_text("\n".join(rows) + "\n")
    found = verified(seal(folder))
    assert found.status == "refused"
    assert any(message in p and f"line {number + 1}" in p for p in found.problems[:2]) or (
        what == "twice" and message in found.problems[0]
    )


def test_fields_that_nobody_knows_are_kept_and_said(folder):
    found = verified(edit(folder, lambda r: {**r, "mood": "fine"}))
    assert found.status == "re-scored"
    assert any("mood" in note for note in found.notes)


def test_a_bundle_of_an_older_schema_is_read_and_not_made_again(folder):
    new = ("tier", "budget", "damage", "effect", "sample")

    def older(record):
        return {k: v for k, v in record.items() if k not in new} | {"schema_version": 1}

    found = verified(edit(folder, older))
    assert (found.status, found.problems) == ("self-reported", [])
    assert "schema version 1, of an older fpbench" in found.reasons[0]


def test_what_was_installed_elsewhere_is_no_contradiction(folder):
    def elsewhere(record):
        other = {"distribution": {"name": "fpbench", "version": "9"}, "packages": {"torch": "9"}}
        return {**record, "method": {**record["method"], **other}}

    assert verified(edit(folder, elsewhere)).status == "re-scored"


def test_an_edited_suite_is_found(folder):
    suite = json.loads((folder / "suite.json").read_text())
    suite["score"]["damage_budget"] = 99.0
    (folder / "suite.json").write_text(json.dumps(suite))
    found = verified(seal(folder))
    assert "suite.json: expected what suite.toml and request.json come to" in found.problems[0]
    assert "another score" in found.problems[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("suite.json", "[]"),
        ("suite.json", '{"suite": {}}'),
        ("suite.toml", "[suite"),
        ("suite.toml", '[suite]\nname = "shown"'),
        ("request.json", "{}"),
        ("request.json", '{"suite": "x", "assignments": [1]}'),
        ("request.json", '{"suite": "x", "backbones": {"2048": {}}}'),
        ("samples/samples.json", "[]"),
        ("samples/samples.json", '{"methods": {"perfect": {"codes": 3}}}'),
        ("samples/host.png", "<script>"),
    ],
)
def test_files_that_are_not_what_a_run_writes_are_named(shown, name, text):
    folder = shown
    (folder / name).write_text(text)
    found = verified(seal(folder))
    assert found.status == "refused"
    assert any(name.partition("/")[0] in p and "expected" in p for p in found.problems)


def test_strips_that_nobody_shows_are_named(shown):
    folder = shown
    shutil.copy(folder / "samples" / "host.png", folder / "samples" / "more.png")
    (folder / "samples" / "perfect-copy-0.png").unlink()
    found = verified(seal(folder))
    assert found.problems == [
        "samples: 'perfect-copy-0.png' is listed and not there",
        "samples: 'more.png' is there and not listed",
    ]


# -- what is added -------------------------------------------------------------------------------


def add(path, board, plugins=FAKES, *, replace_checked=False, **options):
    with open_bundle(path) as bundle:
        found = verify(bundle, plugins, **options)
        return add_to_board(bundle, found, board, replace_checked=replace_checked)


def content(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def board(tmp_path):
    return tmp_path / "leaderboards" / "shown"


def test_a_board_of_two_submissions(bundles, board):
    first = add(bundles[0], board)
    assert first.changed
    before = RecordLog(board / "records.jsonl").read()
    assert first.changes.added == len(before)
    second = add(bundles[1], board)
    after = RecordLog(board / "records.jsonl").read()
    assert before.items() <= after.items()
    assert second.changes.superseded == second.changes.withdrawn == 0
    inputs = read_inputs(board)
    assert [m["label"] for m in inputs.suite["methods"]] == ["perfect", SCRIPT, "newcomer"]
    assert len(inputs.records) == len(after)
    assert not inputs.samples.methods  # what generators make of photographs
    listed = json.loads((board / "submissions.json").read_text())["submissions"]
    assert [(s["status"], s["methods"]) for s in listed] == [
        ("re-scored", ["perfect", SCRIPT]),
        ("re-scored", ["newcomer"]),
    ]
    assert sorted(p.name for p in board.parent.iterdir()) == ["shown"]


def test_nothing_of_others_gets_markup_into_the_page_or_the_change_log(bundles, board):
    add(bundles[0], board)
    assert "&lt;script&gt;" in (board / "CHANGELOG.md").read_text()
    for file in (board / "CHANGELOG.md", *board.glob("page/**/*.html")):
        assert SCRIPT not in file.read_text(), file


def test_the_same_bundle_twice_changes_nothing(bundles, board, tmp_path):
    add(bundles[0], board)
    before = content(board)
    assert not add(bundles[0], board).changed
    assert content(board) == before
    elsewhere = tmp_path / "elsewhere" / "shown"
    add(bundles[0], elsewhere)
    assert [*content(elsewhere).values()] == [*before.values()]


def test_a_method_that_is_there_is_superseded_and_the_log_says_how(bundles, board):
    add(bundles[0], board)
    old = RecordLog(board / "records.jsonl").read()
    history = (board / "records.jsonl").read_bytes()
    found = add(bundles[2], board).changes
    new = RecordLog(board / "records.jsonl").read()
    assert (board / "records.jsonl").read_bytes().startswith(history)
    assert value(new, "perfect", "none", "attribution")["method"]["bits"] == 12
    assert value(new, SCRIPT, "none", "bit-accuracy") == value(old, SCRIPT, "none", "bit-accuracy")
    assert found.superseded > 0
    assert found.moved
    log = (board / "CHANGELOG.md").read_text()
    assert "The method perfect is another one: bits 16 → 12" in log
    assert log.index("bits 16") < log.index("&lt;script")  # newest first
    assert len([x for x in log.splitlines() if " under " in x]) <= 20
    _, before, after = found.moved[0]
    assert f": {before:.6g} → {after:.6g}" in log
    # The page shows the new one alone.
    shown = {
        r["method"]["bits"] for r in read_inputs(board).records if r["method"]["label"] == "perfect"
    }
    assert shown == {12}


def test_an_older_bundle_does_not_replace_a_newer_one(bundles, board, folder):
    add(bundles[0], board)
    older = edit(folder, lambda r: {**r, "created_utc": "2001-01-01T00:00:00+00:00"})
    before = content(board)
    with pytest.raises(StoreError, match="that are newer than those of"):
        add(older, board)
    assert content(board) == before


def test_what_is_wrong_is_not_added(folder, board):
    edit(folder, lambda r: None if r["point"]["label"] == "jpeg 50" else r)
    with pytest.raises(StoreError, match="passes `fpbench verify`"):
        add(folder, board)
    assert not board.exists()


def test_self_reported_bundles_are_marked_and_verified_later(bundles, board):
    add(bundles[0], board, rescore=False)
    (entry,) = json.loads((board / "submissions.json").read_text())["submissions"]
    assert entry["status"] == "self-reported"
    assert "Self-reported: its numbers were not made again" in (board / "CHANGELOG.md").read_text()
    records = (board / "records.jsonl").read_bytes()
    assert add(bundles[0], board).changed
    (entry,) = json.loads((board / "submissions.json").read_text())["submissions"]
    assert entry["status"] == "re-scored"
    assert (board / "records.jsonl").read_bytes() == records


def test_what_was_made_again_is_not_replaced_by_what_is_only_said(bundles, board, folder):
    add(bundles[0], board)
    before = content(board)
    seal(folder, note="another")
    with pytest.raises(StoreError, match="--replace-checked"):
        add(folder, board, rescore=False)
    assert content(board) == before
    assert add(folder, board, rescore=False, replace_checked=True).changes.badges
    log = (board / "CHANGELOG.md").read_text()
    assert "The badge of perfect is another one: re-scored → self-reported." in log


def test_points_that_say_something_else_are_not_added(bundles, board, tmp_path):
    def change(record):
        if record["point"]["label"] == "jpeg 50":
            record["point"]["image"]["scored"] = False
        return record

    add(bundles[0], board)
    shutil.unpack_archive(bundles[1], tmp_path / "other")
    with pytest.raises(StoreError, match=r"point jpeg 50 \(image.scored\): the board has true"):
        add(edit(tmp_path / "other", change), board, rescore=False)


def test_records_of_methods_of_others_are_not_merged(bundles, board):
    with open_bundle(bundles[0]) as bundle:
        with pytest.raises(StoreError, match="expected records of perfect alone, got some of <scr"):
            boards._own(bundle, board, {"methods": ["perfect"]}, {})
        there = boards._own(bundle, board, {"methods": ["perfect", SCRIPT]}, {})
        with pytest.raises(StoreError, match="got some of"):
            boards._own(bundle, board, {"methods": ["perfect", SCRIPT]}, there)


def test_what_was_unavailable_is_no_matter_of_the_board(folder, board):
    record = called_unavailable(folder, method={}, point={"label": "away"})
    rewritten(folder, [*lines(folder / "records.jsonl"), record])
    add(folder, board, rescore=False)
    assert record["record_id"] not in RecordLog(board / "records.jsonl").read()


def test_reasons_name_no_place_of_the_machine(bundles, board):
    with open_bundle(bundles[0]) as bundle:
        found = verify(bundle, FAKES, rescore=False)
        found.reasons = ["plugin broken: in /home/maintainer/secret/y.py"]
        add_to_board(bundle, found, board)
    for name in ("submissions.json", "CHANGELOG.md"):
        assert "broken: in y.py" in (board / name).read_text()


def test_a_bundle_is_not_its_own_board(folder):
    before = content(folder)
    with pytest.raises(StoreError, match="expected another folder than the bundle's own"):
        add(folder, folder)
    assert content(folder) == before


def test_a_linked_board_stays_a_link(bundles, board, tmp_path):
    add(bundles[0], tmp_path / "real")
    board.parent.mkdir()
    board.symlink_to(tmp_path / "real")
    assert add(bundles[1], board).changed
    assert board.is_symlink()
    assert len(boards.read_submissions(tmp_path / "real")) == 2


def test_a_board_that_cannot_be_put_in_place_is_put_back(bundles, board, monkeypatch):
    add(bundles[0], board)
    before, rename = content(board), Path.rename

    def refusing(path, target):
        if path.parent.name == ".shown.new":
            raise OSError("no")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refusing)
        with pytest.raises(OSError, match="no"):
            add(bundles[1], board)
    assert content(board) == before


UNLIKE = {
    "another seed": (("seed = 3", "seed = 4"), "seed"),
    "another population": (("copies = 5", "copies = 6"), "population.copies"),
    "another score": (("registered = 30", "registered = 40"), "score.registered"),
    "another attack": (("clean_images = 8", "clean_images = 9"), "attacks fine-tune.clean_images"),
}


@pytest.mark.parametrize("what", UNLIKE)
def test_numbers_that_cannot_be_compared_are_not_added(bundles, board, what):
    (old, new), name = UNLIKE[what]
    add(bundles[0], board)
    suite = json.loads((board / "suite.json").read_text())
    # The board is the other one: a bundle whose suite was edited would not get here.
    text = (board / "suite.toml").read_text()
    assert old in text
    key, number = new.split(" = ")
    for table in (suite["suite"], suite["population"], suite["score"], *suite["attacks"]):
        if key in table and table[key] == int(old.split(" = ")[1]):
            table[key] = int(number)
    (board / "suite.json").write_text(json.dumps(suite))
    before = content(board)
    with pytest.raises(StoreError, match=name):
        add(bundles[1], board)
    assert content(board) == before


def test_numbers_of_other_images_are_not_added(bundles, board):
    add(bundles[0], board)
    text = (board / "submissions.json").read_text()
    data = json.loads(text)["submissions"][0]["data"]
    (board / "submissions.json").write_text(text.replace(data, "0" * 64))
    with pytest.raises(StoreError, match="images: the board's have the digest 0000"):
        add(bundles[1], board)


def test_files_of_a_board_that_are_not_ours_stay(bundles, board):
    board.mkdir(parents=True)
    (board / "README.md").write_text("in words")
    (board / "suite.toml").write_text('[suite]\nname = "shown"\nseed = 3\n# by hand\n')
    add(bundles[0], board)
    add(bundles[1], board)
    assert (board / "README.md").read_text() == "in words"
    assert "# by hand" in (board / "suite.toml").read_text()


@pytest.mark.parametrize("moment", ["build_page", "merge_strips", "_log"])
def test_a_kill_leaves_the_old_board(bundles, board, monkeypatch, moment):
    add(bundles[0], board)
    before = content(board)

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(boards, moment, killed)
        with pytest.raises(KeyboardInterrupt):
            add(bundles[1], board)
    assert content(board) == before
    assert add(bundles[1], board).changed


def test_a_kill_between_two_renames_is_mended(bundles, board):
    add(bundles[0], board)
    before = content(board)
    board.rename(board.with_name(".shown.old"))
    assert not add(bundles[0], board).changed
    assert content(board) == before


# -- on the command line -------------------------------------------------------------------------


@pytest.fixture
def fpbench(monkeypatch, capsys):
    """Runs a command in this process; (exit code, lines of both outputs)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fpbench", "-p", FAKES[0], *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, (out + err).splitlines()

    return run


def test_from_a_run_to_a_board(fpbench, runs, board, tmp_path):
    path = tmp_path / "b.zip"
    code, said = fpbench("export", runs[0], "-o", path, "--submitter", "somebody")
    assert (code, said[-1]) == (0, f"Next: fpbench verify {path}")
    code, said = fpbench("verify", path)
    assert code == 0
    assert said[-2] == "Result: RE-SCORED"
    assert said[-1].startswith("Next: send it to the board's maintainers, or add it to a board")
    assert said[-1].endswith(f": fpbench board add {path} leaderboards/shown")
    code, said = fpbench("board", "add", path, board)
    assert code == 0
    assert said[-1].startswith("Next: read ")
    code, said = fpbench("board", "add", path, board)
    assert code == 0
    assert "nothing was changed" in said[-1]
    assert fpbench("report", board)[0] == 0


def test_a_bundle_that_is_wrong_ends_the_command_with_1(fpbench, folder, board):
    edit(
        folder, lambda r: {**r, "value": 0.5} if is_row(r, "perfect", "none", "attribution") else r
    )
    for command in (["verify", folder], ["board", "add", folder, board]):
        code, said = fpbench(*command)
        assert code == 1
        assert said[-2] == "Result: REFUSED"
        assert said[-1].startswith("Next: ")
    code, said = fpbench("verify", folder, "--json")
    assert (code, json.loads(said[0])["status"]) == (1, "refused")
    (folder / "suite.toml").write_text("changed")
    code, said = fpbench("verify", folder)
    assert code == 1
    assert "suite.toml: expected" in said[0]


def test_self_reported_is_said_loudly_and_is_no_failure(bundles):
    done = CliRunner().invoke(cli, ["verify", str(bundles[0])])
    assert done.exit_code == 0
    assert "self-reported: method perfect is not installed here" in done.output
    assert "Result: SELF-REPORTED" in done.output


def test_texts_of_others_do_not_steer_the_terminal(fpbench, folder):
    suite = json.loads((folder / "suite.json").read_text())
    suite["host"]["name"] = "tiny\x1b[31m"
    (folder / "suite.json").write_text(canonical_json(suite))
    _, said = fpbench("verify", seal(folder))
    assert any("tiny�[31m" in line for line in said)


def test_a_zip_file_of_an_edited_folder_is_the_same_bundle(folder, tmp_path):
    path = packed(folder, tmp_path / "b.zip")
    assert verified(path) == verified(folder)
