import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import fpbench
from fpbench.api import ContractError, SpecError, StoreError
from fpbench.execute.run import Run as Execution
from fpbench.execute.run import Summary
from fpbench.registry import load
from fpbench.store import RecordLog

ROOT = Path(__file__).parents[2]
FAKES = "fpbench.testing.fakes"
KINDS = ["perfect", "blind", "keyed", "weighed"]
HERE = {"plugins": [FAKES], "device": "cpu", "jobs": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory, run_in, plain_suite):
    """A folder with a suite that was run there."""
    place = tmp_path_factory.mktemp("python")
    methods = "".join(f'[[methods]]\nuse = "{kind}"\n' for kind in KINDS)
    head, attacks = (
        plain_suite.split("[[methods]]")[0],
        '[[attacks]]\nuse = "jpeg"\nquality = [50]\n',
    )
    tail = plain_suite[plain_suite.index("[population]") :]
    (place / "suite.toml").write_text(head + methods + attacks + tail)
    run_in(place, place / "suite.toml")
    return place


@pytest.fixture
def run(place):
    return fpbench.open_run(place / "run", plugins=[FAKES])


def test_images_that_are_drawn_again_read_as_they_did(run):
    for kind in KINDS[:3]:
        method = run.method(kind)
        for user in (0, 3):
            stored = method.readings(user)
            assert np.array_equal(method.extract(method.images(user)), stored)
            assert stored.dtype == np.float32
    perfect = run.method("perfect")
    assert perfect.codes.shape == (perfect.users, perfect.bits) == (5, 16)
    right = [(perfect.readings(u) > 0) == perfect.codes[u] for u in range(5)]
    said = run.records("bit-accuracy", "", "perfect", "none")["value"].item()
    assert np.mean(right) == said
    assert run.method("keyed").codes.shape == (5, 0)
    assert run.method("weighed").readings(1).shape == (1, 16)


def test_a_copy_draws_by_seed_and_number_alone(run):
    one, other = (run.method("blind").copy(user) for user in (0, 4))
    five = one.sample(5)
    assert five.dtype == np.uint8
    assert five.shape == (5, 32, 32, 3)
    assert np.array_equal(one.sample(2), five[:2])
    assert np.array_equal(other.sample(5), five)  # of this method all copies are the host
    assert not np.array_equal(one.sample(5, seed=1), five)
    method = run.method("perfect")
    assert ((method.extract(method.copy(4).sample(70)) > 0) == method.codes[4]).all()


def test_computing_leaves_the_process_as_it_was(run):
    flags = ("allow_tf32", "deterministic")

    def now():
        switches = [torch.get_num_threads(), torch.is_grad_enabled(), torch.get_rng_state().sum()]
        return [*switches, *(getattr(torch.backends.cudnn, name) for name in flags)]

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    before = now()
    method = run.method("perfect")
    method.extract(method.copy(1).sample(2))
    assert now() == before
    torch.set_num_threads(threads)


def test_ctrl_c_ends_it_as_ctrl_c(run, monkeypatch):
    copy = run.method("perfect").copy(1)
    prior = copy._generator.prior

    def pressed(*args):
        signal.raise_signal(signal.SIGINT)
        return prior(*args)

    monkeypatch.setattr(copy._generator, "prior", pressed)
    with pytest.raises(KeyboardInterrupt):
        copy.sample(1000)
    monkeypatch.undo()
    assert len(copy.sample(2)) == 2


def test_what_is_asked_wrongly_is_said_in_a_sentence(run, place):
    method = run.method("perfect")
    for ask, said in (
        (lambda: run.method("perfekt"), "did you mean 'perfect'"),
        (lambda: run.method("perfect", 2), r"expected a training seed of .* \(0\), got 2"),
        (lambda: method.copy(5), r"expected a user in \[0, 5\), got 5"),
        (lambda: method.copy(0).sample(0), "expected n ≥ 1"),
        (lambda: method.extract(np.zeros((2, 3, 32, 32), np.uint8)), r"uint8 \(N, 32, 32, 3\)"),
        (lambda: method.extract(np.zeros((2, 32, 32, 3))), r"got float64 \(2, 32, 32, 3\)"),
        (lambda: run.method("weighed").extract(method.images(0)), "one that reads weights"),
        (lambda: method.copy(0).save(place), "expected an empty folder"),
        (lambda: fpbench.run("fakes", name="../x"), "expected the name of a folder"),
    ):
        with pytest.raises(SpecError, match=said):
            ask()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_copy_opens_without_the_run_and_draws_the_same(kind, run, tmp_path):
    copy = run.method(kind).copy(2)
    copy.save(tmp_path / "copy")
    card = (tmp_path / "copy" / "card.json").read_text()
    assert "/" not in card
    assert "code" not in card
    again = fpbench.load_copy(tmp_path / "copy", plugins=[FAKES], device="cpu")
    assert np.array_equal(again.sample(4, seed=3), copy.sample(4, seed=3))
    again.save(tmp_path / "another")
    for name in ("card.json", "copy.safetensors"):
        files = [(tmp_path / folder / name).read_bytes() for folder in ("copy", "another")]
        assert files[0] == files[1]


