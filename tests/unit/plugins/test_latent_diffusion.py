"""The decoders of `latent-diffusion` and its sampler of encoded photographs."""

import io
import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from fpbench_latent_diffusion.plugin import LatentDiffusion
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_autoencoders import (
    autoencoder_kl,
    autoencoder_tiny,
    conv,
    decoder_tensors,
    encoder_tensors,
    saved_chain,
)
from torch.nn.functional import conv2d, normalize

from fpbench.api import ContractError, MissingResource, Offer, SampleInfo
from fpbench.api.images import to_float, to_uint8
from fpbench.api.packing import pack
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.autoencoders import layout
from fpbench.nn.autoencoders.opening import decoder_of, encoder_of
from fpbench.nn.chains import hidden_channels
from fpbench.nn.channels import rearranged
from fpbench.nn.components import Components, fit_components
from fpbench.nn.weights import exchanged, fused, reachable
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost

CPU = torch.device("cpu")
RNG = torch.Generator()
INFO = SampleInfo.of_images(32, {"train": 64, "test": 64})


@pytest.fixture(autouse=True)
def _drawn_anew():
    RNG.manual_seed(1)


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "fit", 0), Store(tmp_path / "store"))


@pytest.fixture(scope="module")
def images():
    return SplitStream(ToyFaces(ToyFaces.Params(train=64)), "train", CPU)


def host_of(places, **params):
    given = {"images": 40, "components": 12, "temperature": 1.0, "tuning_batch": 4}
    return LatentDiffusion(LatentDiffusion.Params(**places, **(given | params)))


@pytest.fixture
def chain(tmp_path):
    return saved_chain(tmp_path)


# -- against other computations -------------------------------------------------------------------


def test_a_chain_without_pool_is_the_tiny_autoencoder_of_diffusers(tmp_path, images, ctx):
    whole = autoencoder_tiny()
    parts = {
        name: {
            key.removeprefix(f"{name}.layers."): tensor
            for key, tensor in whole.state_dict().items()
            if key.startswith(name)
        }
        for name in ("encoder", "decoder")
    }
    state = host_of(saved_chain(tmp_path, **parts)).fit(images, ctx)
    photographs = to_float(images.read(range(4)))
    with torch.no_grad():
        latents = whole.encode(photographs).latents
        assert_near(encoder_of(state, CPU)(photographs), latents)
        assert_near(decoder_of(state, CPU)(5 * latents), whole.decode(5 * latents).sample)


def test_a_chain_with_pool_is_what_its_layout_says(chain, images, ctx):
    state = host_of(chain).fit(images, ctx)
    there, back = load_file(chain["encoder"]), load_file(chain["autoencoder"])
    x = to_float(images.read(range(4)))
    y = by_hand(there, (x + 1) / 2, ["0", "1b", "2s", "3b", "4s", "5b", "6"])
    assert_near(encoder_of(state, CPU)(x), y)
    z = by_hand(
        back, 3 * torch.tanh(2 * y / 3), ["1", "r", "3b", "d", "5", "6b", "d", "8", "9b", "10"]
    )
    assert_near(decoder_of(state, CPU)(2 * y), 2 * z - 1)


def by_hand(tensors, x, layers):
    """b: a block; s: with stride 2; r: ReLU; d: each pixel twice along both sides."""
    for layer in layers:
        number, kind = layer.rstrip("bs"), layer[-1]
        if kind == "r":
            x = x.clamp_min(0)
        elif kind == "d":
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        elif kind == "b":
            x = block_by_hand(tensors, x, number)
        else:
            weight, bias = tensors[f"{number}.weight"], tensors.get(f"{number}.bias")
            x = conv2d(x, weight, bias, stride=2 if kind == "s" else 1, padding=1)
    return x


