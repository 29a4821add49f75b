import pytest

from fpbench.api import Refusal, SpecError
from fpbench.plan import Kind, Want, graph_of, make_plan
from fpbench.plan.identity import source_digest, tree_digest
from fpbench.plan.status import status_of
from fpbench.registry import load
from fpbench.spec import read_suite
from fpbench.store import Store
from fpbench.testing.fakes import Perfect


@pytest.fixture(scope="module")
def catalogue():
    return load(["fpbench.testing.fakes"])


@pytest.fixture
def plan(suite_file, catalogue):
    def make(*replacements, **options):
        suite = read_suite(str(suite_file(*replacements)), catalogue, **options)
        return make_plan(suite, catalogue.metrics())

    return make


def keys(plan):
    readings = {
        (fit.method.label, fit.seed, user, model and model.label): plan.reading_key(
            fit, user, model
        )
        for fit in plan.fits
        for model in plan.open_points(fit)
        for user in range(plan.copies(fit, model))
    }
    cells = {(c.fit.method.label, c.fit.seed, c.point.label): c.key for c in plan.cells}
    return {"host": plan.host_key, "reference": plan.reference_key, **readings, **cells}


def changed(a, b):
    return {name for name in a.keys() & b.keys() if a[name] != b[name]}


def test_points_are_a_star(plan):
    made = plan()
    labels = [point.label for point in made.points]
    assert labels == [
        "none", "jpeg 90", "jpeg 50", "weight-noise 0.1", "weight-noise 0.3",
        "fine-tune 1", "fine-tune 3", "bypass",
    ]  # fmt: skip
    assert len(made.cells) == 2 * len(labels)
    assert len(set(keys(made).values())) == len(keys(made))


def test_same_suite_has_same_keys(plan):
    assert keys(plan()) == keys(plan())


def test_a_new_image_point_changes_no_reading(plan):
    a, b = plan(), plan(("quality = [90, 50]", "quality = [90, 50, 30]"))
    assert not changed(keys(a), keys(b))
    assert len(b.cells) == len(a.cells) + 2


def test_more_users_change_measures_but_no_reading_and_no_training(plan):
    moved = changed(keys(plan()), keys(plan(("copies = 5", "copies = 8"))))
    cells = {(c.fit.method.label, c.fit.seed, c.point.label) for c in plan().cells}
    assert moved == cells


def test_host_negatives_follow_the_latents_of_the_copies(plan):
    a, b = plan(), plan(("images = 4\n", "images = 3\n"))
    assert a.null_key(a.fits[0], "host", None) != b.null_key(b.fits[0], "host", None)
    assert a.null_key(a.fits[0], "real", None) == b.null_key(b.fits[0], "real", None)


def test_a_parameter_of_one_method_touches_that_method_alone(plan):
    moved = changed(keys(plan()), keys(plan(('use = "blind"', 'use = "blind"\nbits = 32'))))
    assert {name[0] for name in moved} == {"blind"}


def test_training_seeds_share_host_and_codes(plan, monkeypatch):
    monkeypatch.setattr(Perfect, "trains", True)
    made = plan(seeds="0,1")
    assert len({fit.key for fit in made.fits if fit.method.label == "perfect"}) == 2
    assert changed(keys(plan()), keys(made)) == set()


def test_a_method_that_trains_nothing_is_run_once_whatever_seeds_are_asked_for(plan):
    one, more, later = plan(), plan(seeds="0..2"), plan(seeds="1,2")
    for made, seed in ((one, 0), (more, 0), (later, 1)):
        assert [(fit.method.label, fit.seed) for fit in made.fits] == [
            ("perfect", seed),
            ("blind", seed),
        ]
        assert [fit.drawn_from for fit in made.fits] == [0, 0]
    assert [fit.key for fit in later.fits] == [fit.key for fit in one.fits]


