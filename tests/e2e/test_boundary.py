"""One plugin's fault stays in its own cells, in one process and in one store."""

import pytest

from fpbench.api import Outcome

SUITE = """
[suite]
name = "boundary"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
{methods}
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
{attacks}
[[attacks]]
use = "jpeg"
quality = [90, 50]
[[attacks]]
use = "weight-noise"
sigma = [0.1]
[[attacks]]
use = "fine-tune"
steps = [1]
clean_images = 8
[[attacks]]
use = "bypass"
[population]
copies = 3
images = 4
shared = 2
[negatives]
real = 20
host = 12
attacked_host = 8
[score]
registered = 30
false_rate = 0.01
"""
IN_PLACE = ("flip", "sort", "zero", "invert-a-copy", "numpy", "opencv", "fails")
SPOILT = ("generator", "state", "clean", "copy")
RUINED = ("fit-generator", "fit-state", "issue", "extract", "code", "process")


@pytest.fixture(scope="module")
def run(run_in, tmp_path_factory):
    """Runs the suite with more methods and attacks in front; returns its records."""
    place = tmp_path_factory.mktemp("boundary")

    def run(store, methods=(), attacks=()):
        tables = {
            "methods": "".join(f"[[methods]]\n{text}\n" for text in methods),
            "attacks": "".join(f"[[attacks]]\n{text}\n" for text in attacks),
        }
        path = place / "suite.toml"
        path.write_text(SUITE.format(**tables))
        # A folder of its own each time: nothing but the store is shared.
        folder = f"run-{len(list(place.iterdir()))}"
        _, records, _ = run_in(place, path, folder=folder, store=store, plugins=("culprits",))
        return list(records.values())

    return run


@pytest.fixture(scope="module")
def clean(run):
    """What the numbers are where nobody does harm."""
    return numbers(run("clean"))


def numbers(records, methods=("perfect", "blind"), without=()):
    """What is measured of some methods under the attacks of the suite."""
    names = ("outcome", "value", "low", "high", "n", "reason", "detail")
    return {
        (r["method"]["label"], r["point"]["label"], r["metric"], r["variant"]): [
            r.get(name) for name in names
        ]
        for r in records
        if r["method"]["label"] in methods
        and r["metric"] != "cost"
        and not any(r["point"]["label"].startswith(label) for label in without)
    }


def outcomes(records, method, label):
    return {
        r["outcome"]
        for r in records
        if r["method"]["label"] == method and r["point"]["label"].startswith(label)
    } - {Outcome.NOT_SUPPORTED, Outcome.REFUSED}


def test_image_attacks_that_write_into_their_input_fail_alone_and_for_good(run, clean):
    attacks = [f'use = "in-place"\nhow = "{how}"\nlabel = "{how}"' for how in IN_PLACE]
    attacks.append('use = "buffered"')
    records = run("images", attacks=attacks)
    assert numbers(records, without=(*IN_PLACE, "buffered")) == clean
    for how in IN_PLACE:
        rows = [r for r in records if r["point"]["label"] == how]
        assert {r["outcome"] for r in rows} == {Outcome.FAILED}
        assert ("behind its deed" if how == "fails" else "changed its input") in rows[0]["reason"]
    # Strength 0 is the image itself, whatever a later call writes into the buffer.
    for (method, point, *metric), found in numbers(records).items():
        if point == "buffered 0" and metric == ["bit-accuracy", ""]:
            assert found == clean[method, "none", "bit-accuracy", ""]
    # The same store, without the culprits: nothing of theirs was kept.
    assert numbers(run("images")) == clean


def test_model_attacks_that_spoil_what_they_are_lent_suffer_alone(run, clean):
    attacks = [
        f'use = "spoil"\nclean_images = 4\nwhat = "{what}"\nlabel = "{what}"' for what in SPOILT
    ]
    records = run("models", attacks=attacks)
    assert numbers(records, without=SPOILT) == clean
    for method in ("perfect", "blind"):
        # What was cloned for him he may spoil; what is compared, he may not.
        for what in ("generator", "clean", "copy"):
            assert outcomes(records, method, what) == {Outcome.DONE}
        assert outcomes(records, method, "state") == {Outcome.FAILED}
    same = numbers(records)
    for what in ("generator", "clean"):
        found = same["perfect", f"{what} 0.5", "bit-accuracy", ""]
        assert found == clean["perfect", "none", "bit-accuracy", ""]
    assert numbers(run("models")) == clean


def test_methods_that_ruin_what_they_are_lent_or_the_process_suffer_alone(run, clean):
    methods = [f'use = "ruinous"\nwhere = "{where}"\nlabel = "{where}"' for where in RUINED]
    methods.append('use = "forgetful"')
    records = run("methods", methods=methods)
    assert numbers(records) == clean
    rows = {r["method"]["label"]: r for r in records if r["point"]["label"] == "none"}
    assert rows["fit-state"]["outcome"] == Outcome.BLOCKED
    for where in ("issue", "extract", "forgetful"):
        assert rows[where]["outcome"] in (Outcome.FAILED, Outcome.BLOCKED)
        assert "in place; clone it first" in rows[where]["reason"]
    for where in ("fit-generator", "code"):
        # The fake "perfect" by another name; one that leaves a mess stumbles over it itself.
        key = ("none", "bit-accuracy", "")
        assert numbers(records, [where])[(where, *key)] == clean[("perfect", *key)]
    assert numbers(run("methods")) == clean


def test_damage_does_not_depend_on_the_order_of_attacks(run):
    first = numbers(run("order", attacks=['use = "resample"']), without=("resample",))
    assert first == numbers(run("other-order"))