def test_an_opaque_copy_says_that_it_is_no_file(run, tmp_path):
    copy = run.method("perfect").copy(0)
    copy._generator.steps["post"].embedder.opaque = True
    with pytest.raises(ContractError, match="got the opaque post; hand out its files"):
        copy.save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


class Saved:
    """The folder of a copy, to be tampered with."""

    def __init__(self, folder):
        self.folder, self.weights = folder, folder / "copy.safetensors"

    def card(self, change):
        path = self.folder / "card.json"
        card = json.loads(path.read_text())
        change(card)
        path.write_text(json.dumps(card))

    def tensors(self, change):
        tensors = load_file(self.weights)
        change(tensors)
        save_file(tensors, self.weights)
        self.signed()

    def signed(self):
        from fpbench.python.copies import _sha256

        self.card(lambda card: card.update(sha256=_sha256(self.weights)))

    def refused(self, error, match):
        with pytest.raises(error, match=match):
            fpbench.load_copy(self.folder, plugins=[FAKES], device="cpu")


@pytest.fixture
def saved(run, tmp_path):
    return Saved(run.method("perfect").copy(0).save(tmp_path / "copy"))


def test_weights_of_another_kind_are_refused(saved):
    whole = saved.weights.read_bytes()
    saved.tensors(lambda tensors: tensors.update(more=np.zeros(1)))
    saved.refused(ContractError, "step 'generator', got generator, more")
    saved.tensors(lambda tensors: tensors.pop("more"))
    saved.tensors(lambda tensors: tensors.update({"post/more": np.zeros(1)}))
    saved.refused(ContractError, "another .post/more.")
    saved.weights.write_bytes(whole)
    saved.tensors(lambda tensors: tensors.update({"generator/map.weight": np.zeros((1, 1))}))
    saved.refused(ContractError, "expected the weights of a copy of these parameters")
    saved.tensors(lambda tensors: tensors.update({"post/code": np.full(16, np.nan)}))
    saved.refused(ContractError, "got NaN or infinity in 'post/code'")


def test_damaged_files_pickles_and_links_are_refused(saved):
    saved.weights.write_bytes(b"\x80\x04\x95" + bytes(64))
    saved.refused(StoreError, "got another file than the card's")
    saved.signed()
    saved.refused(StoreError, "got no safetensors")
    saved.weights.rename(saved.folder / "elsewhere")
    saved.refused(StoreError, r"in copy\.safetensors, got none")
    saved.weights.symlink_to(saved.folder / "elsewhere")
    saved.refused(StoreError, "got a link")
    saved.card(lambda card: card.update(path="/etc/passwd"))
    saved.refused(StoreError, "got path: Extra inputs are not permitted")


def test_cards_of_what_is_not_here_are_refused(saved):
    with pytest.raises(SpecError, match=r"unknown method 'perfect'.*; it came with fpbench\.test"):
        fpbench.load_copy(saved.folder)
    saved.card(lambda card: card["method"].update(version="0"))
    saved.refused(SpecError, "method perfect: expected version 0, which the copy is of, got 1")
    saved.card(lambda card: card["method"].update(version="1", params={"bits": 3}))
    saved.refused(SpecError, "expected the parameters of a copy, got bits: Input should be greater")


