import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fpbench.api import canonical_json
from fpbench.cli.main import main
from fpbench.report.inputs import read_inputs
from fpbench.report.score import score_board
from fpbench.report.tables import Board

COPIES = 12
STRENGTHS = {"none": None, "jpeg 90": 90.0, "jpeg 50": 50.0, "blur 1": 1.0}
FAMILIES = {"jpeg": "compression", "blur": "filtering"}
RNG = np.random.default_rng(5)
SHARED = RNG.normal(0, 0.04, COPIES)
RATES = {
    "alpha": {
        p: 0.7 + SHARED + RNG.normal(0, 0.02, COPIES) + (0.02 if p == "blur 1" else 0)
        for p in STRENGTHS
    },
    "beta": {p: 0.7 + SHARED + RNG.normal(0, 0.02, COPIES) for p in STRENGTHS},
}


def write_run(
    folder,
    methods=("alpha", "beta"),
    *,
    version="1",
    registered=30,
    copies=COPIES,
    images=10,
    quality="1",
    seeds=(0,),
    refused=(),
    no_copies=(),
    points=tuple(STRENGTHS),
    host="tiny",
    shift=0.0,
    rates=RATES,
):
    """A run of records with the fields that comparisons read."""
    header = {"name": "fake", "version": 1, "seed": 7}
    attacks = [
        {"label": "jpeg", "name": "jpeg", "version": quality, "params": {}, "strengths": [90, 50]},
        {"label": "blur", "name": "blur", "version": "1", "params": {}, "strengths": [1]},
    ]
    attacks = [a for a in attacks if any(p.startswith(a["label"]) for p in points)]
    suite = {
        "suite": header,
        "training": {"seeds": list(seeds)},
        "population": {"copies": copies, "images": images, "shared": 2},
        "score": {"registered": registered, "false_rate": 0.01, "sample_budget": 0.25},
        "methods": [{"label": m} for m in methods],
        "attacks": [{**a, "scored": [], "copies": None, "images": None} for a in attacks],
        "crosses": [],
    }
    lines = []
    for method in methods:
        for seed in seeds:
            for point in points:
                label = point.split()[0]
                part = {
                    "label": label,
                    "name": label,
                    "version": quality if label == "jpeg" else "1",
                    "params": {},
                    "family": FAMILIES.get(label, ""),
                    "kind": "image",
                    "strength": STRENGTHS[point],
                    "scored": True,
                    "access": ["images"],
                    "tier": "samples",
                    "clean_images": 0,
                }
                base = {
                    "schema_version": 1,
                    "suite": header,
                    "cell": f"{method} {seed} {point}",
                    "method": {"label": method},
                    "training_seed": seed,
                    "host": {"name": host, "version": "1", "params": {}},
                    "point": {
                        "label": point,
                        "model": None,
                        "image": part if label in FAMILIES else None,
                    },
                    **dict.fromkeys(("value", "low", "high")),
                    "n": 0,
                    "clusters": 0,
                    "by_copy": [],
                    "rule": "korn-graubard, bounded",
                    "reason": "",
                    "outcome": "done",
                    "detail": {},
                    "cost": {},
                    "metric_version": version,
                }
                if (method, point) in refused:
                    more = {"outcome": "refused", "reason": "no such layers", "metric": ""}
                    lines.append({**base, **more, "variant": ""})
                    continue
                by_copy = rates[method][point][:copies] + shift + 0.1 * seed
                found = {
                    "value": float(by_copy.mean()),
                    "by_copy": [] if point in no_copies else by_copy.tolist(),
                    "n": copies * images,
                    "clusters": copies,
                }
                settings = {"registered": registered, "false_rate": 0.01}
                lines += [
                    {**base, **found, "metric": "attribution", "variant": "", "detail": settings},
                    {**base, **found, "metric": "quality", "variant": "psnr"},
                    {**base, "metric": "damage", "variant": "ssim", "value": 0.9},
                    {
                        **base,
                        **found,
                        "metric": "bit-accuracy",
                        "variant": "",
                        "detail": {"converged": True, "gate": 0.9},
                    },
                ]
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w") as file:
        for number, line in enumerate(lines):
            file.write(canonical_json({**line, "record_id": f"{number:064x}"}) + "\n")
    (folder / "suite.json").write_text(json.dumps(suite))
    return folder


