import hashlib
import subprocess
import sys
from http.client import RemoteDisconnected
from urllib.error import URLError

import pytest
import torch

from fpbench.api import FpbenchError, MissingResource
from fpbench.backbones import weights
from fpbench.backbones.weights import CATALOGUE, WrongWeights, fetch, find, hub_folder, sha256_of

SQUEEZE = CATALOGUE["lpips-squeeze"]
CONTENT = b"published"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch.hub's folder, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    hub_folder().mkdir(parents=True)
    return hub_folder()


@pytest.fixture
def small(monkeypatch):
    """The catalogue with one file, whose published name fits `CONTENT`."""
    file = weights.WeightFile(
        "lpips-squeeze", f"squeeze-{DIGEST[:8]}.pth", SQUEEZE.entry, ("lpips",), "none"
    )
    monkeypatch.setattr(weights, "CATALOGUE", {"lpips-squeeze": file})
    return file


@pytest.mark.parametrize("variables", [{"TORCH_HOME": "~/t"}, {"XDG_CACHE_HOME": "/x/c"}, {}])
def test_the_hub_folder_is_torch_s(monkeypatch, variables):
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(hub_folder()) == f"{torch.hub.get_dir()}/checkpoints"


def test_published_names_are_those_that_the_libraries_download():
    for file in CATALOGUE.values():
        assert weights._url(file).endswith(f"/{file.file}")
        assert len(file.digest) == 8
        assert set(file.digest) <= set("0123456789abcdef")


def test_the_folder_of_the_machine_s_owner_comes_before_torch_hub_s(tmp_path, hub, small):
    (hub / small.file).write_bytes(CONTENT)
    assert find("lpips-squeeze", tmp_path) == hub / small.file
    assert find("lpips-squeeze") == hub / small.file
    (tmp_path / small.file).write_bytes(CONTENT)
    assert find("lpips-squeeze", tmp_path) == tmp_path / small.file


def test_another_digest_than_the_name_s_is_refused_and_both_are_printed(hub):
    path = hub / SQUEEZE.file
    path.write_bytes(b"damaged")
    with pytest.raises(WrongWeights) as caught:
        find("lpips-squeeze")
    text = str(caught.value)
    for part in (str(path), SQUEEZE.digest, hashlib.sha256(b"damaged").hexdigest(), "prepare"):
        assert part in text
    assert isinstance(caught.value, FpbenchError)
    assert not isinstance(caught.value, MissingResource)


def test_a_missing_file_says_what_to_do(tmp_path, hub):
    with pytest.raises(MissingResource) as caught:
        find("inception", tmp_path)
    parts = (CATALOGUE["inception"].file, str(tmp_path), str(hub), "fpbench prepare SUITE")
    for part in (*parts, "--weights DIR", "FPBENCH_WEIGHTS"):
        assert part in str(caught.value)


def test_a_pinned_digest_is_found_under_any_name_and_no_other_file_is(tmp_path, hub):
    (hub / "other.pth").write_bytes(b"other")
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    # A pin is about other weights than the published ones: its name promises nothing here.
    (hub / SQUEEZE.file).write_bytes(b"not what the name says")
    assert find("lpips-squeeze", tmp_path, DIGEST) == tmp_path / "mine.pth"
    assert find("lpips-squeeze", tmp_path, DIGEST.upper()) == tmp_path / "mine.pth"
    with pytest.raises(MissingResource, match=f"{DIGEST}, in .* got 2 with others; .*--weights"):
        find("lpips-squeeze", sha256=DIGEST)


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(CONTENT)
    assert sha256_of(path) == DIGEST
    path.write_bytes(b"and more")
    assert sha256_of(path) == hashlib.sha256(b"and more").hexdigest()


def test_fetching_downloads_what_is_missing_only(hub, small, monkeypatch):
    asked = []

    def download(url, target, prefix, progress):
        asked.append((url, prefix, progress))
        with open(target, "wb") as file:  # noqa: PTH123 - torch.hub gets a string
            file.write(CONTENT)

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    assert fetch("lpips-squeeze") == hub / small.file
    assert fetch("lpips-squeeze") == hub / small.file
    assert asked == [
        ("https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", small.digest, False)
    ]


@pytest.mark.parametrize(
    "problem", [URLError("no route"), RemoteDisconnected("gone"), TimeoutError("too long")]
)
def test_a_failed_download_is_a_missing_file_and_says_what_to_do(hub, monkeypatch, problem):
    def download(*args, **kwargs):
        raise problem

    monkeypatch.setattr("torch.hub.download_url_to_file", download)
    with pytest.raises(MissingResource, match=r"without internet bring .* --weights DIR"):
        fetch("inception")
    assert not list(hub.iterdir())


def test_fetching_through_a_closed_network_keeps_nothing(hub):
    with pytest.raises(MissingResource, match="without internet"):
        fetch("lpips-alex")
    assert not list(hub.iterdir())


def test_a_download_with_another_digest_is_refused(hub, tmp_path, small, monkeypatch):
    served = tmp_path / "served.pth"
    served.write_bytes(b"something else")
    monkeypatch.setattr(weights, "_url", lambda _: served.as_uri())
    with pytest.raises(WrongWeights, match=f"starts with {DIGEST[:8]}, got .*invalid hash"):
        fetch("lpips-squeeze")
    assert not list(hub.iterdir())
    served.write_bytes(CONTENT)
    assert fetch("lpips-squeeze").read_bytes() == CONTENT


def test_fetching_leaves_a_wrong_file_alone(hub):
    (hub / SQUEEZE.file).write_bytes(b"damaged")
    with pytest.raises(WrongWeights, match="remove the file"):
        fetch("lpips-squeeze")


def test_files_without_tensors_by_name_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"no torch file")
    with pytest.raises(WrongWeights, match=r"a\.pth: expected a file of tensors"):
        weights.read(path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(WrongWeights, match="expected tensors by name, got list"):
        weights.read(path)
    torch.save({"code": weights.WeightFile("inception", "f", "e", (), "l")}, path)
    with pytest.raises(WrongWeights, match="expected a file of tensors"):
        weights.read(path)


def test_an_absent_library_says_how_to_get_it():
    with pytest.raises(MissingResource, match="uv sync --extra backbones"):
        weights.library("fpbench_no_such_library")


def test_a_plan_needs_neither_torch_nor_the_libraries():
    code = (
        "import sys, fpbench.backbones.weights as w\n"
        "try: w.find('inception')\n"
        "except w.MissingResource: pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'torch_fidelity', 'lpips', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