def test_a_card_runs_nothing_and_reaches_no_file(saved, tmp_path):
    found = load().component("methods", "foreign")
    params = {"bits": 8, "command": ["touch", str(tmp_path / "run")], "folder": "/etc"}
    part = {"name": "foreign", "version": found.version, "params": params}
    saved.card(lambda card: card.update(method=part))
    saved.refused(SpecError, "expected a card without anything to run, got `command`; refused")
    assert not (tmp_path / "run").exists()
    found = load().component("hosts", "latent-diffusion")
    part = {"name": found.name, "version": found.version, "params": {"autoencoder": "../copy"}}
    saved.card(lambda card: card.update(host=part, method={**card["method"], "name": "blind"}))
    saved.card(lambda card: card["method"].update(params={"bits": 16}))
    saved.refused(SpecError, r"not on this machine.copy.*places=\{'autoencoder': PATH\}")


def test_run_is_the_command_and_says_nothing(place, capfd, monkeypatch):
    run = fpbench.run(place / "suite.toml", runs=place, name="run", **HERE)
    assert run.folder == place / "run"
    page = (run.folder / "page" / "leaderboard.csv").read_text()
    assert run.leaderboard().to_csv(index=False, lineterminator="\n") == page
    assert len(run.records()) == len(RecordLog(run.folder / "records.jsonl").read())
    asked = {"methods": ["keyed"], "attacks": ["jpeg[quality=50]"], "seeds": range(1)}
    changed = {"score.registered": 40, "suite.title": "A title"}
    other = fpbench.run(
        place / "suite.toml", runs=place, name="other", set=changed, **asked, **HERE
    )
    assert set(other.records()["method"]) == {"keyed"}
    suite = json.loads((other.folder / "suite.json").read_text())
    assert (suite["score"]["registered"], suite["suite"]["title"]) == (40, "A title")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(Execution, "execute", lambda self: Summary(interrupted=True))
    with pytest.raises(KeyboardInterrupt, match="the same call goes on"):
        fpbench.run(place / "suite.toml", runs=place, name="run", **HERE)


def test_a_run_without_its_training_says_so(place, tmp_path):
    (tmp_path / "store").mkdir()
    run = fpbench.open_run(place / "run", store=tmp_path / "store", plugins=[FAKES])
    with pytest.raises(SpecError, match=r"perfect: expected its training in .*; run it again"):
        run.method("perfect")


def test_the_documented_code_runs(place, tmp_path, monkeypatch, command):
    bundle = tmp_path / "b.zip"
    asked = (place / "run", "-o", bundle, "--no-readings", "--weights", "-m", "perfect")
    assert command("-p", FAKES, "export", *asked)[0] == 0
    page = (ROOT / "docs" / "python.md").read_text()
    text = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
    for name, fake in (
        ('run("quickstart"', f"run({str(place / 'suite.toml')!r}, runs={str(place)!r}, **HERE"),
        ('open_run("runs/quickstart"', f"open_run({str(place / 'fakes')!r}, plugins=[{FAKES!r}]"),
        ('load_copy("for-user-3"', f'load_copy("for-user-3", plugins=[{FAKES!r}], device="cpu"'),
        ('load("quickstart.zip", "hidden"', f"load({str(bundle)!r}, 'perfect', **LOAD"),
        ("weight-modulation", "blind"),
        ("hidden", "perfect"),
    ):
        assert name in text
        text = text.replace(name, fake)
    monkeypatch.chdir(tmp_path)
    names = {"HERE": HERE, "LOAD": {"plugins": [FAKES], "device": "cpu"}}
    exec(compile(text, "docs/python.md", "exec"), names)  # noqa: S102 - our own page
    assert names["right"] == 1
    assert (names["read"] == names["code"]).all()
    assert names["table"].shape == (2, 2)
    assert list(names["curve"]["point"]) == ["none", "jpeg 50"]
    assert len(names["difference"]) == 3
    assert names["missing"].empty


def test_the_names_are_frozen_and_importing_them_is_light():
    assert fpbench.__all__ == sorted(fpbench.__all__)
    assert fpbench.__all__ == [
        "Copy",
        "Run",
        "TrainedMethod",
        "load",
        "load_copy",
        "open_run",
        "run",
    ]
    assert {*fpbench.__all__} <= {*dir(fpbench)}
    assert all(getattr(fpbench, name).__doc__ for name in fpbench.__all__)
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        _ = fpbench.walk
    code = (
        "import sys; import fpbench; heavy = {'torch', 'pandas', 'scipy', 'cv2', 'jinja2'};"
        "bad = {*sys.modules} & {*heavy, 'numpy', 'fpbench.api', 'pydantic'};"
        "fpbench.open_run; fpbench.run; bad |= heavy & {*sys.modules};"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
