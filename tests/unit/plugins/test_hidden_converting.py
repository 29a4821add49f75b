"""Public checkpoints of HiDDeN as files of this method; these are made up, in the public layout."""

import os
from collections import OrderedDict

import pytest
import torch
from click.testing import CliRunner
from fpbench_hidden import converting
from fpbench_hidden.paper import load
from fpbench_hidden.paper_networks import Adversary, Extractor, PaperEmbedder
from fpbench_hidden.params import HiddenParams
from fpbench_hidden.plugin import Hidden
from safetensors.torch import load_file, save_file

from fpbench.api import Access, ContractError, MissingResource, SampleInfo
from fpbench.nn.state import prefixed
from fpbench.registry import load as catalogue
from fpbench.stages.context import StageContext
from fpbench.store import Store
from fpbench.testing.conformance import check_method

BITS, CHANNELS = 6, 8
IMAGES = SampleInfo.of_images(32, {"train": 64})


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        yield


@pytest.fixture
def pair():
    made = {
        "encoder": PaperEmbedder(bits=BITS, channels=CHANNELS),
        "decoder": Extractor(bits=BITS, channels=CHANNELS),
    }
    for name, buffer in [item for module in made.values() for item in module.named_buffers()]:
        if name.endswith(("mean", "var")):
            buffer.uniform_(0.5, 1.5)
    return made


@pytest.fixture
def checkpoint(pair):
    """As that repository saves it, with both optimisers."""
    adversary = Adversary(channels=CHANNELS)
    adam = torch.optim.Adam(adversary.parameters())
    adversary(torch.rand(2, 3, 16, 16)).sum().backward()
    adam.step()
    return {
        "enc-dec-model": OrderedDict(prefixed(pair)),
        "enc-dec-optim": adam.state_dict(),
        "discrim-model": adversary.state_dict(),
        "discrim-optim": adam.state_dict(),
        "epoch": 200,
    }


def saved(folder, checkpoint, **how):
    path = folder / "it--epoch-200.pyt"
    torch.save(checkpoint, path, **how)
    return path


def params(**more):
    return HiddenParams(architecture="paper", bits=BITS, channels=CHANNELS, **more)


def converted(folder, checkpoint):
    path = folder / "weights.safetensors"
    save_file(converting.convert(saved(folder, checkpoint)), path)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_becomes_a_file_that_marks_and_reads_the_same(
    zipped, pair, checkpoint, tmp_path
):
    given = saved(tmp_path, checkpoint, _use_new_zipfile_serialization=zipped)
    made = tmp_path / "made.safetensors"
    ran = CliRunner().invoke(converting._main, [str(given), str(made)])
    assert ran.exit_code == 0, ran.output
    assert f"bits = {BITS}, channels = {CHANNELS}" in ran.output
    ctx = StageContext(torch.device("cpu"), (0,), Store(tmp_path / "store"), bits=BITS)
    state = load(params(weights=str(made)), ctx)
    embedder = Hidden(params(weights=str(made))).embedder(state, ctx)
    images, codes = torch.rand(2, 3, 24, 24) * 2 - 1, torch.rand(2, BITS) < 0.5
    with torch.no_grad():
        assert torch.equal(embedder(images, codes), pair["encoder"].eval()(images, codes))
    assert set(state) == set(load_file(made))
    reader = {k.removeprefix("reader."): t for k, t in state.items() if k.startswith("reader.")}
    assert reader.keys() == pair["decoder"].state_dict().keys()
    for name, tensor in pair["decoder"].state_dict().items():
        assert torch.equal(reader[name], tensor)


def test_counters_that_early_versions_of_torch_did_not_save_may_be_missing(checkpoint, tmp_path):
    model = checkpoint["enc-dec-model"]
    for name in [name for name in model if name.endswith("num_batches_tracked")]:
        del model[name]
    state = converting.convert(saved(tmp_path, checkpoint))
    assert int(state["embedder.conv_layers.0.layers.1.num_batches_tracked"]) == 0