def block_by_hand(tensors, x, number):
    if f"{number}.pool.0.weight" in tensors:
        y = torch.einsum("oi,nihw->nohw", tensors[f"{number}.pool.0.weight"][..., 0, 0], x)
        groups = y.reshape(len(y), 4, -1)
        centred = groups - groups.mean(2, keepdim=True)
        y = (centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()).view_as(y)
        gain, shift = tensors[f"{number}.pool.1.weight"], tensors[f"{number}.pool.1.bias"]
        y = (y * gain.view(-1, 1, 1) + shift.view(-1, 1, 1)).clamp_min(0)
        x = x + torch.einsum("oi,nihw->nohw", tensors[f"{number}.pool.3.weight"][..., 0, 0], y)
    y = x
    for i in (0, 2, 4):
        weight, bias = (tensors[f"{number}.conv.{i}.{part}"] for part in ("weight", "bias"))
        y = conv2d(y if i == 0 else y.clamp_min(0), weight, bias, padding=1)
    return (y + x).clamp_min(0)


@pytest.mark.parametrize(
    "config",
    [
        {"scaling_factor": 0.3, "shift_factor": 0.2},
        {"scaling_factor": 0.3, "use_quant_conv": False, "use_post_quant_conv": False},
    ],
    ids=["shifted", "without quant_conv"],
)
def test_an_autoencoder_of_diffusers_is_opened_as_it_is(config, tmp_path, images, ctx):
    whole = autoencoder_kl(**config)
    whole.save_pretrained(tmp_path / "pipeline" / "vae")
    host = host_of({"autoencoder": str(tmp_path / "pipeline")})
    assert not host.objection(INFO)
    state = host.fit(images, ctx)
    x = to_float(images.read(range(4)))
    shift = config.get("shift_factor", 0)
    with torch.no_grad():
        latents = (whole.encode(x).latent_dist.mode() - shift) * 0.3
        drawn = whole.decode(latents / 0.3 + shift).sample
        assert_near(encoder_of(state, CPU)(x), latents)
        assert_near(decoder_of(state, CPU)(latents), drawn)


def test_a_tiny_autoencoder_of_diffusers_is_opened_as_it_is(tmp_path, images, ctx):
    whole = autoencoder_tiny()
    whole.save_pretrained(tmp_path / "tiny")
    host = host_of({"autoencoder": str(tmp_path / "tiny")})
    assert not host.objection(INFO)
    state = host.fit(images, ctx)
    x = to_float(images.read(range(4)))
    with torch.no_grad():
        latents = whole.encode(x).latents
        assert_near(encoder_of(state, CPU)(x), latents)
        assert_near(decoder_of(state, CPU)(latents), whole.decode(latents).sample)


