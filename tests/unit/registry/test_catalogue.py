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


def test_one_name_from_two_plugins_is_an_error_naming_both(monkeypatch):
    twin = type("Twin", (Blind,), {})
    names = [plugin(monkeypatch, "one", Blind), plugin(monkeypatch, "two", twin)]
    with pytest.raises(PluginError, match="'blind', got two, from one and from two"):
        load(names)


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
    assert "did you mean 'jpeg'?" in load().unknown("attacks", "jpg")


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
