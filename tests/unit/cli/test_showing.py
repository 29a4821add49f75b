import json
from pathlib import Path

import click
import pytest

from fpbench.api import Params
from fpbench.cli.main import cli
from fpbench.registry import load
from fpbench.registry.catalogue import KINDS
from fpbench.registry.describing import meanings, parameters
from fpbench.spec import model, suite_names, suite_text

CATALOGUE = load()
COMPONENTS = [(kind, name) for kind in KINDS for name in CATALOGUE.names(kind)]
TABLES = [cls for cls in vars(model).values() if isinstance(cls, type) and issubclass(cls, Params)]
# They print what is no table: bytes for a server, or nothing at all.
WITHOUT_JSON = {"serve"}


def verbs(command=cli, path=()):
    if isinstance(command, click.Group):
        return [
            found for name, one in command.commands.items() for found in verbs(one, (*path, name))
        ]
    return [(" ".join(path), command)]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=lambda part: part)
def test_every_parameter_of_a_component_says_what_it_means(kind, name):
    params = CATALOGUE.component(kind, name).Params
    assert set(meanings(params)) == set(params.model_fields)
    for each in parameters(params):
        assert each.legal != "anything", each.name


def test_every_key_of_a_suite_says_what_it_means():
    assert len(TABLES) > 10
    for table in TABLES:
        assert set(meanings(table)) == set(table.model_fields), table


def test_every_verb_and_option_is_documented():
    for name, command in verbs():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, (name, option.name)


def test_every_verb_that_prints_prints_json():
    without = {name for name, one in verbs() if not any("--json" in p.opts for p in one.params)}
    assert without == WITHOUT_JSON


def test_info_tells_range_cost_and_bibtex(command):
    code, out, _ = command("info", "hidden")
    assert code == 0
    assert "bits = 32   (whole number, 1 to 256)\n      length of a code, K" in out
    assert "cost      one training for each training seed; a further user costs nothing" in out
    assert "\n@inproceedings{zhu2018hidden,\n" in out
    told = json.loads(command("info", "hidden", "--json")[1])
    assert told["params"]["bits"]["legal"] == "whole number, 1 to 256"
    assert told["params"]["bits"]["default"] == "32"
    assert told["cost"] == "one training for each training seed; a further user costs nothing"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["info", "hiden"], "'hidden'"),
        (["show", "quikstart"], "'quickstart'"),
        (["pln", "quickstart"], "'plan'"),
        (["plan", "quickstart", "--sed", "0"], "--seeds"),
        (["plan", "quickstart", "-m", "hiden"], "'hidden'"),
        (["plan", "quickstart", "--set", "populaton.copies=5"], "'population'"),
        (["plan", "quickstart", "--set", "population.copes=5"], "'copies'"),
    ],
)
def test_what_is_misspelt_is_guessed(command, words, meant):
    code, _, err = command(*words)
    assert code == 2
    assert meant in err


@pytest.mark.parametrize("name", suite_names())
def test_a_shipped_suite_is_printed_as_it_is(command, name):
    assert command("show", name)[1] == suite_text(name)


def test_a_shown_suite_can_be_edited_and_planned(command, tmp_path):
    text = command("show", "quickstart")[1].replace("copies = 30", "copies = 12")
    path = tmp_path / "mine.toml"
    path.write_text(text)
    told = json.loads(command("show", path, "--json")[1])
    assert told["population"]["copies"] == 12
    assert told["population"]["shared"] == 8  # a default


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("fpbench run quickstart-", "quickstart-audio"),
        ("fpbench info gaussian-sh", "gaussian-shading"),
        ("fpbench run quickstart -m sta", "stable-signature"),
        ("fpbench run quickstart -a jp", "jpeg"),
        ("fpbench comp", "compare"),
        ("fpbench status mi", "mine"),
    ],
)
def test_a_shell_completes_names(words, offered, tmp_path, monkeypatch):
    from click.shell_completion import BashComplete

    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "request.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    *before, begun = words.split()[1:]
    complete = BashComplete(cli, {}, "fpbench", "_FPBENCH_COMPLETE")
    assert [item.value for item in complete.get_completions(before, begun)] == [offered]


def test_a_suite_of_ones_own_is_completed_as_a_file():
    from click.shell_completion import BashComplete

    complete = BashComplete(cli, {}, "fpbench", "_FPBENCH_COMPLETE")
    (item,) = complete.get_completions(["run"], str(Path("folder") / "su"))
    assert item.type == "file"


@pytest.mark.parametrize("verb", ["status", "retry", "logs", "score"])
def test_a_run_that_is_misspelt_is_guessed(command, verb, tmp_path, monkeypatch):
    (tmp_path / "runs" / "quickstart").mkdir(parents=True)
    (tmp_path / "runs" / "quickstart" / "request.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    folder = "runs/quikstart" if verb == "score" else "quikstart"
    code, _, err = command(verb, folder)
    assert code == 2
    assert "did you mean 'quickstart'?" in err