@pytest.fixture
def fpbench(tmp_path, monkeypatch, capsys):
    """Runs a command in this process, in a folder of its own; returns (code, out, err)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fpbench", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def as_json(fpbench, *arguments):
    code, out, err = fpbench("compare", *arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    return found, {line["label"]: line for line in found["points"]}


def test_every_point_is_the_paired_test_of_its_copies(fpbench):
    write_run(Path("runs/fake"))
    found, points = as_json(fpbench, "alpha", "beta", "--level", 0.9)
    assert found["paired"]
    assert list(points) == list(STRENGTHS)
    for label, line in points.items():
        expected = stats.ttest_rel(RATES["alpha"][label], RATES["beta"][label])
        ends = expected.confidence_interval(0.9)
        assert line["p"] == pytest.approx(expected.pvalue)
        assert (line["low"], line["high"]) == pytest.approx((ends.low, ends.high))
        assert line["difference"] == pytest.approx(line["a"] - line["b"])
        assert line["copies_a"] == line["copies_b"] == [COPIES, COPIES]
    smallest = min(points.values(), key=lambda line: line["p"])
    assert smallest["p_adjusted"] == pytest.approx(min(1, 4 * smallest["p"]))


def test_score_is_the_one_of_the_board_and_stands_outside_of_the_adjustment(fpbench):
    write_run(Path("runs/fake"))
    found, _ = as_json(fpbench, "alpha", "beta")
    scores = score_board(Board(read_inputs(Path("runs/fake"))))
    tiers = {m: [part.by_copy for part in score.tiers.values()] for m, score in scores.items()}
    mean = {m: np.mean(parts, axis=0) for m, parts in tiers.items()}
    assert len(tiers["alpha"]) == 2
    expected = stats.ttest_rel(mean["alpha"], mean["beta"])
    assert found["score"]["p"] == pytest.approx(expected.pvalue)
    assert found["score"]["a"] == pytest.approx(mean["alpha"].mean())
    assert "these trainings alone" in fpbench("compare", "alpha", "beta")[1]
    assert found["score"]["p_adjusted"] is None
    assert as_json(fpbench, "alpha", "beta", "--point", "none")[0]["score"] is None
    assert as_json(fpbench, "alpha", "beta", "--metric", "bit-accuracy")[0]["score"] is None


def test_exchanged_sides_only_change_the_sign(fpbench):
    write_run(Path("runs/fake"))
    _, one = as_json(fpbench, "alpha", "beta")
    _, other = as_json(fpbench, "beta", "alpha")
    for label, line in one.items():
        assert line["difference"] == pytest.approx(-other[label]["difference"])
        assert line["p"] == pytest.approx(other[label]["p"])


def test_text_says_what_was_compared_and_what_came_out(fpbench):
    write_run(Path("runs/fake"), refused=[("beta", "jpeg 50")])
    code, out, _ = fpbench("compare", "alpha", "beta")
    assert code == 0
    assert "A  alpha  (runs/fake)" in out
    assert "copies are paired" in out
    assert "B refused: no such layers" in out
    assert any(line.startswith("score") for line in out.splitlines())
    assert "no basis for a claim" in out
    assert "not tested at 1" in out.splitlines()[-1]


def test_points_that_are_asked_for_are_the_only_ones(fpbench):
    write_run(Path("runs/fake"))
    found, points = as_json(fpbench, "alpha", "beta", "--point", "jpeg 50", "--point", "none")
    assert list(points) == ["jpeg 50", "none"]
    assert found["score"] is None


@pytest.mark.parametrize("text", ["runs/one", "runs/one:alpha"])
def test_a_run_with_one_method_needs_no_name(fpbench, text):
    write_run(Path("runs/one"), methods=["alpha"])
    write_run(Path("runs/two"), methods=["beta"])
    found, _ = as_json(fpbench, text, "runs/two")
    assert found["a"] == {"run": "runs/one", "method": "alpha", "training_seed": 0}
    assert found["paired"]


def test_run_of_methods_without_one_is_given_or_the_only_one(fpbench):
    write_run(Path("runs/fake"))
    write_run(Path("elsewhere/other"), shift=0.1)
    found, _ = as_json(fpbench, "alpha", "beta", "--run", "elsewhere/other")
    assert found["a"]["run"] == found["b"]["run"] == "elsewhere/other"
    write_run(Path("runs/second"))
    code, _, err = fpbench("compare", "alpha", "beta")
    assert code == 2
    assert "runs/fake, runs/second" in err
    assert "--run" in err


def test_other_populations_are_not_paired_but_compared_by_welch(fpbench):
    write_run(Path("runs/one"))
    write_run(Path("runs/two"), copies=11)
    found, points = as_json(fpbench, "runs/one:alpha", "runs/two:beta")
    assert not found["paired"]
    assert "copies 12 and 11" in found["unpaired_because"]
    for label, line in points.items():
        expected = stats.ttest_ind(
            RATES["alpha"][label], RATES["beta"][label][:11], equal_var=False
        )
        ends = expected.confidence_interval(0.95)
        assert line["p"] == pytest.approx(expected.pvalue)
        assert line["df"] == pytest.approx(expected.df)
        assert (line["low"], line["high"]) == pytest.approx((ends.low, ends.high))
        assert (line["copies_a"], line["copies_b"]) == ([12, 12], [11, 11])
    assert found["score"]["p"] is not None
    assert (
        "not paired (copies 12 and 11)" in fpbench("compare", "runs/one:alpha", "runs/two:beta")[1]
    )


def test_two_runs_of_the_same_draws_are_paired(fpbench):
    write_run(Path("runs/one"))
    write_run(Path("runs/two"), host="large")
    found, points = as_json(fpbench, "runs/one:alpha", "runs/two:beta")
    assert found["paired"]
    assert found["notes"] == ["the runs differ in their host: name tiny and large"]
    expected = stats.ttest_rel(RATES["alpha"]["none"], RATES["beta"]["none"])
    assert points["none"]["p"] == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(
    ("changes", "one", "other"),
    [
        ({"version": "2"}, "version 1 in runs/one", "version 2 in runs/two"),
        ({"registered": 100}, "registered = 30", "registered = 100"),
    ],
)
def test_other_quantities_are_not_compared(fpbench, changes, one, other):
    write_run(Path("runs/one"))
    write_run(Path("runs/two"), **changes)
    code, _, err = fpbench("compare", "runs/one:alpha", "runs/two:beta")
    assert code == 2
    assert one in err
    assert other in err


def test_another_version_of_an_attack_spoils_its_points_and_the_score(fpbench):
    write_run(Path("runs/one"))
    write_run(Path("runs/two"), quality="2")
    found, points = as_json(fpbench, "runs/one:alpha", "runs/two:beta")
    assert "not the same attack: image version 1 and 2" in points["jpeg 50"]["reason"]
    assert points["blur 1"]["p"] is not None
    assert found["score"]["p"] is None
    assert "jpeg: version 1 and 2" in found["score"]["reason"]


def test_points_of_one_run_only_are_named(fpbench):
    write_run(Path("runs/one"))
    write_run(Path("runs/two"), points=["none", "jpeg 90", "jpeg 50"])
    found, points = as_json(fpbench, "runs/one:alpha", "runs/two:beta")
    assert list(points) == ["none", "jpeg 90", "jpeg 50"]
    assert "only in runs/one: blur 1" in found["notes"]
    assert "different things" in found["score"]["reason"]
    code, _, err = fpbench("compare", "runs/one:alpha", "runs/two:beta", "--point", "blur 1")
    assert code == 2
    assert "in one of the runs only, runs/one" in err


def test_values_without_copies_are_shown_and_not_tested(fpbench):
    write_run(Path("runs/fake"), no_copies=["none"])
    _, points = as_json(fpbench, "alpha", "beta", "--metric", "quality", "--variant", "psnr")
    assert points["none"]["a"] is not None
    assert points["none"]["p"] is None
    assert "no values by copy" in points["none"]["reason"]
    assert points["jpeg 50"]["p"] is not None


def test_both_sides_refused_for_one_reason_say_so_once(fpbench):
    write_run(Path("runs/fake"), refused=[("alpha", "jpeg 50"), ("beta", "jpeg 50")])
    found, points = as_json(fpbench, "alpha", "beta")
    assert points["jpeg 50"]["reason"] == "both refused: no such layers"
    assert found["score"]["reason"].startswith("both no place: jpeg 50 refused")


def test_training_seeds_are_compared_one_by_one(fpbench):
    write_run(Path("runs/fake"), seeds=[0, 2])
    _, first = as_json(fpbench, "alpha", "beta")
    found, third = as_json(fpbench, "alpha", "beta", "--seed", 2)
    assert third["none"]["a"] == pytest.approx(first["none"]["a"] + 0.2)
    assert found["a"]["training_seed"] == 2
    assert "training seed 2 of 0, 2" in found["notes"][0]
    code, _, err = fpbench("compare", "alpha", "beta", "--seed", 1)
    assert code == 2
    assert "(0, 2), got 1" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alpa", "beta"], "unknown method 'alpa' in runs/fake; did you mean 'alpha'?"),
        (["alpha", "alpha"], "expected two methods, got runs/fake:alpha twice"),
        (["runs/fake", "beta"], "runs/fake:METHOD"),
        (["nowhere:alpha", "beta"], "got nowhere; in runs/: runs/fake"),
        (["alpha", "beta", "--metric", "atribution"], "did you mean 'attribution'?"),
        (["alpha", "beta", "--metric", "quality"], "--variant is one of psnr"),
        (["alpha", "beta", "--point", "jpeg 9"], "unknown point 'jpeg 9'; did you mean 'jpeg 90'?"),
        (["alpha", "beta", "--level", "1"], "--level"),
    ],
)
def test_mistakes_are_named_with_what_was_meant(fpbench, arguments, message):
    write_run(Path("runs/fake"))
    code, _, err = fpbench("compare", *arguments)
    assert code == 2
    assert message in err


def test_without_any_run_the_message_says_what_to_write(fpbench):
    code, _, err = fpbench("compare", "alpha", "beta")
    assert code == 2
    assert "RUN:alpha" in err


def test_a_difference_that_is_not_zero_never_looks_like_it(fpbench):
    write_run(Path("runs/one"))
    write_run(Path("runs/two"), shift=1e-6)
    _, out, _ = fpbench("compare", "runs/one:alpha", "runs/two:alpha", "--point", "none")
    assert "-1e-06" in out


@pytest.mark.parametrize(("lost", "tested"), [(0.9, False), (1.0, True), (5.0, True)])
def test_fractions_of_an_image_are_no_evidence(fpbench, lost, tested):
    whole = np.ones(COPIES)
    less = whole - np.linspace(0.5, 1.5, COPIES) * lost / (COPIES * 10)
    rates = {"alpha": dict.fromkeys(STRENGTHS, whole), "beta": dict.fromkeys(STRENGTHS, less)}
    write_run(Path("runs/fake"), rates=rates)
    _, points = as_json(fpbench, "alpha", "beta")
    assert (points["none"]["p"] is not None) == tested
    if not tested:
        assert points["none"]["reason"] == "on both sides less than one of 120 images is wrong"


def test_fakes_of_a_real_run_are_told_apart(fpbench, run_suite, suite_file):
    _, _, folder = run_suite(suite_file())
    found, points = as_json(fpbench, "perfect", "blind", "--run", folder)
    assert points["none"]["a"] > points["none"]["b"] + 0.9
    assert "fewer than 10 decide nothing" in points["none"]["reason"]
    assert points["fine-tune 3"]["copies_a"] == [3, 3]
    assert found["score"]["a"] > found["score"]["b"]
    assert found["score"]["reason"].startswith("B no place: did not converge")


def test_help_loads_nothing_heavy():
    code = (
        "import sys, fpbench.cli.main; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'scipy', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
