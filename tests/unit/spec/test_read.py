import pytest

from fpbench.api import SpecError
from fpbench.registry import load
from fpbench.spec import read_suite, suite_names


@pytest.fixture(scope="module")
def catalogue():
    return load(["fpbench.testing.fakes"])


def problems(path, catalogue, **options):
    with pytest.raises(SpecError) as caught:
        read_suite(str(path), catalogue, **options)
    return caught.value.problems


def test_quickstart_ships_with_fpbench(catalogue):
    assert "quickstart" in suite_names()
    suite = read_suite("quickstart", catalogue)
    assert suite.population.copies == 30
    assert suite.population.images == 18
    assert {m.component.name for m in suite.methods} == {
        "hidden",
        "scalable-gan",
        "weight-modulation",
    }


def test_every_mistake_is_reported_at_once_with_its_line(suite_file, catalogue):
    path = suite_file(
        ('use = "perfect"', 'use = "perfct"'),
        ('use = "blind"', 'use = "blind"\nbitz = 8'),
        ("quality = [90, 50]", "quality = [90, 500]"),
        ("[population]", "[populaton]"),
        ("sigma = [0.1, 0.3]", 'sigma = [0.1, 0.3]\ncopies = "many"'),
    )
    found = problems(path, catalogue)
    lines = path.read_text().splitlines()

    def place(text):
        return f"{path}:{next(i for i, line in enumerate(lines, 1) if text in line)}: "

    assert len(found) == 5
    expected = {
        "perfct": "did you mean 'perfect'?",
        "bitz": "did you mean 'bits'?",
        "quality": "from 1 to 100, got 500",
        "populaton": "did you mean 'population'?",
        'copies = "many"': "integer",
    }
    for text, message in expected.items():
        assert any(p.startswith(place(text)) and message in p for p in found), (text, found)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('use = "tiny-host"', "", "a key `use`"),
        ('[host]\nuse = "tiny-host"', "", r"a table \[host\]"),
        ('name = "fakes"', 'name = "No Spaces"', "suite.name"),
        ('use = "blind"', 'use = "perfect"', "'perfect' twice"),
        ("quality = [90, 50]", "quality = [90, 50]\nscored = [70.0]", r"\[70.0\] are not among"),
        ("copies = 5", "copies = 1", "greater than or equal to 2"),
        ("quality = [90, 50]", "quality = [90.5]", "whole numbers"),
        ("[suite]", "[suite", "not valid TOML"),
    ],
)
def test_mistakes_say_what_was_expected(suite_file, catalogue, old, new, message):
    with pytest.raises(SpecError, match=message):
        read_suite(str(suite_file((old, new))), catalogue)


def test_unknown_suite_names_the_nearest(catalogue):
    assert "did you mean 'quickstart'?" in problems("quickstrat", catalogue)[0]
    assert "no such file" in problems("elsewhere/suite.toml", catalogue)[0]


def test_assignments_change_values_and_components(suite_file, catalogue):
    suite = read_suite(
        str(suite_file()),
        catalogue,
        assignments=("population.copies=7", "dataset.use=image-folder", "dataset.path=/no/where"),
    )
    assert suite.population.copies == 7
    assert suite.dataset.name == "image-folder"
    assert suite.dataset.params.train == 64
    assert (
        "expected TABLE.KEY=VALUE"
        in problems(suite_file(), catalogue, assignments=("nonsense",))[0]
    )


@pytest.mark.parametrize("name", ["20240115", "2024_01_15", "2024-01-15", "1e5", "true", "[a]"])
def test_a_folder_whose_name_is_a_number_stays_text(suite_file, catalogue, name):
    assignments = ("dataset.use=image-folder", f"dataset.path={name}", "dataset.size=64")
    suite = read_suite(str(suite_file()), catalogue, assignments=assignments)
    assert suite.dataset.params.path == name
    assert suite.dataset.params.size == 64


def test_selectors_choose_and_set_parameters(suite_file, catalogue):
    suite = read_suite(
        str(suite_file()),
        catalogue,
        methods=("blind[bits=32]",),
        attacks=("jpeg[quality=70,30]", "gaussian-noise"),
        seeds="0..2",
    )
    assert [(m.label, m.component.bits) for m in suite.methods] == [("blind", 32)]
    assert [a.label for a in suite.attacks] == ["jpeg", "gaussian-noise"]
    assert suite.attacks[0].strengths == (70.0, 30.0)
    assert suite.training.seeds == (0, 1, 2)


