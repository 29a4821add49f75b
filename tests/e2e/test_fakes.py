import json
import os

import pytest
from rows import value

from fpbench.api import Outcome
from fpbench.builtin.codes.uniform import Uniform
from fpbench.plan import Plan, issued_codes
from fpbench.registry import load
from fpbench.stages import bench, boundary
from fpbench.stages.reading import GeneratorReader, ImageReader
from fpbench.store import Store
from fpbench.testing.fakes import Perfect


@pytest.fixture
def done(run_suite, suite_file):
    return run_suite(suite_file())


def test_known_answers_come_out(done):
    summary, records, _ = done
    assert summary.cells == {Outcome.DONE: 16}
    perfect = value(records, "perfect", "none", "bit-accuracy")
    assert perfect["value"] == 1
    assert perfect["detail"]["converged"]
    assert value(records, "perfect", "none", "attribution")["value"] > 0.99
    bypass = value(records, "perfect", "bypass", "bit-accuracy")
    assert abs(bypass["value"] - 0.5) < 0.15
    # Bypassing the only step that differs leaves the host's own images.
    assert value(records, "perfect", "bypass", "frechet-proxy", "copies")["value"] == pytest.approx(
        value(records, "perfect", "none", "frechet-proxy", "copies")["detail"]["host"],
        rel=1e-6,
    )
    blind = value(records, "blind", "none", "bit-accuracy")
    # 20 images of 16 fair coins: four standard deviations of the mean are 0.11.
    assert abs(blind["value"] - 0.5) < 0.12
    assert value(records, "blind", "none", "imperceptibility", "psnr")["value"] == 99
    assert value(records, "blind", "bypass", "damage", "psnr")["value"] == 99
    assert value(records, "blind", "none", "attribution", "n=1000000")["outcome"] == (
        "not-supported"
    )
    tells_what_a_cell_is(records)


def tells_what_a_cell_is(records):
    """Tier, budget, damage, sample and who offers what, of every attacked cell."""
    clean = value(records, "perfect", "none", "bit-accuracy")
    assert (clean["tier"], clean["budget"], clean["damage"]) == ("", None, None)
    assert clean["sample"]["shape"] == [3, 32, 32]
    assert clean["method"]["distribution"]["name"] == "fpbench"
    assert clean["method"]["packages"]["torch"] == clean["environment"]["packages"]["torch"]
    assert clean["environment"]["codecs"]["pillow libjpeg-turbo"] != "unknown"
    for point, tier, budget in (
        ("jpeg 50", "samples", 0.25),
        ("weight-noise 0.3", "copy", 0.5),
        ("bypass", "copy", 0.5),
        ("fine-tune 3", "training", 0.5),
    ):
        row = value(records, "perfect", point, "bit-accuracy")
        assert (row["tier"], row["budget"]) == (tier, budget)
        part = row["point"]["image" if tier == "samples" else "model"]
        assert (part["tier"], part["steps"]) == (tier, 3 if tier == "training" else 0)
        assert part["distribution"]["name"] == "fpbench"
    jpeg = value(records, "perfect", "jpeg 50", "attribution")
    assert jpeg["damage"] == 1 - value(records, "perfect", "jpeg 50", "damage", "ssim")["value"]
    distance = value(records, "perfect", "weight-noise 0.3", "frechet-proxy", "copies")
    told = distance["detail"]
    assert distance["damage"] == told["damage"]
    assert told["damage"] == pytest.approx((distance["value"] - told["untouched"]) / told["host"])


def test_an_inverted_reader_is_always_wrong_and_never_traced(run_suite, suite_file):
    _, records, _ = run_suite(
        suite_file(('use = "perfect"', 'use = "perfect"\nreads = "inverted"'))
    )
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 0
    assert value(records, "perfect", "none", "attribution")["value"] == 0
    assert value(records, "perfect", "none", "verification", "fpr=0.01")["value"] == 0
    assert value(records, "perfect", "none", "bit-accuracy")["detail"]["inverted"] is True
    # A reader that is always wrong lets all bits through; that is no reason to trace anybody.
    assert value(records, "perfect", "none", "capacity")["value"] == 16


