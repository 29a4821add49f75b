import hashlib
import json
import re
import sys

import pytest
import torch
from safetensors.torch import save_file

from fpbench.api import ContractError, MissingResource, StageError
from fpbench.plan.assets import find_asset

METHOD = """
from fpbench.api import hookimpl
from fpbench.testing.fakes import Perfect


class Brought(Perfect):
    "Its amplitude was found elsewhere."
    name = "brought"
    assets = {{"net/amplitude.safetensors": "{digest}"}}

    def fit(self, host, images, ctx):
        from safetensors.torch import load_file

        (name, sha256), = self.assets.items()
        return load_file(ctx.asset(name, sha256=sha256))


@hookimpl
def fpbench_methods():
    return [Brought]
"""


@pytest.fixture
def weights(tmp_path):
    """A folder of weights, and a plugin that wants one of them."""
    folder = tmp_path / "weights"
    (folder / "net").mkdir(parents=True)
    file = folder / "net" / "amplitude.safetensors"
    save_file({"amplitude": torch.tensor([0.25])}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    plugin = tmp_path / "brought.py"
    plugin.write_text(METHOD.format(digest=digest))
    yield folder, plugin, digest
    for name in [name for name in sys.modules if name.startswith("fpbench_file_")]:
        del sys.modules[name]


def test_files_are_found_by_name_and_checked_by_content(weights):
    folder, _, digest = weights
    name = "net/amplitude.safetensors"
    assert find_asset(name, digest.upper(), folder) == folder / name
    with pytest.raises(MissingResource, match="name its folder with --weights"):
        find_asset(name, digest, None)
    with pytest.raises(MissingResource, match="got no such file"):
        find_asset("other", digest, folder)
    with pytest.raises(StageError, match="expected the SHA-256 0000"):
        find_asset(name, "0" * 64, folder)
    with pytest.raises(ContractError, match="below the folder"):
        find_asset("../weights/net/amplitude.safetensors", digest, folder)


def test_a_pretrained_method_is_planned_prepared_and_run(weights, command, suite_file, tmp_path):
    folder, plugin, _ = weights
    suite = suite_file(('use = "blind"', 'use = "brought"'), ("steps = [1, 3]", "steps = [1]"))
    plugins = ("-p", "fpbench.testing.fakes", "-p", plugin)
    said = "asset net/amplitude.safetensors: expected a folder of such files, got none; bring it"
    code, out, _ = command(*plugins, "plan", suite)
    assert (code, f"method brought: {said}" in out) == (0, True)
    code, out, _ = command(*plugins, "prepare", suite)
    assert (code, f"missing  method brought: {said}" in out) == (7, True)
    code, out, _ = command(*plugins, "prepare", suite, "--weights", folder)
    assert (code, "ready    method brought: net/amplitude.safetensors" in out) == (0, True)
    code, out, _ = command(*plugins, "plan", suite, "--weights", folder)
    assert "asset" not in out
    run = tmp_path / "runs" / "fakes"
    wanted = (*plugins, "run", suite, "--runs", tmp_path / "runs", "-j", 1, "--weights", folder)
    code, _, err = command(*wanted)
    assert code == 0, err
    told = json.loads((run / "suite.json").read_text())["methods"]
    assert [list(m.get("assets", ())) for m in told] == [[], ["net/amplitude.safetensors"]]
    page = (run / "page" / "methods" / "brought.html").read_text()
    assert "trained elsewhere: net/amplitude.safetensors" in page
    assert re.search(r"brought\.py [0-9a-f]{16}", page)  # the plugin that made it
    assert ">elsewhere<" in (run / "page" / "index.html").read_text()