def test_attacks_on_weights_are_refused_where_the_marking_step_is_opaque(plan, monkeypatch):
    monkeypatch.setattr(Perfect, "opaque", True)
    more = '[[attacks]]\nuse = "collude"\nusers = 2\n[[attacks]]\nuse = "distil"\nsteps = 1\n'
    made = plan(("[population]", more + "[population]"))
    refused = {
        c.point.label: (c.refusal.reason, c.refused_by)
        for c in made.cells
        if c.refusal and c.fit.method.label == "perfect"
    }
    assert set(refused) == {
        "weight-noise 0.1", "weight-noise 0.3", "fine-tune 1", "fine-tune 3", "collude 2",
    }  # fmt: skip
    reason = "the marking step is opaque: nobody can change its weights here"
    assert set(refused.values()) == {(reason, "attack")}
    assert not any(c.refusal for c in made.cells if c.fit.method.label == "blind")


def test_attacks_that_do_not_reach_a_post_hoc_mark_are_refused(plan):
    more = '[[attacks]]\nuse = "swap-step"\nshare = 0.5\n[[attacks]]\nuse = "scale-reset"\n'
    made = plan(("[population]", more + "[population]"))
    refused = {
        (c.fit.method.label, c.point.label): c.refusal.reason for c in made.cells if c.refusal
    }
    assert set(refused) == {("perfect", "swap-step 0.5"), ("perfect", "scale-reset")}
    assert all(reason.startswith("it does not reach the mark") for reason in refused.values())


def test_a_copy_that_a_tuned_attack_made_follows_the_rule_it_was_tuned_by(plan):
    tuned = ("steps = [1, 3]", "steps = [1, 3]\ntune = { learning_rate = [1e-3, 1e-2] }")
    tighter = ("false_rate = 0.01", "false_rate = 0.01\ndamage_budget = 1.25")
    moved = changed(keys(plan(tuned)), keys(plan(tuned, tighter)))
    readings = {name[-1] for name in moved if len(name) == 4}
    assert readings == {"fine-tune 1", "fine-tune 3"}


def test_suite_seed_changes_everything(plan):
    a, b = keys(plan()), keys(plan(('name = "fakes"', 'name = "fakes"\nseed = 1')))
    assert changed(a, b) == a.keys() - {"reference"}


def test_labels_are_no_part_of_keys(plan):
    a = plan()
    b = plan(('use = "jpeg"', 'use = "jpeg"\nlabel = "squeeze"'), ('name = "fakes"', 'name = "x"'))
    assert [c.key for c in a.cells] == [c.key for c in b.cells]


def test_refused_cells_carry_their_reason(plan, monkeypatch):
    from fpbench.testing.fakes import Blind

    def refuse(self, host, attack):
        return Refusal("no, thanks") if attack is not None and attack.name == "jpeg" else None

    monkeypatch.setattr(Blind, "refuse", refuse)
    refused = [c for c in plan().cells if c.refusal]
    assert {(c.fit.method.label, c.point.label) for c in refused} == {
        ("blind", "jpeg 90"),
        ("blind", "jpeg 50"),
    }


def test_coalitions_share_no_member_and_belong_to_their_first_user(plan):
    made = plan(('use = "bypass"', 'use = "collude"\nusers = [2, 3]'))
    two, three = [m for m in made.open_points(made.fits[0]) if m and m.kind == "coalition"]
    assert made.subjects(made.fits[0], two) == [(0, 1), (2, 3)]
    assert made.subjects(made.fits[0], three) == [(0, 1, 2)]
    for point in (None, two, three):
        firsts = {made.subject(made.fits[0], point, user) for user in range(5)} - {None}
        assert firsts == set(range(len(made.subjects(made.fits[0], point))))
    assert made.subject(made.fits[0], two, 2) == 1
    assert made.subject(made.fits[0], two, 1) is None