BARE = (
    ('[[attacks]]\nuse = "weight-noise"\nsigma = [0.1, 0.3]\n', ""),
    (
        '[[attacks]]\nuse = "fine-tune"\nsteps = [1, 3]\ncopies = 3\nimages = 6\n'
        "clean_images = 8\n",
        "",
    ),
    ('[[attacks]]\nuse = "bypass"\n', ""),
    ('[[methods]]\nuse = "blind"\n', ""),
)


def test_dead_bits_are_no_capacity(run_suite, suite_file):
    stuck = ('use = "perfect"', 'use = "perfect"\nreads = "stuck"')
    _, records, _ = run_suite(suite_file(*BARE, stuck))
    row = value(records, "perfect", "none", "capacity")
    # Of bits in which five codes agree nobody can tell.
    codes = issued_codes(Uniform(Uniform.Params()), 16, 0, 5)[:, :6]
    assert row["detail"]["dead_bits"] == (codes != codes[0]).any(axis=0).sum() > 3
    assert row["value"] < 16 - row["detail"]["dead_bits"] + 1e-9


def test_copies_that_are_all_one_image_fail_the_gate(run_suite, suite_file):
    host = ('use = "tiny-host"', 'use = "tiny-host"\ncollapsed = true')
    _, records, _ = run_suite(suite_file(*BARE[:-1], host))
    row = value(records, "perfect", "none", "bit-accuracy")
    assert row["value"] == 1
    assert row["detail"]["converged"] is False
    assert row["detail"]["unconverged"] == "all images of the copies are alike"
    # Nor is a reader called constant that is shown one image.
    blind = value(records, "blind", "none", "bit-accuracy")
    assert blind["detail"]["unconverged"] == "all images of the copies are alike"


def test_chroma_subsampling_is_tried_side_by_side_on_the_same_marks(run_suite, suite_file):
    jpeg = 'use = "jpeg"\nquality = [90, 50]'
    both = "\n[[attacks]]\n".join(
        f'use = "jpeg"\nlabel = "jpeg {chroma}"\nquality = [50]\nsubsampling = "{chroma}"'
        for chroma in ("420", "444")
    )
    summary, records, _ = run_suite(suite_file(*BARE, (jpeg, both)))
    assert summary.cells == {Outcome.DONE: 3}
    half, whole = (
        value(records, "perfect", f"jpeg {chroma} 50", "damage", "psnr")
        for chroma in ("420", "444")
    )
    assert half["value"] < whole["value"]
    assert half["inputs"]["fit"] == whole["inputs"]["fit"]
    assert half["point"]["image"]["params"] == {"subsampling": "420"}
    assert "4:2:0" in load().get("attacks", "jpeg").card.summary


def test_a_reader_of_batch_statistics_is_caught(run_suite, suite_file):
    summary, records, _ = run_suite(
        suite_file(('use = "perfect"', 'use = "perfect"\nreads = "batch"'))
    )
    assert summary.cells == {Outcome.DONE: 8, Outcome.FAILED: 8}
    row = value(records, "perfect", "none", "")
    assert "perfect: extract" in row["reason"]
    assert "not to depend on its batch" in row["reason"]


def test_constant_readings_fail_with_the_methods_name(run_suite, suite_file):
    text = 'use = "broken"\nwhere = "constant"'
    _, records, _ = run_suite(suite_file(('use = "blind"', text)))
    row = value(records, "broken", "none", "")
    assert row["outcome"] == Outcome.FAILED
    assert "method broken: expected readings that depend on the image" in row["reason"]