def test_attention_by_its_old_names_is_opened_too(tmp_path, images, ctx):
    """As the files of Stable Diffusion have it."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    whole = autoencoder_kl()
    whole.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / layout._WEIGHTS)
    for new, name in old.items():
        tensors = {key.replace(f".{new}.", f".{name}."): t for key, t in tensors.items()}
    assert not tensors.keys() & {key for key in whole.state_dict() if ".to_" in key}
    save_file(tensors, tmp_path / layout._WEIGHTS)
    host = host_of({"autoencoder": str(tmp_path)})
    state = host.fit(images, ctx)
    x = to_float(images.read(range(2)))
    with torch.no_grad():
        expected = whole.encode(x).latent_dist.mode() * whole.config.scaling_factor
        assert_near(encoder_of(state, CPU)(x), expected)
    said = host.output_shapes()
    module = host.assemble(state, ctx).steps["decoder"]
    assert said == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def assert_near(found, expected):
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# -- the sampler ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 4, 3, 3), (20, 4, 3, 3)])
def test_components_are_the_principal_ones(shape):
    from sklearn.decomposition import PCA

    latents = torch.randn(shape, generator=RNG) * torch.linspace(0.1, 2, 9).view(3, 3) + 0.3
    mean, basis = fit_components(latents, 6)
    rows = latents.flatten(1).double().numpy()
    known = PCA(6, svd_solver="full").fit(rows)
    variances = known.explained_variance_ * (len(rows) - 1) / len(rows)
    assert np.allclose(mean, rows.mean(0), atol=1e-5)
    assert np.allclose(basis.square().sum(1), variances, rtol=1e-4)
    directions = normalize(basis).double().numpy()
    assert np.allclose(np.abs((directions * known.components_).sum(1)), 1, atol=1e-5)
    whole, _ = np.linalg.eigh(np.cov(rows.T, bias=True))
    assert np.allclose(sorted(variances), whole[-6:], rtol=1e-6)


def test_all_components_together_have_the_covariance_of_the_latents():
    latents = torch.randn(40, 2, 2, 2, generator=RNG)
    _, basis = fit_components(latents, 8)
    expected = np.cov(latents.flatten(1).numpy().T, bias=True)
    assert np.allclose(basis.T @ basis, expected, atol=1e-5)


def test_weights_of_latents_are_those_that_draw_them():
    mean, basis = fit_components(torch.randn(40, 4, 2, 2, generator=RNG), 10)
    step = Components(mean, basis, (4, 2, 2))
    weights = torch.randn(5, 10, generator=RNG)
    torch.testing.assert_close(step.weights_of(step(weights)), weights, rtol=1e-4, atol=1e-4)


def test_what_never_varies_has_weights_of_zero():
    step = Components(torch.zeros(4), torch.zeros(2, 4), (4, 1, 1))
    assert torch.equal(step.weights_of(torch.ones(3, 4, 1, 1)), torch.zeros(3, 2))


def test_samples_are_spread_as_the_temperature_says(chain, images, ctx):
    hot, cold = (host_of(chain, temperature=t).fit(images, ctx) for t in (1.0, 0.5))
    assert torch.allclose(cold["components.basis"] * 2, hot["components.basis"])
    assert torch.equal(cold["components.mean"], hot["components.mean"])


def test_files_of_copies_draw_the_same_images(chain, images, ctx):
    host = host_of(chain)
    generator = host.assemble(host.fit(images, ctx), ctx)
    again = host.unpack(pack("a test", generator), ctx)
    drawn = generator.sample(generator.prior([1, 2]))
    assert drawn.shape == (2, 3, 32, 32)
    assert torch.equal(drawn, again.sample(again.prior([1, 2])))
    assert drawn.float().std() > 1


def test_files_of_an_autoencoder_of_diffusers_draw_the_same_images(tmp_path, images, ctx):
    autoencoder_kl().save_pretrained(tmp_path)
    host = host_of({"autoencoder": str(tmp_path)})
    generator = host.assemble(host.fit(images, ctx), ctx)
    again = host.unpack(pack("a test", generator), ctx)
    latents = generator.prior([1, 2])
    assert torch.equal(generator.sample(latents), again.sample(latents))


def test_files_of_other_copies_are_refused(chain, images, ctx):
    host = host_of(chain)
    state = host.fit(images, ctx)
    packed = pack("a test", host.assemble(state, ctx))
    with pytest.raises(ContractError, match="'components', got components, post; open it with"):
        host.unpack(packed | {"post/code": torch.zeros(1)}, ctx)
    decoder = {name: t for name, t in packed.items() if name.startswith("decoder/")}
    with pytest.raises(ContractError, match="step 'components', got an empty one"):
        host.unpack(decoder, ctx)
    with pytest.raises(ContractError, match=r"layers\.9\.conv\.0\.bias \(8,\), got none"):
        host.unpack({n: t for n, t in packed.items() if "layers.9" not in n}, ctx)
    with pytest.raises(ContractError, match=r"set host\.sampler to gaussian"):
        host_of(chain, sampler="photographs").unpack(packed, ctx)


def test_attacks_on_weights_do_not_reach_how_latents_are_drawn(chain, images, ctx):
    host = host_of(chain)
    generator = host.assemble(host.fit(images, ctx), ctx)
    assert {step for step, _ in reachable(generator)} == {"decoder"}
    assert "_extra_state" in generator.steps["components"].state_dict()


def test_the_output_shapes_are_those_of_the_output_step(chain, images, ctx):
    host = host_of(chain)
    generator = host.assemble(host.fit(images, ctx), ctx)
    tensors = generator.steps[generator.output].state_dict()
    assert host.output_shapes() == {name: tuple(t.shape) for name, t in tensors.items()}
    assert TinyHost(TinyHost.Params()).output_shapes() == {}  # only training tells


def test_hidden_channels_change_places_and_scales_without_effect(chain, images, ctx):
    host = host_of(chain)
    generator = host.assemble(host.fit(images, ctx), ctx)
    groups = hidden_channels("a test", generator)
    names = {axis.tensor for _, group in groups for axis in group.axes}
    assert names == {name for _, name in reachable(generator)} - {"layers.10.bias"}
    assert sum(group.scales for _, group in groups) >= len(groups) - 1  # but before a norm
    moved = drawing_the_same(generator, groups)
    assert not torch.equal(moved_weight(generator), moved_weight(moved))


@pytest.mark.parametrize("make", [autoencoder_kl, autoencoder_tiny])
def test_hidden_channels_of_residual_blocks_of_diffusers_change_places(make, tmp_path, images, ctx):
    make().save_pretrained(tmp_path)
    host = host_of({"autoencoder": str(tmp_path)})
    generator = host.assemble(host.fit(images, ctx), ctx)
    groups = hidden_channels("a test", generator)
    decoder = generator.steps["decoder"]
    blocks = [name for name, m in decoder.named_modules() if "Block" in type(m).__name__]
    residual = [n for n in blocks if type(decoder.get_submodule(n)).__name__ in RESIDUAL]
    between = 1 if make is autoencoder_kl else 2
    assert len(groups) == between * len(residual) > 0
    drawing_the_same(generator, groups)


RESIDUAL = ("ResnetBlock2D", "AutoencoderTinyBlock")


def drawing_the_same(generator, groups):
    """The generator with its channels in other orders and at other scales."""
    moved, rng = generator, torch.Generator().manual_seed(0)
    for step, group in groups:
        order = torch.arange(group.count).view(group.blocks, -1)
        order = order[torch.randperm(group.blocks, generator=rng)].flip(1).flatten()
        factors = torch.randn(group.count, generator=rng).mul(0.5).exp()
        factors = factors if group.scales else torch.ones(group.count)
        before = reachable(moved)
        changes = rearranged(before, step, group, order, factors)
        assert any(not torch.equal(tensor, before[place]) for place, tensor in changes.items())
        moved = exchanged(moved, changes)
    latents = generator.prior(range(4))
    apart = generator.sample(latents).int() - moved.sample(latents).int()
    assert apart.abs().max() <= 1
    return moved


def moved_weight(generator):
    return generator.steps["decoder"].layers["5"].weight


def test_photographs_are_chosen_by_seeds(chain, images, ctx):
    host = host_of(chain, sampler="photographs")
    assert Offer.GAUSSIAN not in host.offers
    assert Offer.GAUSSIAN in host_of(chain).offers
    state = host.fit(images, ctx)
    generator = host.assemble(state, ctx).replace("decoder", torch.nn.Identity())
    latents = generator.prior(range(30))
    known = encoder_of(state, CPU)(to_float(images.read(range(40))))
    apart = (latents[:, None] - known[None]).abs().amax((2, 3, 4))
    assert (apart.min(1).values < 1e-5).all()
    assert len(apart.argmin(1).unique()) > 10
    assert torch.equal(latents[3:5], generator.prior([3, 4]))


@pytest.mark.parametrize("sampler", ["gaussian", "photographs"])
def test_images_are_encoded_for_each_step(sampler, chain, images, ctx):
    host = host_of(chain, sampler=sampler)
    state = host.fit(images, ctx)
    generator, photographs = host.assemble(state, ctx), images.read(range(5))
    latents = host.encode(state, photographs, ctx, "decoder")
    torch.testing.assert_close(latents, encoder_of(state, CPU)(to_float(photographs)))
    first = host.encode(state, photographs, ctx)
    assert torch.equal(first, host.encode(state, photographs, ctx, next(iter(generator.steps))))
    if sampler == "gaussian":
        assert first.shape == (5, 12)
        near = generator.run(first, until="decoder")
        assert (near - latents).square().mean() < (latents - latents.mean(0)).square().mean()
    else:
        assert torch.equal(first, latents)
    with pytest.raises(ContractError, match="got 'post'; ask for one of these"):
        host.encode(state, photographs, ctx, "post")


def test_fine_tuning_goes_on_from_the_copy_it_is_given(chain, images, ctx):
    host = host_of(chain)
    state = host.fit(images, ctx)
    photographs = images.read(range(8))
    for start in (host.assemble(state, ctx), host.untrained(state, ctx)):
        before = {name: t.clone() for name, t in start.steps["decoder"].state_dict().items()}
        tuned = list(host.finetune(state, start, photographs, 1e-3, [1, 25], ctx))
        assert [mark for mark, _ in tuned] == [1, 25]
        once = tuned[0][1].steps["decoder"].state_dict()
        moved = max(float((once[name] - t).abs().max()) for name, t in before.items())
        assert 0 < moved < 2e-3  # Adam's first step is the learning rate
        errors = [error_of(host, state, g, photographs, ctx) for g in (start, tuned[1][1])]
        assert errors[1] < 0.8 * errors[0]
        after = start.steps["decoder"].state_dict()
        assert all(torch.equal(after[name], t) for name, t in before.items())


def test_a_copy_whose_steps_were_made_one_is_fine_tuned_too(chain, images, ctx):
    host = host_of(chain)
    state = host.fit(images, ctx)
    start, photographs = fused(host.assemble(state, ctx)), images.read(range(8))
    _, tuned = next(host.finetune(state, start, photographs, 1e-3, [5], ctx))
    latents = host.encode(state, photographs, ctx)
    errors = [
        float((g.run(latents).detach() - to_float(photographs)).square().mean())
        for g in (start, tuned)
    ]
    assert errors[1] < errors[0]


def error_of(host, state, generator, photographs, ctx):
    latents = host.encode(state, photographs, ctx, "decoder")
    with torch.no_grad():
        made = generator.run(latents, first="decoder")
    return float((made - to_float(photographs)).square().mean())


def test_an_untrained_decoder_has_the_same_shape_and_other_weights(chain, images, ctx):
    host = host_of(chain)
    state = host.fit(images, ctx)
    whole, fresh = host.assemble(state, ctx), host.untrained(state, ctx)
    assert torch.equal(whole.prior([1]), fresh.prior([1]))
    assert fresh.sample(fresh.prior([1])).shape == (1, 3, 32, 32)
    assert not torch.equal(moved_weight(whole), moved_weight(fresh))
    assert torch.equal(moved_weight(fresh), moved_weight(host.untrained(state, ctx)))


# -- what is wrong with files ---------------------------------------------------------------------


def test_a_place_with_nothing_is_missing_and_no_objection(tmp_path, images, ctx):
    host = host_of({"autoencoder": str(tmp_path / "none")})
    assert host.objection(INFO) == ""
    assert host.output_shapes() == {}
    with pytest.raises(MissingResource, match="got nothing there; bring it"):
        host.fit(images, ctx)


def test_a_missing_encoder_is_missing_and_no_objection(chain, tmp_path, images, ctx):
    host = host_of(chain | {"encoder": str(tmp_path / "none")})
    assert host.objection(INFO) == ""
    with pytest.raises(MissingResource, match="expected an encoder at"):
        host.fit(images, ctx)


def test_a_model_of_the_hub_that_is_not_here_is_missing(images, ctx):
    host = host_of({"hub": "nobody/nothing", "revision": "abc"})
    assert host.objection(INFO) == ""
    with pytest.raises(MissingResource, match="hf download nobody/nothing --revision abc"):
        host.fit(images, ctx)


@pytest.mark.parametrize(
    "params",
    [{}, {"autoencoder": "a", "hub": "b", "revision": "c"}, {"hub": "b"}],
    ids=["no place", "two places", "no revision"],
)
def test_one_place_is_named(params):
    with pytest.raises(ValueError, match=r"set either|needs `revision`"):
        LatentDiffusion.Params(**params)


def objection(places, info=INFO, **params):
    return host_of(places, **params).objection(info)


def test_sizes_and_numbers_that_do_not_fit_are_objected_to(chain):
    assert "multiple of 4, got 30" in objection(chain, SampleInfo.of_images(30, {"train": 64}))
    assert not objection(chain, components=39)
    assert "at most 39 components of 40 photographs" in objection(chain, components=40)
    assert "at most 63 components" in objection(chain, components=64, images=4000)
    small = SampleInfo.of_images(4, {"train": 64})
    assert "latents have 4 numbers, got 5" in objection(chain, small, components=5)
    assert not objection(chain, components=64, sampler="photographs")


def changed_chain(folder, part, change):
    """A pair of files, one of them with other tensors."""
    tensors = {"encoder": encoder_tensors, "decoder": decoder_tensors}[part]()
    change(tensors)
    return saved_chain(folder, **{part: tensors})


CHANGES = {
    "missing": (lambda t: t.pop("3.conv.2.bias"), "3.conv.2.bias|conv.2.bias of layer 3"),
    "extra": (lambda t: t.update({"3.conv.6.bias": torch.zeros(8)}), "conv.6.bias of layer 3"),
    "unnumbered": (lambda t: t.update({"ema": torch.zeros(8)}), "as TAESD names them, got ema"),
    "no shape": (lambda t: t.update({"3.conv.0.weight": torch.zeros(())}), "of layer 3"),
    "kernel": (lambda t: t.update({"5.weight": torch.zeros(8, 8, 1, 1)}), "weight of layer 5"),
    "channels": (lambda t: t.update(conv(5, 8, 4, bias=False)), "layer 5 to read the 8 channels"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_wrong_tensors_of_a_chain_are_named(name, tmp_path):
    change, message = CHANGES[name]
    said = objection(changed_chain(tmp_path, "decoder", change))
    assert re.search(message, said), said
    assert "decoder.safetensors" in said


def test_an_encoder_of_another_autoencoder_is_refused(tmp_path):
    halved = {k: t for k, t in encoder_tensors().items() if k[0] not in "45"}
    said = objection(saved_chain(tmp_path, encoder=halved))
    assert "to latents of 4 channels at 1/4 of the side" in said
    assert "to 4 channels at 1/2" in said
    said = objection(changed_chain(tmp_path, "decoder", lambda t: t.update(conv(10, 4, 8))))
    assert "images of 4 to 4 channels" in said or "of images of 3 channels" in said


def test_a_decoder_without_its_encoder_is_refused(chain):
    assert "set host.encoder" in objection({"autoencoder": chain["autoencoder"]})


DAMAGES = {
    "a pickle": lambda path: torch.save({"1.weight": torch.zeros(1)}, path),
    "nothing": lambda path: path.write_bytes(b""),
    "a huge header": lambda path: path.write_bytes((2**60).to_bytes(8, "little") + b"{}"),
    "a list": lambda path: path.write_bytes((2).to_bytes(8, "little") + b"[]"),
    "no shapes": lambda path: path.write_bytes((8).to_bytes(8, "little") + b'{"1": 2}'),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-4]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"1234"),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("part", ["autoencoder", "encoder"])
def test_other_files_are_no_weights(name, part, chain):
    path = Path(chain[part])
    DAMAGES[name](path)
    said = objection(chain)
    assert said.startswith(f"{path.name}: expected weights as safetensors, got another file")
    assert "convert them first" in said


def test_an_encoder_beside_a_folder_is_refused(chain, tmp_path):
    autoencoder_tiny().save_pretrained(tmp_path / "tiny")
    said = objection({"autoencoder": str(tmp_path / "tiny"), "encoder": chain["encoder"]})
    assert "leave host.encoder out" in said


@pytest.fixture
def folder(tmp_path):
    autoencoder_kl().save_pretrained(tmp_path / "kl")
    return tmp_path / "kl"


def rewritten(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def pickled(folder):
    (folder / layout._WEIGHTS).unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"")


def with_tensors(folder, change):
    path = folder / layout._WEIGHTS
    save_file(change(load_file(path)), path)


FOLDERS = {
    "no config": (lambda f: (f / "config.json").unlink(), "expected config.json in the folder kl"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "expected JSON in kl/config.json"),
    "no table": (lambda f: (f / "config.json").write_text("[]"), "expected a table"),
    "another class": (
        lambda f: rewritten(f, lambda c: c.update(_class_name="UNet2DModel")),
        "AutoencoderKL or AutoencoderTiny in kl/config.json, got UNet2DModel",
    ),
    "no widths": (
        lambda f: rewritten(f, lambda c: c.pop("block_out_channels")),
        "expected block_out_channels, a list",
    ),
    "no channels": (
        lambda f: rewritten(f, lambda c: c.update(latent_channels="4")),
        "latent_channels in kl/config.json, got [8, 16] and 4",
    ),
    "a pickle": (pickled, "got diffusion_pytorch_model.bin, which may run programs"),
    "no weights": (lambda f: (f / layout._WEIGHTS).unlink(), "got nothing"),
    "no decoder": (
        lambda f: with_tensors(f, lambda t: {k: v for k, v in t.items() if "decoder." not in k}),
        "expected tensors of the part decoder",
    ),
    "another part": (
        lambda f: with_tensors(f, lambda t: t | {"loss.weight": torch.zeros(1)}),
        "got also the part loss",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_that_are_no_autoencoder_are_objected_to(name, folder):
    damage, message = FOLDERS[name]
    damage(folder)
    assert message in objection({"autoencoder": str(folder)})


TENSORS = {
    "missing": lambda t: {k: v for k, v in t.items() if k != "decoder.conv_in.bias"},
    "extra": lambda t: t | {"decoder.conv_in.scale": torch.zeros(1)},
    "another shape": lambda t: t | {"decoder.conv_in.bias": torch.zeros(3)},
}


@pytest.mark.parametrize("name", TENSORS)
def test_wrong_tensors_in_a_folder_are_named(name, folder, images, ctx):
    with_tensors(folder, TENSORS[name])
    with pytest.raises(ContractError, match=r"(?s)tensors of AutoencoderKL.*decoder\.conv_in"):
        host_of({"autoencoder": str(folder)}).fit(images, ctx)


def test_a_configuration_that_diffusers_does_not_build_is_refused(folder, images, ctx):
    rewritten(folder, lambda config: config.update(down_block_types=["NoBlock", "NoBlock"]))
    with pytest.raises(ContractError, match="expected a configuration of AutoencoderKL"):
        host_of({"autoencoder": str(folder)}).fit(images, ctx)


# -- a real decoder -------------------------------------------------------------------------------


class Faces:
    """The first real faces of a zip."""

    info = SampleInfo.of_images(64, {"train": 48, "test": 0})

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:48]
            files = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
        self._images = torch.from_numpy(np.stack(files)).permute(0, 3, 1, 2)

    def __len__(self):
        return len(self._images)

    def read(self, indices):
        return self._images[list(indices)]


@pytest.mark.real_data
def test_a_published_decoder_shows_faces_again(real_data, ctx):
    faces = Faces(real_data / "utkface-64.zip")
    places = {
        "autoencoder": str(real_data / "taef2-decoder.safetensors"),
        "encoder": str(real_data / "taef2-encoder.safetensors"),
    }
    host = host_of(places, images=48, components=16)
    assert not host.objection(faces.info)
    state = host.fit(faces, ctx)
    photographs = faces.read(range(16))
    latents = host.encode(state, photographs, ctx, "decoder")
    assert latents.shape == (16, 32, 8, 8)
    assert 0.5 < latents.std() < 1.5
    again = to_uint8(host.assemble(state, ctx).run(latents, first="decoder"))
    error = (again.double() - photographs.double()).square().mean()
    assert 10 * torch.log10(255**2 / error) > 29