def test_a_selector_names_one_entry_before_all_that_use_a_component(suite_file, catalogue):
    more = 'use = "perfect"\n[[methods]]\nuse = "perfect"\nlabel = "long"\nbits = 32'
    more += '\n[[methods]]\nuse = "blind"\nlabel = "short"\nbits = 8'
    path = suite_file(
        ('use = "perfect"', more),
        ('use = "blind"\n[[attacks]]', 'use = "blind"\nlabel = "b"\n[[attacks]]'),
    )

    def chosen(*methods):
        suite = read_suite(str(path), catalogue, methods=methods)
        return [(m.label, m.component.bits) for m in suite.methods]

    assert chosen("perfect") == [("perfect", 16)]
    assert chosen("long") == [("long", 32)]
    assert chosen("perfect[bits=8]", "long") == [("perfect", 8), ("long", 32)]
    # Where no entry is called so, all that use it are meant.
    assert chosen("blind") == [("short", 8), ("b", 16)]


def test_strengths_run_from_weak_to_strong(suite_file, catalogue):
    suite = read_suite(str(suite_file(("[90, 50]", "[50, 90, 70]"))), catalogue)
    assert suite.attacks[0].strengths == (90.0, 70.0, 50.0)


def test_crosses_join_listed_attacks(suite_file, catalogue):
    from fpbench.plan import make_plan

    text = '[[crosses]]\nmodel = "weight-noise"\nimage = "jpeg"\n[population]'
    suite = read_suite(str(suite_file(("[population]", text))), catalogue)
    labels = [point.label for point in make_plan(suite, ()).points]
    assert "weight-noise 0.3 + jpeg 50" in labels
    wrong = text.replace('"jpeg"', '"bypass"')
    assert "listed image attack" in problems(suite_file(("[population]", wrong)), catalogue)[0]


CHAIN = """use = "chain"
label = "phone"
parts = [
  { use = "gaussian-blur", sigma = 1 },
  { use = "jpeg", quality = 70, subsampling = "444" },
]"""


def test_a_chain_is_declared_without_python(suite_file, catalogue):
    suite = read_suite(str(suite_file(('use = "bypass"', CHAIN))), catalogue)
    (attack,) = [a for a in suite.attacks if a.label == "phone"]
    (blur, one), (jpeg, seventy) = attack.component.parts
    assert (blur.name, one, jpeg.name, seventy) == ("gaussian-blur", 1.0, "jpeg", 70.0)
    assert jpeg.params.subsampling == "444"
    assert suite.resolved()["attacks"][-1]["params"]["parts"][1]["strength"] == 70


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("quality = 70", "quality = 101", "expected whole numbers from 1 to 100, got 101"),
        ("quality = 70", "quality = [70, 50]", "expected one strength, got [70.0, 50.0]"),
        ('use = "jpeg"', 'use = "jpg"', "did you mean 'jpeg'?"),
        (
            '"jpeg", quality = 70, subsampling = "444"',
            '"weight-noise", sigma = 1',
            "an image attack",
        ),
        ("subsampling", "sampling", "did you mean 'subsampling'?"),
    ],
)
def test_mistakes_inside_a_chain_are_found(suite_file, catalogue, old, new, message):
    path = suite_file(('use = "bypass"', CHAIN.replace(old, new)))
    assert any(message in p for p in problems(path, catalogue))


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ('use = "median-blur"\nkernel = 4', "odd whole numbers from 1 to 31, got 4"),
        ('use = "gaussian-noise"\nsigma = -0.1', "numbers from 0 to 1, got -0.1"),
        ('use = "gaussian-noise"\nsigma = nan', "numbers from 0 to 1, got nan"),
        ('use = "jpeg"\nlabel = "j"\nquality = 0', "whole numbers from 1 to 100, got 0"),
        ('use = "crop-resize"\nkept = 0', "numbers from 0.1 to 1, got 0"),
        ('use = "collude"\nusers = 1', "whole numbers from 2 to"),
        ('use = "purify"', "clean images"),
        ('use = "jpeg"\nlabel = "j"\ntune = { subsampling = ["444"] }', "on one copy"),
        ('use = "weight-noise"\nlabel = "w"\ntune = { learning_rat = [1] }', "learning_rat"),
    ],
)
def test_impossible_strengths_are_refused_with_the_legal_range(
    suite_file, catalogue, attack, message
):
    found = problems(suite_file(('use = "bypass"', attack)), catalogue)
    assert any(message in p for p in found), found


def test_no_strength_is_called_like_an_option(catalogue):
    from fpbench.spec.model import AttackOptions

    for name in catalogue.names("attacks"):
        strength = catalogue.get("attacks", name).strength
        assert strength is None or strength.name not in AttackOptions.model_fields, name