def test_damage_grows_with_strength(done):
    _, records, _ = done
    for a, b in (("jpeg 90", "jpeg 50"), ("weight-noise 0.1", "weight-noise 0.3")):
        assert (
            value(records, "blind", a, "damage", "psnr")["value"]
            > value(records, "blind", b, "damage", "psnr")["value"]
        )


def test_images_of_nobody_are_attacked_once_for_all_methods(run_suite, suite_file, monkeypatch):
    from fpbench.store.records import content

    attacked = []
    attack = ImageReader._attacked

    def seen(reader, point, *rest):
        if reader._origin[0] in ("real", "host") and reader._model is None:
            attacked.append((reader._origin[0], reader._fit.index, point.label))
        return attack(reader, point, *rest)

    monkeypatch.setattr(ImageReader, "_attacked", seen)
    _, records, _ = run_suite(suite_file())
    assert {each[:2] for each in attacked} == {("real", 0), ("host", 0)}
    # The room for them is bounded; where there is none, every number is the same.
    monkeypatch.setattr(bench, "_REMEMBERED_BYTES", 0)
    attacked.clear()
    _, fresh, _ = run_suite(suite_file(), folder="fresh", store="fresh")
    assert {each[1] for each in attacked} > {0}
    assert {k: content(r) for k, r in records.items()} == {k: content(r) for k, r in fresh.items()}


def test_negatives_are_counted_and_attacked_alike(done):
    _, records, _ = done
    for point, sources in (
        ("jpeg 50", {"real": 20, "host": 20}),
        ("weight-noise 0.3", {"host": 10}),
    ):
        for source, count in sources.items():
            row = value(records, "perfect", point, "false-accusation", source)
            assert row["n"] == count
            assert row["high"] >= row["value"]
    assert value(records, "perfect", "none", "false-accusation", "unregistered")["n"] == 20


def test_records_hold_what_a_reader_needs(done):
    _, records, folder = done
    for record in records.values():
        assert record["suite"]["name"] == "fakes"
        assert record["modality"] == "image"
        assert record["metric"]
        assert record["environment"]["packages"]["torch"] != "unknown"
        assert set(record["inputs"]) == {"host", "fit", "reference", "readings"}
    cost = value(records, "perfect", "none", "cost")["cost"]
    assert cost["issue_s"] > 0
    assert cost["peak_memory_bytes"] > 2**20
    assert json.loads((folder / "suite.json").read_text())["population"]["copies"] == 5
    index = json.loads((folder / "samples" / "samples.json").read_text())
    assert set(index["methods"]) == {"perfect", "blind"}
    assert (folder / "samples" / index["methods"]["perfect"]["points"]["jpeg 50"]).is_file()


def test_running_again_does_nothing_and_changes_nothing(done, run_suite, suite_file):
    _, _, folder = done
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    summary, _, _ = run_suite(suite_file())
    assert summary.executed == 0
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_two_stores_give_the_same_records(done, run_suite, suite_file):
    from fpbench.store.records import content

    _, first, _ = done
    _, second, _ = run_suite(suite_file(), folder="other", store="other-store")
    assert {k: content(r) for k, r in first.items()} == {k: content(r) for k, r in second.items()}


def test_a_new_image_point_trains_nothing_and_draws_only_what_pages_show(
    run_suite, suite_file, monkeypatch
):
    from fpbench.store.records import content

    drawn = []
    draw = boundary.drawn
    monkeypatch.setattr(
        boundary,
        "drawn",
        lambda copy, latents: (drawn.append(len(latents)), draw(copy, latents))[1],
    )
    more = ("quality = [90, 50]", "quality = [90, 50, 30]")
    run_suite(suite_file())
    drawn.clear()
    summary, records, _ = run_suite(suite_file(more))
    assert not [label for label in summary.seconds if label.startswith("train")]
    # Of each method the two images of one copy under the new attack; the others are kept.
    assert drawn == [2, 2]
    assert value(records, "perfect", "jpeg 30", "bit-accuracy")["n"] == 20
    # Whatever is kept moves no number: not of copies, nor of the host that methods share.
    monkeypatch.setattr(Plan, "drawing_key", lambda *_: "")
    _, fresh, _ = run_suite(suite_file(more), folder="fresh", store="fresh")
    assert {k: content(r) for k, r in records.items()} == {k: content(r) for k, r in fresh.items()}


