"""A whole pipeline as `latent-diffusion`: prompts through text encoder, U-Net and scheduler."""

import copy
import json
import shutil

import pytest
import torch
from fpbench_latent_diffusion.plugin import LatentDiffusion
from fpbench_latent_diffusion.prompting import TextToLatents
from safetensors.torch import load_file, save_file
from tiny_pipeline import pipeline

from fpbench.api import ContractError, MissingResource, Offer, SampleInfo, StageError
from fpbench.api.images import to_uint8
from fpbench.api.packing import pack
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

pytestmark = pytest.mark.timeout(300)  # what a process imports for the first pipeline
CPU = torch.device("cpu")
INFO = SampleInfo.of_images(32, {"train": 64, "test": 64})
PROMPTS = ["a red cat", "photo of a dog"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A pipeline of diffusers, and its folder."""
    folder = tmp_path_factory.mktemp("published")
    return pipeline(folder), folder / "pipeline"


@pytest.fixture
def folder(published, tmp_path):
    """A copy of the folder, to be damaged."""
    return shutil.copytree(published[1], tmp_path / "pipeline")


@pytest.fixture
def ctx(tmp_path):
    return StageContext(CPU, (0, "fit", 0), Store(tmp_path / "store"))


@pytest.fixture(scope="module")
def images():
    return SplitStream(ToyFaces(ToyFaces.Params(train=16)), "train", CPU)


def host_of(folder, **params):
    given = {"autoencoder": str(folder), "sampler": "pipeline", "sampling_steps": 3}
    return LatentDiffusion(LatentDiffusion.Params(**(given | params)))


def generator_of(folder, images, ctx, **params):
    host = host_of(folder, **params)
    return host.assemble(host.fit(images, ctx), ctx)


def counted(monkeypatch):
    """How many latents are made in one go, one after the other; a process shares what is kept."""
    calls = []
    made = TextToLatents._made

    def counting(self, noise, prompt):
        calls.append(len(noise))
        return made(self, noise, prompt)

    monkeypatch.setattr(TextToLatents, "_made", counting)
    return calls


# -- against diffusers ----------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", [None, 1.0, 3.0])
def test_images_of_prompts_are_those_of_diffusers(guidance, published, images, ctx):
    theirs, folder = published
    generator = generator_of(folder, images, ctx, guidance=guidance)
    latents = generator.prior([1, 2], PROMPTS)
    assert latents["noise"].shape == (2, 4, 16, 16)
    drawn = generator.sample(latents)
    same_as_theirs(drawn, theirs, latents["noise"], 7.5 if guidance is None else guidance)
    assert not torch.equal(drawn[0], generator.sample(generator.prior([1], PROMPTS[1:]))[0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers
@pytest.mark.parametrize("name", ["PNDMScheduler", "EulerDiscreteScheduler", "DDIMScheduler"])
def test_schedulers_of_pipelines_are_those_of_diffusers(name, published, folder, images, ctx):
    import diffusers

    theirs, _ = published
    kind = getattr(diffusers, name)
    steps = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    kept, other = theirs.scheduler, kind.from_config(theirs.scheduler.config, **steps)
    other.save_pretrained(folder / "scheduler")
    generator = generator_of(folder, images, ctx, scheduler="folder")
    latents = generator.prior([1, 2], PROMPTS)
    drawn = generator.sample(latents)
    try:
        theirs.scheduler = other
        same_as_theirs(drawn, theirs, latents["noise"], 7.5)
    finally:
        theirs.scheduler = kept
    ddim = generator_of(folder, images, ctx).sample(latents)
    assert torch.equal(drawn, ddim) == (name == "DDIMScheduler")
    try:
        theirs.scheduler = diffusers.DDIMScheduler.from_pretrained(
            folder, subfolder="scheduler", clip_sample=False
        )
        same_as_theirs(ddim, theirs, latents["noise"], 7.5)
    finally:
        theirs.scheduler = kept


def same_as_theirs(drawn, theirs, noise, guidance):
    made = theirs(
        PROMPTS,
        latents=noise.clone(),
        num_inference_steps=3,
        guidance_scale=guidance,
        height=32,
        width=32,
        output_type="pt",
    )
    expected = to_uint8(made.images * 2 - 1)
    assert expected.float().std() > 5
    apart = drawn.int() - expected.int()
    assert apart.abs().max() <= 1
    assert (apart != 0).float().mean() < 0.01


# -- latents --------------------------------------------------------------------------------------


def test_seeds_and_prompts_make_the_latents(published, images, ctx):
    prompts = ("a cat", "a dog", "a photo of a red dog")
    generator = generator_of(published[1], images, ctx, prompts=prompts)
    latents = generator.prior(range(30))
    again = generator.prior([7, 8])
    assert all(torch.equal(latents[name][7:9], again[name]) for name in ("noise", "prompt"))
    known = {tuple(row.tolist()) for row in generator.prior([0, 0, 0], prompts)["prompt"]}
    assert {tuple(row.tolist()) for row in latents["prompt"]} == known
    assert len(known) == 3
    long = generator.prior([1], ["a cat of a dog of a cat of a dog of a cat"])
    assert long["prompt"].shape == (1, 8)
    replaced = generator.replace("decoder", torch.nn.Identity())
    assert torch.equal(replaced.prior([7, 8])["prompt"], again["prompt"])


def test_an_image_does_not_depend_on_its_batch(published, images, ctx):
    generator = generator_of(published[1], images, ctx)
    latents = generator.prior([1, 2], PROMPTS)
    alone = generator.sample({name: rows[1:] for name, rows in latents.items()})
    apart = generator.sample(latents)[1:].int() - alone.int()
    assert apart.abs().max() <= 1


def test_latents_are_made_once(published, images, ctx, monkeypatch):
    generator = generator_of(published[1], images, ctx)
    calls = counted(monkeypatch)
    latents, other = generator.prior([21, 22], PROMPTS), generator.prior([21, 22], PROMPTS[::-1])
    first = generator.sample(latents)
    assert torch.equal(first, generator.sample(latents))
    assert calls == [2]
    assert not torch.equal(first, generator.sample(other))
    assert calls == [2, 2]
    generator.run(latents, until="decoder").zero_()  # nobody writes into what is kept
    assert torch.equal(first, generator.sample(latents))
    generator.sample({name: rows[:1] for name, rows in latents.items()})
    assert calls == [2, 2, 1]


def test_all_copies_of_a_host_share_latents(published, images, ctx, monkeypatch):
    host = host_of(published[1])
    state = host.fit(images, ctx)
    one, other = host.assemble(state, ctx), host.untrained(state, ctx)
    calls = counted(monkeypatch)
    latents = one.prior([11, 12], PROMPTS)
    assert not torch.equal(one.sample(latents), other.sample(latents))
    assert calls == [2]


def test_what_is_kept_is_forgotten_by_a_copy_and_when_a_weight_changes(
    published, images, ctx, monkeypatch
):
    generator = generator_of(published[1], images, ctx)
    step = copy.deepcopy(generator.steps["denoiser"])
    calls = counted(monkeypatch)
    latents = generator.prior([1, 2], PROMPTS)
    with torch.no_grad():
        first = step(latents)
        assert torch.equal(copy.deepcopy(step)(latents), first)
        assert calls == [2, 2]
        step(latents)
        assert calls == [2, 2]
        for weight in (step.unet.conv_out.weight, step.text_encoder.get_input_embeddings().weight):
            weight.mul_(1.5)
            changed = step(latents)
            assert not torch.allclose(changed, first)
            first = changed
    assert calls == [2, 2, 2, 2]


def test_the_oldest_latents_make_room(published, images, ctx, monkeypatch):
    from fpbench_latent_diffusion import prompting

    monkeypatch.setattr(prompting, "_KEPT", 4)
    step = copy.deepcopy(generator_of(published[1], images, ctx).steps["denoiser"])
    generator = generator_of(published[1], images, ctx)
    calls = counted(monkeypatch)
    batches = [generator.prior([i, i + 1], PROMPTS) for i in (0, 2, 4)]
    with torch.no_grad():
        for batch in (*batches, batches[1], batches[2], batches[0]):
            step(batch)
    assert len(calls) == 4  # the first was forgotten, and made again
    assert sum(map(len, step._kept._made.values())) == 4


def test_gradients_come_through(published, images, ctx):
    step = generator_of(published[1], images, ctx).steps["denoiser"]
    latents = generator_of(published[1], images, ctx).prior([1, 2], PROMPTS)
    latents["noise"].requires_grad_(True)
    step(latents)[1].sum().backward()
    assert latents["noise"].grad[1].abs().sum() > 0
    assert latents["noise"].grad[0].abs().sum() == 0


# -- the host -------------------------------------------------------------------------------------


def test_the_state_holds_no_weights_of_the_denoiser(published, images, ctx):
    host = host_of(published[1])
    assert host.offers == frozenset(Offer) - {Offer.GAUSSIAN}
    state = host.fit(images, ctx)
    assert {name.partition(".")[0] for name in state} == {"about", "decoder", "encoder", "pipeline"}
    generator = host.assemble(state, ctx)
    assert list(generator.steps) == ["denoiser", "decoder"]
    assert generator.output == "decoder"
    assert not generator.opaque


def test_files_of_copies_draw_the_same_images(published, images, ctx):
    host = host_of(published[1])
    generator = host.assemble(host.fit(images, ctx), ctx)
    step = copy.deepcopy(generator.steps["denoiser"])
    with torch.no_grad():
        step.unet.conv_out.weight.mul_(1.1)  # as an attack may have changed it
    packed = pack("a test", generator.replace("denoiser", step))
    again = host.unpack(packed, ctx)
    drawn = generator.replace("denoiser", step).sample(generator.prior([1, 2], PROMPTS))
    assert torch.equal(drawn, again.sample(again.prior([1, 2], PROMPTS)))
    with pytest.raises(ContractError, match="weights of a copy of this pipeline"):
        host.unpack({n: t for n, t in packed.items() if "unet.conv_out" not in n}, ctx)


def test_images_are_encoded_for_the_decoder_alone(published, images, ctx):
    host = host_of(published[1])
    state = host.fit(images, ctx)
    assert host.encode(state, images.read(range(2)), ctx, "decoder").shape == (2, 4, 16, 16)
    with pytest.raises(ContractError, match=r"is noise, .* ask for 'decoder'"):
        host.encode(state, images.read(range(2)), ctx)


def test_files_that_change_after_the_fit_are_found(folder, images, ctx):
    host = host_of(folder)
    state = host.fit(images, ctx)
    digest = host.digest()
    tensors = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    tensors["conv_out.bias"] += 1
    save_file(tensors, folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert host.digest() != digest
    with pytest.raises(StageError, match="expected the files of the pipeline pipeline as they"):
        host.assemble(state, ctx)


# -- what is wrong with folders -------------------------------------------------------------------


def removed(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def rewritten(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


UNET = "diffusion_pytorch_model.safetensors"
DAMAGES = {
    **{
        f"no {name}": (lambda f, name=name: removed(f / name), f"expected the part {name} in")
        for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    },
    "no scheduler's rule": (
        lambda f: removed(f / "scheduler" / "scheduler_config.json"),
        "scheduler_config.json in the folder scheduler",
    ),
    "no tokens": (
        lambda f: removed(f / "tokenizer" / "tokenizer.json"),
        "tokenizer.json or vocab.json in the part tokenizer, got neither",
    ),
    "another text encoder": (
        lambda f: rewritten(f / "text_encoder" / "config.json", architectures=["T5EncoderModel"]),
        "CLIPTextModel as the part text_encoder, got T5EncoderModel",
    ),
    "another U-Net": (
        lambda f: rewritten(f / "unet" / "config.json", _class_name="FluxTransformer2DModel"),
        "UNet2DConditionModel as the part unet, got FluxTransformer2DModel",
    ),
    "pickled": (
        lambda f: (f / "unet" / UNET).rename(f / "unet" / "diffusion_pytorch_model.bin"),
        "expected unet/diffusion_pytorch_model.safetensors, got diffusion_pytorch_model.bin, which",
    ),
    "no weights": (lambda f: removed(f / "text_encoder" / "model.safetensors"), "got nothing"),
    "cut": (
        lambda f: (f / "unet" / UNET).write_bytes((f / "unet" / UNET).read_bytes()[:-9]),
        "part unet: diffusion_pytorch_model.safetensors: expected weights as safetensors",
    ),
    "a shard gone": (
        lambda f: (
            removed(f / "unet" / UNET),
            (f / "unet" / f"{UNET}.index.json").write_text('{"weight_map": {"a": "one"}}'),
        ),
        "part unet: one: expected weights as safetensors",
    ),
    "a broken index": (
        lambda f: (
            removed(f / "unet" / UNET),
            (f / "unet" / f"{UNET}.index.json").write_text('{"weight_map": 3}'),
        ),
        "expected a table weight_map in unet/",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_parts_that_are_missing_or_others_are_named(name, folder):
    damage, message = DAMAGES[name]
    assert host_of(folder).objection(INFO) == ""
    damage(folder)
    said = host_of(folder).objection(INFO)
    assert message in said
    assert said.startswith("host latent-diffusion: ")


def test_a_scheduler_that_draws_is_refused_and_its_settings_are_not(folder):
    rewritten(folder / "scheduler" / "scheduler_config.json", _class_name="DDPMScheduler")
    assert host_of(folder).objection(INFO) == ""
    said = host_of(folder, scheduler="folder").objection(INFO)
    assert "got DDPMScheduler; set host.scheduler to ddim" in said


def test_classes_are_no_prompts(published):
    info = SampleInfo.of_images(32, {"train": 64, "test": 64}, "classes")
    assert "got classes; use a data set with captions" in host_of(published[1]).objection(info)
    captions = SampleInfo.of_images(32, {"train": 64, "test": 64}, "captions")
    assert host_of(published[1]).objection(captions) == ""


def test_a_pipeline_that_is_not_here_is_missing_and_no_objection(tmp_path, images, ctx):
    host = host_of(tmp_path / "none")
    assert host.objection(INFO) == ""
    with pytest.raises(MissingResource, match="got nothing there; bring it"):
        host.fit(images, ctx)


TENSORS = {
    "missing": lambda t: {k: v for k, v in t.items() if k != "conv_out.bias"},
    "unexpected": lambda t: t | {"conv_out.scale": torch.zeros(1)},
}


@pytest.mark.parametrize("name", TENSORS)
def test_wrong_tensors_of_a_part_are_named(name, folder, images, ctx):
    path = folder / "unet" / UNET
    save_file(TENSORS[name](load_file(path)), path)
    with pytest.raises(ContractError, match=rf"part unet, got {name} keys: conv_out"):
        generator_of(folder, images, ctx)
