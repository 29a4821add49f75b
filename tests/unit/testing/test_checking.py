import json
import sys
from xml.etree import ElementTree

import broken_plugins
import pytest

from fpbench.api import Card, NoParams, SampleAttack, Strength
from fpbench.plan.identity import digest_of_source
from fpbench.registry import load
from fpbench.testing.checks import Setup, check, rules_for
from fpbench.testing.fakes import SmoothImages, TinyHost


@pytest.fixture
def written(tmp_path):
    """Writes a plugin of one file; what was loaded of it is forgotten."""

    def write(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    yield write
    for name in [name for name in sys.modules if name.startswith("fpbench_file_")]:
        del sys.modules[name]
    digest_of_source.cache_clear()


def broken_in(out):
    return {row["rule"]: row["said"] for row in json.loads(out) if row["verdict"] == "broken"}


def test_a_plugin_without_a_fault_keeps_all_rules(command, written):
    code, out, err = command("check", written(broken_plugins.text_of()), "--json")
    assert (code, broken_in(out)) == (0, {}), err


@pytest.mark.parametrize("fault", broken_plugins.BROKEN)
def test_every_fault_is_caught_by_the_rule_that_names_it(command, written, fault):
    rule, said, _ = broken_plugins.BROKEN[fault]
    path = written(broken_plugins.text_of(fault))
    code, out, err = command("check", path, "--rule", rule, "--json")
    assert code == 1, err
    found = broken_in(out)
    assert rule in found, found
    assert said in found[rule]
    assert "expected" in found[rule]


def test_the_last_line_says_what_to_do_next(command, written):
    path = written(broken_plugins.text_of())
    code, out, _ = command("check", path, "--rule", "card")
    assert (code, out.splitlines()[-1].split("Next: ")[1]) == (
        0,
        f"fpbench -p {path} run quickstart -m mine",
    )


def test_results_are_written_for_machines(command, written, tmp_path):
    path = written(broken_plugins.text_of("raises in issue"))
    code, out, _ = command("check", path, "--junit", tmp_path / "check.xml")
    assert code == 1
    assert "Next: mend the first" in out
    (suite,) = ElementTree.parse(tmp_path / "check.xml").getroot()  # noqa: S314 - our own
    assert suite.get("name") == "method mine"
    assert int(suite.get("failures")) == 1
    cases = {case.get("name"): case for case in suite}
    assert "ValueError: no" in cases["runs"].find("failure").text
    assert "'runs' is broken" in cases["alone"].find("skipped").get("message")


def test_one_rule_is_asked_for_and_others_are_unknown(command, written):
    path = written(broken_plugins.text_of())
    code, out, _ = command("check", path, "--rule", "card", "--json")
    assert [row["rule"] for row in json.loads(out)] == ["card"]
    code, _, err = command("check", path, "--rule", "crad")
    assert (code, "did you mean 'card'?" in err) == (2, True)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("hiden", "did you mean 'hidden'?"),
        ("hidden[bitts=3]", "method hidden: bitts: Extra inputs"),
        ("no.such.module", "expected a component, a plugin, a module, a file"),
    ],
)
def test_what_is_not_there_is_said(command, named, said):
    code, _, err = command("check", named)
    assert (code, said in err) == (2, True), err


class Backwards(SampleAttack[NoParams]):
    """Sets the upper rows of an image to black, more of them at weaker strengths."""

    name, version, Params, family = "backwards", "1", NoParams, "erasing"
    strength = Strength("rows", "rows", (1, 8), low=0, high=32, whole=True, identity=0)
    card = Card("Backwards", "own", "Apache-2.0", "For tests.")

    def apply(self, images, indices, strength, ctx):
        """Black rows."""
        made = images.clone()
        made[:, :, : 16 - int(strength)] = 0
        return made


class Company(Backwards):
    """Takes the mean over the batch."""

    name = "company"

    def apply(self, images, indices, strength, ctx):
        """The mean over the batch."""
        return images.float().mean(0, keepdim=True).expand_as(images).to(images.dtype)


@pytest.mark.parametrize(
    ("cls", "rule"),
    [(Backwards, "damage"), (Backwards, "identity"), (Company, "alone")],
)
def test_attacks_that_break_a_rule_are_caught(cls, rule):
    results = {result.rule: result for result in check(cls)}
    assert results[rule].verdict == "broken"
    assert results[rule].said.startswith(f"attack {cls.name}: expected")


class Overlapping(SmoothImages):
    """Its splits share their samples."""

    name = "overlapping"

    def read(self, split, indices):
        """Those of one split."""
        return super().read("train", indices)


class Boastful(TinyHost):
    """Says that it can be encoded, and gives other latents."""

    name = "boastful"

    def encode(self, state, samples, ctx, step=None):
        """Too short."""
        return super().encode(state, samples, ctx, step)[:, :3]


@pytest.mark.parametrize(("cls", "rule"), [(Overlapping, "disjoint"), (Boastful, "offers")])
def test_data_sets_and_hosts_that_break_a_rule_are_caught(cls, rule):
    broken = [result.rule for result in check(cls) if result.verdict == "broken"]
    assert set(broken) - {"torch-free"} == {rule}  # the module of these tests loads torch


@pytest.mark.parametrize("size", [20, 48])
def test_images_may_have_any_size(size):
    found = check(load(["fpbench.testing.fakes"]).component("methods", "perfect"), Setup(size=size))
    assert [result.rule for result in found if result.verdict == "broken"] == []


@pytest.mark.parametrize("rule", rules_for(TinyHost), ids=str)
def test_rules_are_tests(rule):
    rule.check()