def test_the_host_is_attacked_once_for_all_methods(run_suite, suite_file, monkeypatch):
    attacked = []
    attack = GeneratorReader.attacked

    def seen(reader, models, attack_of):
        attacked.append((reader._origin[0], reader._fit.index, models[0].attack.label))
        return attack(reader, models, attack_of)

    monkeypatch.setattr(GeneratorReader, "attacked", seen)
    run_suite(suite_file())
    assert [each for each in attacked if each[0] == "host" and each[1] > 0] == []
    assert {each[2] for each in attacked if each[0] == "host"} == {
        "weight-noise", "fine-tune", "bypass"
    }  # fmt: skip


def test_new_users_leave_old_readings_alone(done, run_suite, suite_file, tmp_path):
    old = {p for p in (tmp_path / "store" / "objects").glob("??/*")}
    run_suite(suite_file(("copies = 5", "copies = 6")))
    stamps = {p: p.stat().st_mtime_ns for p in old}
    assert all(p.exists() for p in old)
    assert stamps == {p: p.stat().st_mtime_ns for p in old}


def test_users_who_join_are_compared_with_those_before_them(run_suite, suite_file):
    for copies in (4, 5):
        _, records, _ = run_suite(suite_file(*BARE, ("copies = 5", f"copies = {copies}")))
        row = value(records, "perfect", "none", "code-influence", "psnr")
        assert len(row["by_copy"]) == copies - 1


@pytest.mark.parametrize(
    ("where", "outcome", "message"),
    [
        ("fit", Outcome.BLOCKED, "the fit broke, as it was told to"),
        ("import", Outcome.UNAVAILABLE, "No module named 'no_such_package'"),
        ("nan", Outcome.FAILED, "values that are not finite"),
        ("shape", Outcome.FAILED, "expected finite floats"),
    ],
)
def test_a_broken_method_fails_alone(run_suite, suite_file, where, outcome, message):
    text = f'use = "broken"\nwhere = "{where}"'
    summary, records, folder = run_suite(suite_file(('use = "blind"', text)))
    assert summary.cells[Outcome.DONE] == 8
    assert summary.cells[outcome] == 8
    row = value(records, "broken", "jpeg 50", "")
    assert row["outcome"] == outcome
    assert message in row["reason"]
    assert value(records, "perfect", "none", "bit-accuracy")["value"] == 1
    assert list((folder / "logs").iterdir())


def test_a_training_that_does_not_fit_is_tried_in_halves(run_suite, suite_file):
    text = 'use = "broken"\nwhere = "tight"'
    summary, _, folder = run_suite(suite_file(('use = "blind"', text)))
    # It trained; that its reader is constant is another fault.
    assert "expected readings that depend on the image" in summary.problems[0][2]
    store = Store(folder.parent / "store")
    keys = [path.name for path in (folder.parent / "store" / "objects").glob("??/*")]
    metas = [store.meta(key) for key in keys if store.has(key)]
    assert {m["pieces"] for m in metas if "pieces" in m} == {1, 2}


def test_a_training_that_fits_in_no_way_has_an_outcome_of_its_own(run_suite, suite_file):
    text = 'use = "broken"\nwhere = "memory"'
    summary, records, folder = run_suite(suite_file(('use = "blind"', text)))
    row = value(records, "broken", "jpeg 50", "")
    assert row["outcome"] == Outcome.OUT_OF_MEMORY
    assert "half the batch at a time too (CUDA out of memory" in row["reason"]
    assert summary.cells[Outcome.OUT_OF_MEMORY] == summary.cells[Outcome.DONE]
    from fpbench.report.build import build_page

    page = build_page(folder, folder / "page").read_text()
    assert "out of memory" in page


