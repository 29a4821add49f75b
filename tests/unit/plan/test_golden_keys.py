"""Keys that must never change: whoever has a store would compute everything anew."""

import json
from pathlib import Path

import pytest

from fpbench.plan import graph_of, identity, make_plan
from fpbench.plan.keys import key_of, sub_key
from fpbench.registry import load
from fpbench.spec import read_suite

GOLDEN = Path(__file__).with_name("golden_keys.json")
SUITE = """
[suite]
name = "golden"
seed = 7
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[training]
seeds = [0, 3]
snapshots = 2
[[methods]]
use = "perfect"
[[methods]]
use = "blind"
bits = 24
[[attacks]]
use = "jpeg"
quality = [90]
[[attacks]]
use = "weight-noise"
sigma = [0.1]
images = 3
[[attacks]]
use = "fine-tune"
steps = [2]
copies = 3
clean_images = 8
tune = { learning_rate = [1e-3, 1e-2] }
[[attacks]]
use = "collude"
users = [2]
[[attacks]]
use = "re-embed"
copies = 2
[[crosses]]
model = "weight-noise"
image = "jpeg"
[population]
copies = 4
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


KINDS = """
[suite]
name = "kinds"
[dataset]
use = "toy-faces"
train = 64
test = 64
reference = 64
[host]
use = "tiny-host"
[[methods]]
use = "perfect"
bits = 32
codes = { use = "tardos", cutoff = 0.05 }
[[methods]]
use = "relative"
copies = 3
[[methods]]
use = "retrained"
[[methods]]
use = "present"
[[methods]]
use = "weighed"
[[strangers]]
use = "tiny-host"
label = "another host"
steps = 9
[[attacks]]
use = "weight-noise"
sigma = [0.1]
[population]
copies = 4
images = 4
shared = 2
unregistered = 2
[negatives]
real = 20
host = 20
attacked_host = 10
"""


@pytest.fixture(params=["", "kinds"])
def plan(request, suite_file, monkeypatch):
    # Sources may change; what is frozen is how keys are made of them.
    monkeypatch.setattr(identity, "source_digest", lambda module: f"source of {module}")
    catalogue = load(["fpbench.testing.fakes"])
    text = KINDS if request.param else SUITE
    made = make_plan(read_suite(str(suite_file(text=text)), catalogue), catalogue.metrics())
    return request.param, made


def keys(plan):
    found = {f"{stage.kind}: {stage.label}": stage.key for stage in graph_of(plan).stages.values()}
    for fit in plan.fits:
        for model in plan.open_points(fit):
            label = f"{fit.method.label} {fit.seed} {model.label if model else 'none'}"
            found[f"reading: {label}"] = plan.reading_key(fit, 1, model)
            found[f"null: {label}"] = plan.null_key(fit, "host", model)
            found[f"sheet: {label}"] = plan.sheet_key(fit, 0, model)
            found[f"drawing: {label}"] = plan.drawing_key(fit, None, model)
            for want in plan.wants(fit, model):
                image = want.image.label if want.image else "none"
                found[f"column: {label} {image}"] = plan.column(fit, want)
    for cell in plan.cells:
        found[f"cell: {cell.fit.method.label} {cell.fit.seed} {cell.point.label}"] = cell.key
    return found


def test_keys_are_frozen(plan):
    part, made = plan
    golden = json.loads(GOLDEN.read_text())
    mine = {k.removeprefix("kinds: "): v for k, v in golden.items() if k.startswith("kinds: ")}
    others = {k: v for k, v in golden.items() if not k.startswith("kinds: ")}
    assert keys(made) == (mine if part else others)


def test_the_algorithm_is_frozen():
    key = key_of("reading", fit="f" * 64, point=None, tuning="", users=[], seed=0)
    assert key == key_of("reading", fit="f" * 64, seed=0)
    assert key == "7904346dd80cee5915a91b9be23e69d7c4030e5fcc4f549645fc05703366a7cd"
    assert sub_key(key, 7) == "adcb435213bdb550dbcb47e685e5a277b035233929b70fd6f30ce8a60682cac6"


def test_the_digest_of_a_source_is_frozen(tmp_path):
    file = tmp_path / "m.py"
    file.write_text(
        '"""Said to people."""\nimport os\n\n\nclass A(B, c=1):\n    """As above."""\n'
        "    x: int = 1\n\n    async def f(self, *a, b=2, **k) -> None:\n"
        '        return [y async for y in a if y] or f"{b!r:>{self.x}}"\n\n\n'
        "def g(x, /):\n    match x:\n        case [1, *_]:\n            return {**x} | {1: b'2'}\n"
        "    try:\n        with x as y, y:\n            z = lambda: 1.5\n"
        "    except* ValueError as e:\n        raise e from None\n"
    )
    assert (
        identity.tree_digest({"m": file})
        == "a5ffb4e83a92970cbdeea1fc4df21ca14748d03e1f9bd8612d502224a9972192"
    )


def package(folder, name, **files):
    place = folder / name
    place.mkdir()
    for module, text in {"__init__": "", **files}.items():
        (place / f"{module}.py").write_text(text.replace("PKG", name))


def test_files_that_a_component_never_imports_do_not_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    used = {
        "plugin": "from PKG.a import x\n\n\ndef f():\n    from PKG import b\n",
        "a": "from . import c\nx = 1\n",
        "b": "import PKG.d\n",
        "c": "",
        "d": "",
    }
    package(tmp_path, "pkg_one", **used)
    package(tmp_path, "pkg_two", **used, e="other = 1\n")
    for number, module in enumerate(used):
        package(tmp_path, f"pkg_of_{number}", **{**used, module: used[module] + "more = 2\n"})
    package(tmp_path, "pkg_all", **used, e="import importlib\nimportlib.import_module('PKG.f')\n")

    def digest(name):
        closure = identity._closure(f"{name}.plugin", name, identity._files(name))
        return sorted(module.partition(".")[2] for module in closure)

    assert digest("pkg_one") == digest("pkg_two") == ["", "a", "b", "c", "d", "plugin"]
    assert digest("pkg_all") == digest("pkg_one")
    one, two = (identity._files(name) for name in ("pkg_one", "pkg_two"))
    assert {k.partition(".")[2] for k in two} - {k.partition(".")[2] for k in one} == {"e"}


def test_who_computes_the_names_of_imports_counts_with_all_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    text = "import importlib\n\n\ndef f(name):\n    return importlib.import_module(name)\n"
    package(tmp_path, "pkg_computes", plugin=text, other="x = 1\n")
    before = identity.source_digest("pkg_computes.plugin")
    (tmp_path / "pkg_computes" / "more.py").write_text("y = 1\n")
    identity.digest_of_source.cache_clear()
    assert identity.source_digest("pkg_computes.plugin") != before


def test_two_files_under_one_parameter_are_two_components(tmp_path):
    from typing import Annotated

    from fpbench.api import Params
    from fpbench.api.params import Local, local_digest

    class Weights(Params):
        path: Annotated[str, Local()]

    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / name).write_bytes(content)
    one, two, same = (local_digest(Weights(path=str(tmp_path / name))) for name in "abc")
    assert one == same != two
    assert local_digest(Weights(path=str(tmp_path / "absent"))) == ""
    whole = local_digest(Weights(path=str(tmp_path)))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "server.pyc").write_bytes(b"4")
    assert local_digest(Weights(path=str(tmp_path))) == whole