def test_a_tuned_attack_has_a_candidate_for_every_combination(suite_file, catalogue):
    tune = "steps = [1, 3]\ntune = { learning_rate = [1e-3, 1e-2] }"
    suite = read_suite(str(suite_file(("steps = [1, 3]", tune))), catalogue)
    (attack,) = [a for a in suite.attacks if a.label == "fine-tune"]
    assert [c.params.learning_rate for c in attack.candidates] == [1e-3, 1e-2]


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan"])
@pytest.mark.parametrize("budget", ["damage_budget", "sample_budget"])
def test_a_budget_must_be_a_positive_number(suite_file, catalogue, budget, value):
    text = f"[score]\n{budget} = {value}"
    (found,) = problems(suite_file(("[score]", text)), catalogue)
    assert f": score.{budget}: expected " in found
    assert ".toml:" in found


def test_budgets_have_defaults(suite_file, catalogue):
    score = read_suite(str(suite_file()), catalogue).score
    assert (score.damage_budget, score.sample_budget) == (0.5, None)
    assert (score.training_steps, score.clean_samples) == (1000, 1000)


def test_only_attacks_that_move_pixels_name_strengths_for_the_samples_tier(
    suite_file, catalogue, monkeypatch
):
    jpeg = catalogue.get("attacks", "jpeg")

    def asked(samples):
        return suite_file(("quality = [90, 50]", f"quality = [90, 50]\nsamples = {samples}"))

    assert "expected an image attack that moves pixels" in problems(asked("[50]"), catalogue)[0]
    monkeypatch.setattr(jpeg, "geometric", True)
    assert read_suite(str(asked("[50]")), catalogue).attacks[0].options.samples == (50.0,)
    assert "[70.0] are not among the strengths" in problems(asked("[70]"), catalogue)[0]
    other = suite_file(("sigma = [0.1, 0.3]", "sigma = [0.1, 0.3]\nsamples = [0.1]"))
    assert "expected an image attack that moves pixels" in problems(other, catalogue)[0]


def test_a_selector_that_replaces_strengths_drops_what_was_said_of_them(catalogue):
    suite = read_suite("quickstart", catalogue, attacks=("crop-resize[kept=0.8]",))
    (attack,) = suite.attacks
    assert (attack.strengths, attack.options.samples) == ((0.8,), ())


JPEG, NOISE = 'use = "jpeg"\nquality = [90, 50]', 'use = "weight-noise"\nsigma = [0.1, 0.3]'
CROSS = '[[crosses]]\nmodel = "weight-noise"\nimage = "jpeg"\n'
SAME = 'use = "flip"\nlabel = '


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('use = "blind"', 'use = "perfect"', [("methods[1]", 'use = "perfect"', -1)]),
        (NOISE, 'use = "flip"\nlabel = "jpeg"', [("attacks[1]", 'use = "flip"', -1)]),
        (NOISE, SAME + '"none"', [("attacks[1].label", 'label = "none"', 0)]),
        # An attack without a knob that is called like another one at a strength.
        (NOISE, SAME + '"jpeg 90"', [("attacks[1]", "flip", -1), ("attacks[0].quality", "90,", 0)]),
        (
            NOISE,
            NOISE.replace("0.3", "0.1000001"),
            [("attacks[1].sigma", "0.1000001", 0), ("and in attacks[1].sigma", "0.1000001", 0)],
        ),
        (
            "[population]",
            f"{CROSS}{CROSS}[population]",
            [("crosses[1]", CROSS.strip(), 0), ("and in crosses[0]", CROSS.strip(), 0)],
        ),
        (
            "[population]",
            f'[[attacks]]\n{SAME}"weight-noise 0.1 + jpeg 50"\n{CROSS}[population]',
            [("crosses[0]", "[[crosses]]", 0), ("and in attacks[4]", SAME, -1)],
        ),
        (
            'name = "fakes"',
            'name = "fakes"\n[training]\nseeds = [0, 3, 0]',
            [("training.seeds: expected each seed once, got 0 at places 1 and 3", "seeds", 0)],
        ),
    ],
)
def test_names_that_two_places_share_are_refused_with_both(suite_file, catalogue, old, new, told):
    path = suite_file((old, new))
    (found,) = problems(path, catalogue)
    lines = path.read_text().splitlines()
    for who, text, offset in told:
        assert who in found
        first = text.splitlines()[0]
        numbers = [i + offset for i, line in enumerate(lines, 1) if first in line]
        assert any(f"{path}:{number}" in found for number in numbers), (found, numbers)


def test_a_seed_named_twice_on_the_command_line_is_refused(suite_file, catalogue):
    (found,) = problems(suite_file(), catalogue, seeds="0,1,0")
    assert found == "--seeds 0,1,0: expected each seed once, got 0 at places 1 and 3"


def test_selected_tables_are_named_by_their_own_lines(suite_file, catalogue):
    path = suite_file()
    (found,) = problems(path, catalogue, attacks=("bypass", "jpeg[quality=90]", "jpeg"))
    line = path.read_text().splitlines().index('use = "jpeg"')
    assert found.startswith(f"{path}:{line}: attacks[2]: ")
    assert f"and in attacks[1] ({path}:{line})" in found