def test_attacks_that_cannot_apply_are_refused_with_the_reason(plan):
    made = plan(
        ('use = "bypass"', 'use = "collude"\nusers = [5, 10]\n[[attacks]]\nuse = "re-embed"'),
        ("sigma = [0.1, 0.3]", "sigma = [0.1, 0.3]\ncopies = 4"),
    )
    reasons = {
        (c.fit.method.label, c.point.label): c.refusal.reason for c in made.cells if c.refusal
    }
    assert reasons["perfect", "collude 10"] == "it takes 10 users' copies, and there are 5"
    assert "no embedder" in reasons["blind", "re-embed"]
    assert set(reasons) == {
        ("perfect", "collude 10"),
        ("blind", "collude 10"),
        ("blind", "re-embed"),
    }
    # What is refused is not read either.
    assert {m.label for m in made.open_points(made.fits[1]) if m} == {
        "weight-noise 0.1", "weight-noise 0.3", "fine-tune 1", "fine-tune 3", "collude 5",
    }  # fmt: skip


def test_of_a_refused_cell_no_attack_is_asked_what_it_costs(plan):
    # Fakes train for no number of steps, of which this attack would take a share.
    made = plan(('use = "bypass"', 'use = "overwrite"\neffort = 0.25\nclean_images = 8'))
    refused = [cell for cell in made.cells if cell.refusal and "overwrite" in cell.point.label]
    assert [made.attack_steps(cell) for cell in refused] == [0, 0]
    spent = {c.point.label: made.attack_steps(c) for c in made.cells if c.open}
    assert (spent["fine-tune 3"], spent["none"]) == (3, 0)


def test_a_tuned_attack_has_keys_of_its_own_and_others_keep_theirs(plan):
    tuned = "steps = [1, 3]\ntune = { learning_rate = [1e-3, 1e-2] }"
    moved = changed(keys(plan()), keys(plan(("steps = [1, 3]", tuned))))
    assert {name[-1] for name in moved} == {"fine-tune 1", "fine-tune 3"}


def test_readings_follow_the_test_images_that_an_attack_takes(plan):
    forged = ('use = "bypass"', 'use = "copy-residual"\nobserved = 10')
    base = keys(plan(forged))
    more = changed(base, keys(plan(forged, ("real = 20", "real = 21"))))
    readings = {name[-1] for name in more if len(name) == 4}
    assert readings == {"fine-tune 1", "fine-tune 3", "copy-residual 10"}
    owned = changed(base, keys(plan(forged, ("clean_images = 8", "clean_images = 9"))))
    assert {name[-1] for name in owned if len(name) == 4} == readings


def test_a_chain_follows_the_parameters_of_its_parts(plan):
    def cells(quality):
        parts = f'parts = [{{ use = "gaussian-blur", sigma = 1 }}, {{ use = "jpeg", {quality} }}]'
        made = plan(('use = "bypass"', f'use = "chain"\n{parts}'))
        return {c.point.label: c.key for c in made.cells if c.fit.index == 0}

    a, b, c = cells("quality = 50"), cells("quality = 60"), cells('quality = 50, subsampling="444"')
    assert len({a["chain"], b["chain"], c["chain"]}) == 3
    assert a["jpeg 50"] == b["jpeg 50"]


def test_too_few_images_are_said_at_plan_time(plan):
    with pytest.raises(SpecError, match=r"at least 28 images in the split 'test', got 25"):
        plan(("test = 64", "test = 25"))


def test_status_counts_what_is_stored(plan, tmp_path):
    made, store = plan(), Store(tmp_path / "store")
    assert status_of(made, store).cells == {"stored": 0, "pending": 16, "refused": 0}
    store.put(made.cells[0].key, {}, {})
    store.put(made.host_key, {}, {})
    status = status_of(made, store)
    assert status.cells["stored"] == 1
    assert any(line.startswith("  host      tiny-host") for line in status.lines())
    assert status.as_json()["stages"][0]["stored"] == 1


def test_source_digest_ignores_comments_and_docstrings_only(tmp_path):
    a, b, c = (tmp_path / name / "m.py" for name in "abc")
    for path in (a, b, c):
        path.parent.mkdir()
    a.write_text('"""One."""\ndef f():\n    """Two."""\n    return 1  # why\n')
    b.write_text('"""Other."""\n\n\ndef f():\n    return 1\n')
    c.write_text("def f():\n    return 2\n")
    digests = [tree_digest({"m": path}) for path in (a, b, c)]
    assert digests[0] == digests[1] != digests[2]


