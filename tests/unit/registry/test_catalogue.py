import sys
import types

import pytest

from fpbench.api import Card, Params, PluginError, hookimpl
from fpbench.registry import load
from fpbench.testing.fakes import Blind


def plugin(monkeypatch, name, *classes, kind="methods"):
    module = types.ModuleType(name)
    hook = hookimpl(lambda: list(classes))
    setattr(module, f"fpbench_{kind}", hook)
    monkeypatch.setitem(sys.modules, name, module)
    return name


def test_installed_components_are_found():
    catalogue = load()
    assert {"jpeg", "gaussian-noise", "weight-noise", "fine-tune", "bypass"} <= set(
        catalogue.names("attacks")
    )
    assert "toy-faces" in catalogue.names("datasets")
    assert "local" in catalogue.names("executors")
    assert catalogue.origin("attacks", "jpeg").startswith("fpbench ")


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Installs a plugin of one module, as its own distribution."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[fpbench]\n{name} = {name}\n")

    install.place = tmp_path
    yield install
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


TWIN = """
from fpbench.api import hookimpl
from fpbench.testing.fakes import {base}

class Twin({base}):
    "Another of the same name."

@hookimpl
def fpbench_{kind}():
    return [Twin]
"""


def test_a_name_of_two_distributions_is_nobodys(installed, command, suite_file):
    for name in ("one", "two"):
        installed(name, TWIN.format(base="Blind", kind="methods"))
    both = "expected one method 'blind', got 2, from one 1.0 and from two 1.0; uninstall all but"
    code, out, err = command("plugins")
    assert (code, both in out) == (6, True)
    assert both in command("list")[2]
    assert both in command("doctor")[1]
    assert both in command("info", "blind")[2]
    code, _, err = command("-p", "fpbench.testing.fakes", "plan", suite_file())
    assert (code, "from one 1.0 and from two 1.0" in err) == (2, True)
    code, _, err = command("-p", "fpbench.testing.fakes", "plan", suite_file(), "-m", "perfect")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("kind", "base", "place"),
    [
        ("metrics", "BitAccuracy", "fpbench.builtin.metrics.reading"),
        ("executors", "LocalExecutor", "fpbench.builtin.local.executor"),
    ],
)
def test_what_every_run_needs_from_two_distributions_names_both(
    installed, command, suite_file, tmp_path, kind, base, place
):
    installed("twin", TWIN.replace("fpbench.testing.fakes", place).format(base=base, kind=kind))
    code, _, err = command("-p", "fpbench.testing.fakes", "run", suite_file(), "--runs", tmp_path)
    assert (code, "from fpbench" in err, "from twin 1.0" in err) == (6, True, True)
    assert command("list")[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def fpbench_stage_finished(sort): ...", "can not be found in the hookspec"),
        ("def fpbench_metods(): ...", "unknown hook 'fpbench_metods'"),
        ("def fpbench_methods(config): ...", "missing 1 required positional argument"),
        ("def fpbench_methods(): return [int]", "expected a subclass of Method"),
        ("def fpbench_methods(): raise SystemExit(0)", "SystemExit: 0"),
        ("def fpbench_methods(): return None", "expected a list of classes, got NoneType"),
        ("def hook(): ...\ndef fpbench_methods(): ...", "expected `@hookimpl` above fpbench_meth"),
        ("def hook(): ...", "got a module without any; write one that returns your classes"),
    ],
)
def test_a_plugin_with_a_wrong_hook_is_unavailable(installed, command, text, said):
    installed("wrong", f"from fpbench.api import hookimpl\n@hookimpl\n{text}\n")
    catalogue = load()
    assert [(b.plugin, b.distribution) for b in catalogue.unavailable] == [("wrong", "wrong 1.0")]
    assert said in catalogue.broken("wrong").error
    assert "jpeg" in catalogue.names("attacks")
    catalogue.stage_finished("train", "train x", "done", 1.0)
    code, out, _ = command("plugins")
    assert (code, said in out) == (6, True)