def test_a_broken_attack_fails_alone_and_is_tried_again(run_suite, suite_file, monkeypatch):
    from fpbench_distortion.plugin import Jpeg

    real = Jpeg.apply

    def broken(self, images, indices, strength, ctx):
        if strength == 50:
            return images[:, :, :16]
        return real(self, images, indices, strength, ctx)

    with monkeypatch.context() as patch:
        patch.setattr(Jpeg, "apply", broken)
        summary, records, _ = run_suite(suite_file())
    assert summary.cells == {Outcome.DONE: 14, Outcome.FAILED: 2}
    reason = value(records, "perfect", "jpeg 50", "")["reason"]
    assert "attack jpeg: expected images uint8 (4, 3, 32, 32)" in reason
    assert value(records, "perfect", "jpeg 90", "bit-accuracy")["value"] == 1
    summary, records, _ = run_suite(suite_file())
    assert summary.cells == {Outcome.DONE: 16}
    assert ("", "perfect", "jpeg 50") not in {
        (r["metric"], r["method"]["label"], r["point"]["label"]) for r in records.values()
    }


def test_an_attack_that_changes_its_input_is_caught(run_suite, suite_file, monkeypatch):
    from fpbench_distortion.plugin import Jpeg

    def inplace(self, images, indices, strength, ctx):
        images[:, :, 0] = 0
        return images.clone()

    monkeypatch.setattr(Jpeg, "apply", inplace)
    _, records, _ = run_suite(suite_file())
    assert "changed its input" in value(records, "perfect", "jpeg 90", "")["reason"]


def test_a_failing_trajectory_keeps_the_marks_it_reached(run_suite, suite_file, monkeypatch):
    from fpbench_model_change.plugin import WeightNoise

    real = WeightNoise.apply

    def second_fails(self, surface, strengths, ctx):
        for strength, copy in real(self, surface, strengths, ctx):
            if strength > 0.2:
                raise RuntimeError("too strong")
            yield strength, copy

    monkeypatch.setattr(WeightNoise, "apply", second_fails)
    _, records, _ = run_suite(suite_file())
    assert value(records, "perfect", "weight-noise 0.1", "bit-accuracy")["value"] > 0.9
    assert "too strong" in value(records, "perfect", "weight-noise 0.3", "")["reason"]


def test_damaged_artefacts_are_reported_and_made_again_on_request(
    done, run_suite, suite_file, tmp_path
):
    from fpbench.execute.request import Request

    suite = suite_file(("quality = [90, 50]", "quality = [90, 50, 30]"))
    plugins = ("fpbench.testing.fakes",)
    plan, _ = Request(suite=str(suite), plugins=plugins).plan()
    key = plan.host_key
    victim = next((tmp_path / "store" / "objects").glob(f"??/{key}/main/arrays.safetensors"))
    good = victim.read_bytes()
    victim.write_bytes(good[:-4])
    summary, records, _ = run_suite(suite)
    assert summary.cells[Outcome.DONE] == 16
    row = value(records, "perfect", "jpeg 30", "")
    assert key[:16] in row["reason"]
    assert str(victim) in row["reason"]
    summary, records, _ = run_suite(suite, repair=True)
    assert summary.cells == {Outcome.DONE: 18}
    assert victim.read_bytes() == good