def test_an_attack_is_not_another_one_when_its_neighbour_changes():
    files = {source_digest(f"fpbench_distortion.{name}") for name in ("geometric", "colour")}
    assert len(files) == 2
    assert source_digest("fpbench.testing.fakes") != source_digest("fpbench.builtin.plugin")


@pytest.mark.parametrize(
    ("replacements", "count"),
    [
        ([], 20),  # five copies, four images each
        ([("sigma = [0.1, 0.3]", "sigma = [0.1, 0.3]\nimages = 3")], 15),
        ([("sigma = [0.1, 0.3]", "sigma = [0.1, 0.3]\ncopies = 2\nimages = 3")], 20),
        ([("host = 20", "host = 7")], 7),
    ],
)
def test_distances_are_made_of_what_every_attack_on_enough_copies_has(plan, replacements, count):
    assert plan(*replacements).distance_count == count


LEARNERS = (
    'use = "bypass"',
    'use = "average"\ngain = 1.0\nclean_images = 8\n'
    '[[attacks]]\nuse = "embedder-leak"\nbudget = 4\nclean_images = 8\n'
    '[[attacks]]\nuse = "regenerate"\npasses = 1\nclean_images = 8',
)


def learnt(plan):
    """Columns of the attacks that learn, by training and attack."""
    return {
        (fit.method.label, image.attack.label): plan.column(fit, Want(image))
        for fit in plan.fits
        for image in plan.open_points(fit)[None]
        if image is not None and plan.learnt(fit, image)
    }


def test_what_is_learnt_of_a_method_is_learnt_anew_for_each(plan):
    made = plan(LEARNERS)
    stages = {s.label: s for s in graph_of(made).of(Kind.ATTACK_FIT)}
    assert set(stages) == {
        "prepare average on perfect", "prepare average on blind",
        "prepare embedder-leak on perfect", "prepare regenerate",
    }  # fmt: skip
    refused = {(c.fit.method.label, c.point.label) for c in made.cells if c.refusal}
    assert ("blind", "embedder-leak 4") in refused
    fit = made.fits[0]
    others = [made.issue_key(fit, user) for user in (5, 6)]
    assert stages["prepare average on perfect"].inputs == (fit.key, made.host_key, *others)
    assert stages["prepare embedder-leak on perfect"].inputs == (fit.key, made.host_key)
    assert not stages["prepare regenerate"].inputs
    issued = {s.user for s in graph_of(made).of(Kind.ISSUE)}
    assert issued == set(range(7))  # the last two of whom nothing is read
    assert {s.user for s in graph_of(made).of(Kind.COPY)} == set(range(5))
    steps = {c.point.label: made.image_steps(c) for c in made.cells if c.open}
    assert (steps["average 1"], steps["embedder-leak 4"], steps["regenerate 1"]) == (0, 400, 600)


def test_columns_tell_what_was_learnt_and_others_stay(plan):
    base = plan(LEARNERS)
    assert len(set(learnt(base).values())) == 4  # regenerate's is the same for both methods
    more = changed(learnt(base), learnt(plan(LEARNERS, ("copies = 5", "copies = 8"))))
    assert more == {("perfect", "average"), ("blind", "average")}  # the others are other users
    owned = plan((LEARNERS[0], LEARNERS[1].replace("clean_images = 8", "clean_images = 9")))
    assert changed(learnt(base), learnt(owned)) == learnt(base).keys()
    moved = changed(keys(base), keys(owned))
    assert {name[-1] for name in moved if len(name) == 3} >= {"average 1", "regenerate 1"}
    plain = {c.key for c in plan().cells if c.point.label.startswith("jpeg")}
    assert plain <= {c.key for c in base.cells}


def test_of_models_that_nobody_marked_no_image_teaches_a_mark(plan):
    made = plan(LEARNERS, ('use = "blind"', 'use = "retrained"'))
    refused = {
        c.point.label: c.refusal.reason for c in made.cells if c.refusal and c.fit is made.fits[1]
    }
    assert refused["average 1"].startswith("nothing is put into a copy")
    assert not made.others(made.fits[1])