def lacking(model):
    del model["encoder.after_concat_layer.layers.0.bias"]


def reshaped(model):
    model["encoder.after_concat_layer.layers.0.weight"] = torch.zeros(CHANNELS, 97, 3, 3)


def another(model):
    model["decoder.layers.8.weight"] = torch.zeros(1)


def broken(model):
    model["decoder.layers.3.layers.1.running_var"][1] = float("nan")


def unlike(model):
    model["decoder.linear.weight"] = torch.zeros(())


WRONG = {
    lacking: r"embedder.after_concat_layer.layers.0.bias \(8,\), got none of that name",
    reshaped: r"0.weight with the shape \(8, 17, 3, 3\), got \(8, 97, 3, 3\)",
    another: "expected 95 tensors, got another one, reader.layers.8.weight",
    broken: "finite numbers in the tensor reader.layers.3.layers.1.running_var",
    unlike: r"embedder.after_concat_layer.layers.0.weight with the shape \(8, 41, 3, 3\)",
}


@pytest.mark.parametrize(("spoil", "said"), WRONG.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_the_first_tensor_that_is_wrong_is_named(spoil, said, checkpoint, tmp_path):
    spoil(checkpoint["enc-dec-model"])
    with pytest.raises(ContractError, match=said):
        converting.convert(saved(tmp_path, checkpoint))


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_files_that_run_code_or_hold_something_else_are_refused(checkpoint, tmp_path):
    ran = tmp_path / "it ran"
    path = saved(tmp_path, checkpoint | {"options": Code(ran)})
    with pytest.raises(ContractError, match="does not read without running its code"):
        converting.convert(path)
    assert not ran.exists()
    with pytest.raises(ContractError, match="expected a mapping with 'enc-dec-model', got epoch"):
        converting.convert(saved(tmp_path, {"epoch": 3}))
    with pytest.raises(ContractError, match="expected tensors by name"):
        converting.convert(saved(tmp_path, {"enc-dec-model": {"epoch": 3}}))
    path.write_bytes(b"no checkpoint")
    told = CliRunner().invoke(converting._main, [str(path), str(tmp_path / "out")])
    assert told.exit_code == 1
    assert "Error: checkpoint it--epoch-200.pyt: expected a file of tensors" in told.output


def test_weights_of_a_file_are_part_of_the_key_and_nothing_is_trained(checkpoint, tmp_path):
    path = converted(tmp_path, checkpoint)
    method = Hidden(params(weights=str(path)))
    assert not method.trains
    assert not method.objection(IMAGES, 10)
    first = method.digest()
    result = check_method(method, tmp_path)
    assert not result.sealed
    attack = catalogue().component("attacks", "overwrite")
    assert Access.TRAINER in attack.access
    assert "nothing is trained" in method.refuse(None, attack(attack.Params())).reason
    checkpoint["enc-dec-model"]["decoder.linear.bias"][0] += 1
    converted(tmp_path, checkpoint)
    assert Hidden(params(weights=str(path))).digest() not in ("", first)


def test_a_file_of_another_kind_is_refused_when_the_plan_is_made(checkpoint, tmp_path):
    path = converted(tmp_path, checkpoint)
    ctx = StageContext(torch.device("cpu"), (0,), Store(tmp_path / "store"), bits=BITS)
    other = HiddenParams(architecture="paper", channels=CHANNELS, weights=str(path))
    assert "(8, 41, 3, 3), got (8, 17, 3, 3)" in Hidden(other).objection(IMAGES, 10)
    with pytest.raises(ContractError, match="set `bits` and `channels` to those of the file"):
        load(other, ctx)
    path.write_bytes(b"pickled")
    assert "expected safetensors" in Hidden(other).objection(IMAGES, 10)
    with pytest.raises(ContractError, match=r"python -m fpbench_hidden\.converting"):
        load(other, ctx)
    path.unlink()
    assert not Hidden(other).objection(IMAGES, 10)
    with pytest.raises(MissingResource, match="bring it"):
        load(other, ctx)