def test_repair_mends_what_no_missing_number_needs(done, run_suite, suite_file, tmp_path):
    from fpbench.execute.request import Request
    from fpbench.store.records import content

    _, records, _ = done
    plan, _ = Request(suite=str(suite_file()), plugins=("fpbench.testing.fakes",)).plan()
    fit, store = plan.fits[0], Store(tmp_path / "store")
    # A training, an issued code, a reading that is measured already.
    noisy = next(m for m in plan.open_points(fit) if m is not None)
    keys = [plan.host_key, plan.issue_key(fit, 1), plan.reading_key(fit, 0, noisy)]
    for key in keys:
        for payload in (tmp_path / "store" / "objects").glob(f"??/{key}/*/arrays.safetensors"):
            payload.write_bytes(payload.read_bytes()[:-1] + b"?")
    assert {damage.key for damage in store.verify()} == set(keys)
    summary, again, _ = run_suite(suite_file(), repair=True)
    assert summary.cells == {Outcome.DONE: 16}
    assert store.verify() == []
    assert all(store.started(key) for key in keys)
    assert {k: content(r) for k, r in again.items()} == {k: content(r) for k, r in records.items()}


def test_what_a_kill_left_half_written_is_swept(done, run_suite, suite_file, tmp_path):
    store = tmp_path / "store"
    old, fresh = store / "tmp" / "old", store / "tmp" / "fresh"
    for place in (old, fresh):
        place.mkdir()
        (place / "arrays.safetensors").write_bytes(b"half")
    torn = store / "leases" / ".new.1"
    torn.write_text("")
    for path in (old / "arrays.safetensors", old, torn):
        os.utime(path, (path.stat().st_mtime - 7200,) * 2)
    run_suite(suite_file())
    assert not old.exists()
    assert not torn.exists()
    assert fresh.exists()  # somebody may be writing it


def test_an_edited_measure_is_never_used(done, run_suite, suite_file, tmp_path):
    from fpbench.execute.request import Request

    plan, _ = Request(suite=str(suite_file()), plugins=("fpbench.testing.fakes",)).plan()
    key = plan.cells[0].key
    victim = next((tmp_path / "store" / "objects").glob(f"??/{key}/main/manifest.json"))
    victim.write_text(victim.read_text().replace('"value":1.0', '"value":0.9'))
    summary, _, _ = run_suite(suite_file())
    assert [(p[0], p[1]) for p in summary.problems] == [("perfect under none", Outcome.FAILED)]


def test_a_full_disk_stops_the_run_and_keeps_what_is_there(run_suite, suite_file, monkeypatch):
    import errno
    import os

    from fpbench.api import NoSpace

    calls = {"left": 60}
    fsync = os.fsync

    def filling(handle):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        with pytest.raises(NoSpace):
            run_suite(suite_file())
    summary, _, _ = run_suite(suite_file())
    assert summary.cells == {Outcome.DONE: 16}
    assert "train host tiny-host" not in summary.seconds


def test_an_unavailable_plugin_leaves_the_others_running(run_suite, suite_file, monkeypatch):
    from importlib.metadata import EntryPoint

    import fpbench.registry.catalogue as module

    points = module.entry_points
    bad = EntryPoint("my-method", "no_such_module.plugin", "fpbench")
    monkeypatch.setattr(module, "entry_points", lambda group: [*points(group=group), bad])
    summary, records, _ = run_suite(suite_file(('use = "blind"', 'use = "my-method"')))
    assert summary.cells == {Outcome.DONE: 8}
    assert summary.problems[0][:2] == ("my-method", Outcome.UNAVAILABLE)
    row = value(records, "my-method", "", "")
    assert "could not be loaded" in row["reason"]


def test_training_seeds_train_again_and_share_everything_else(run_suite, suite_file, monkeypatch):
    from fpbench.testing.fakes import Blind

    for cls in (Blind, Perfect):
        monkeypatch.setattr(cls, "trains", True)
    text = 'name = "fakes"\n[training]\nseeds = [0, 1]'
    summary, records, _ = run_suite(suite_file(('name = "fakes"', text)))
    assert summary.cells == {Outcome.DONE: 32}
    assert "train perfect (training seed 1)" in summary.seconds
    assert {r["training_seed"] for r in records.values()} == {0, 1}