def test_of_two_distributions_with_one_plugin_name_the_second_is_named(installed, command):
    for name in ("beside", "again"):
        text = TWIN.format(base="Blind", kind="methods")
        own = f'name = "{name}-method"'
        installed(name, text.replace('"Another of the same name."', own))
        (installed.place / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(
            f"[fpbench]\nhidden = {name}\n"
        )
    catalogue = load()
    assert catalogue.origin("methods", "hidden").startswith("fpbench ")
    assert [b.distribution for b in catalogue.unavailable] == ["again 1.0", "beside 1.0"]
    code, out, _ = command("plugins")
    assert (code, "two, from fpbench 0" in out, "and from beside 1.0; rename" in out) == (6, 1, 1)
    assert command("-P", "again", "-P", "beside", "plugins")[0] == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("name = 'My Method'", "got 'My Method'; call it 'my-method'"),
        ("version = 2", "expected a version as text, got 2"),
        ("card = None", "expected `card` to be a fpbench.api.Card, got NoneType"),
    ],
)
def test_a_class_that_is_not_as_it_must_be_makes_its_plugin_unavailable(installed, line, said):
    body = f'"Another of the same name."\n    {line}'
    text = TWIN.format(base="Blind", kind="methods")
    installed("odd", text.replace('"Another of the same name."', body))
    assert said in load().broken("odd").error


def test_a_plugin_is_left_out(command, suite_file):
    assert "hidden" not in load(["no:hidden"]).names("methods")
    suite = suite_file(('use = "blind"', 'use = "hidden"'))
    code, out, _ = command("-P", "hidden", "-p", "fpbench.testing.fakes", "plan", suite)
    assert (code, "left out with -P hidden" in out) == (0, True)
    code, _, err = command("-P", "hiden", "plugins")
    assert (code, "did you mean 'hidden'?" in err) == (6, True)


def test_a_plugin_named_twice_is_loaded_once(installed, monkeypatch):
    twice = plugin(monkeypatch, "one", Blind)
    assert load([twice, twice, "fpbench.builtin.plugin"]).unavailable == []


def test_unfinished_classes_are_refused_with_what_is_missing(monkeypatch):
    nameless = type("Nameless", (Blind,), {"Params": int})
    with pytest.raises(PluginError, match=r"Params to be a subclass of fpbench\.api\.Params"):
        load([plugin(monkeypatch, "one", nameless)])

    class Unfinished(Blind):
        from abc import abstractmethod

        @abstractmethod
        def more(self): ...

    with pytest.raises(PluginError, match=r"abstract methods \['more'\]"):
        load([plugin(monkeypatch, "one", Unfinished)])
    with pytest.raises(PluginError, match="expected a subclass of Method"):
        load([plugin(monkeypatch, "one", int)])


def test_a_plugin_that_fails_to_import_stops_no_other(monkeypatch):
    from importlib.metadata import EntryPoint

    import fpbench.registry.catalogue as module

    real = module.entry_points
    bad = EntryPoint("my-method", "no_such_module.plugin", "fpbench")
    monkeypatch.setattr(module, "entry_points", lambda group: [*real(group=group), bad])
    catalogue = load()
    assert "jpeg" in catalogue.names("attacks")
    assert catalogue.unavailable[0].plugin == "my-method"
    assert "No module named" in catalogue.broken("my-method").error
    assert catalogue.broken("something-else") is None


def test_misspelt_extra_module_is_said():
    with pytest.raises(PluginError, match="check the name given with -p"):
        load(["no.such.module"])


def test_unknown_names_come_with_the_nearest():
    assert load().unknown("attacks", "jpg").endswith("did you mean 'jpeg'?")


def test_a_far_guess_comes_with_how_a_plugin_is_named():
    said = load().unknown("attacks", "clip-weights")
    assert "did you mean 'weight-noise'?" in said
    assert said.endswith("fpbench -p MODULE or ./FILE.py")


def test_observers_hear_of_finished_stages(monkeypatch):
    heard = []
    module = types.ModuleType("listener")

    @hookimpl
    def fpbench_stage_finished(kind, label, outcome, seconds):
        heard.append((kind, label, outcome))

    module.fpbench_stage_finished = fpbench_stage_finished
    monkeypatch.setitem(sys.modules, "listener", module)
    load(["listener"]).stage_finished("train", "train x", "done", 1.0)
    assert heard == [("train", "train x", "done")]


def test_every_component_documents_itself():
    catalogue = load(["fpbench.testing.fakes"])
    for kind in ("hosts", "methods", "attacks", "datasets", "metrics", "executors"):
        for name in catalogue.names(kind):
            cls = catalogue.component(kind, name)
            assert isinstance(cls.card, Card)
            assert cls.card.summary
            assert cls.__doc__
            assert issubclass(cls.Params, Params)
            assert cls.Params.__doc__
            for field in cls.Params.model_fields:
                assert field in cls.Params.__doc__, (name, field)
