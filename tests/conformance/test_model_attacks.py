import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fpbench.api import (
    Access,
    CoalitionAttack,
    ModelAttack,
    PipelineAttack,
    Setting,
    Surface,
    TrainedHost,
    User,
)
from fpbench.api.samples import check_samples
from fpbench.builtin.codes.uniform import Uniform
from fpbench.plan import issued_codes
from fpbench.registry import load
from fpbench.stages.checks import check_generator
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store

CPU = torch.device("cpu")
CLEAN = 8
COALITION = 10
METHODS = {
    "scalable-gan": {
        "bits": 8,
        "latent_dim": 16,
        "channels": 16,
        "pair_steps": 2,
        "joint_steps": 2,
        "batch": 8,
    },
    "weight-modulation": {"bits": 8, "steps": 2, "batch": 8},
    "wouaf": {"bits": 8, "steps": 2, "whole_batch": 8, "carrier": "low-rank"},
    "hidden": {"bits": 8, "channels": 8, "steps": 2, "batch": 12},
    "gaussian-shading": {"bits": 8, "measured": 64, "least_accuracy": 0},
    "weight-watermark": {"bits": 8, "steps": 2, "batch": 2},
    "decentralized": {
        "keys": 10,
        "samples": 16,
        "key_steps": 1,
        "key_batch": 4,
        "steps": 1,
        "rounds": 1,
        "judged": 8,
        "batch": 4,
    },
    "stable-signature": {"bits": 8, "channels": 8, "steps": 2, "batch": 4, "tuning_steps": 1},
}
# What else is attacked: a method with other parameters, on the host that draws sounds.
OF_SOUNDS = {
    "wouaf of sounds": {"bits": 8, "steps": 2, "whole_batch": 4, "reader_channels": 8},
    "hidden-audio": {"bits": 8, "steps": 2, "channels": 8, "batch": 4},
    "spread-spectrum-audio": {"bits": 8},
}
# Weights that nobody reaches, and copies that are the host's own.
UNTOUCHED = {"foreign", "invisible-watermark", "blind-watermark", "trustmark", "videoseal"}
UNTOUCHED |= {"passive-detector", "passive-attribution", "self-marked"}
UNTOUCHED |= {"perth", "aware", "audioseal", "wavmark", "silentcipher"}
HOST = {"channels": 16, "embedding_dim": 16, "batch": 8, "latent_dim": 16}
HOST |= {"pair_steps": 2, "adversarial_steps": 1}
SOUND_HOST = {"bands": 8, "components": 12, "channels": 4, "steps": 2, "batch": 4, "sounds": 32}
VARIANTS = {
    "prune": [{"structure": "channel"}],
    "quantise": [{"per": "channel"}],
    "fine-tune": [{"ema": 0.5}],
    "collude": [{"rule": rule} for rule in ("median", "layers", "extremes")] + [{"align": True}],
    "permute-channels": [{"spread": 0.0}],
}
TINY = {"purify": {"steps": 1}}
# Where the ends of the grid are trainings that take minutes.
SHORT = {"fine-tune": (1, 2), "purify": (4, 8), "distil": (1, 2)}
OTHER_STEPS = {"bypass", "overwrite", "distil"}
# A copy that shares no layers with the host; a mark that is in none of its layers, or not trained.
REFUSED = {(name, "scalable-gan") for name in ("overwrite", "swap-step", "scale-reset")}
REFUSED |= {("overwrite", "spread-spectrum-audio")}
POST_HOC = ("hidden", "hidden-audio", "spread-spectrum-audio")
REFUSED |= {(name, method) for name in ("swap-step", "scale-reset") for method in POST_HOC}
REFUSED |= {(name, "gaussian-shading") for name in ("overwrite", "swap-step", "scale-reset")}
# The host is attacked as a negative; methods only differ in how they mark it anew.
EVERY = sorted(METHODS | OF_SOUNDS)
SUBJECTS = [*((name, "copy") for name in EVERY), ("hidden", "host")]


def attacks(*kinds):
    catalogue = load()
    classes = {name: catalogue.component("attacks", name) for name in catalogue.names("attacks")}
    return [
        pytest.param(
            cls(cls.Params(**TINY.get(name, {}), **more)),
            id=" ".join([name, *map(str, more.values())]),
        )
        for name, cls in sorted(classes.items())
        if issubclass(cls, kinds)
        for more in [{}, *VARIANTS.get(name, [])]
    ]


def ends(attack):
    if attack.strength is None:
        return [None]
    grid = SHORT.get(attack.name, attack.strength.grid)
    return [float(s) for s in dict.fromkeys((grid[0], grid[-1]))]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Networks this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Name of a method -> what it needs to be attacked; each is trained once."""
    catalogue, store = load(), Store(tmp_path_factory.mktemp("store"))

    def made(kind, name, **params):
        cls = catalogue.component(kind, name)
        return cls(cls.Params(**params))

    @functools.cache
    def world(kind):
        """The data set, what makes contexts and the host of one kind of samples."""
        if kind == "audio":
            dataset = made("datasets", "toy-speech", length=1024, train=32, test=8, reference=8)
            component = made("hosts", "mel-decoder", **SOUND_HOST)
        else:
            dataset = made("datasets", "toy-faces", train=64)
            component = made("hosts", "stylegan2", **HOST)
        samples, modality = SplitStream(dataset, "train", CPU), made("modalities", kind)

        def context(*root, bits=0):
            root, told = (0, *root), {"modality": modality, "info": samples.info}
            return StageContext(CPU, root, store, bits=bits, **told)

        state = component.fit(samples, context("host"))
        host = TrainedHost(component, state, component.assemble(state, context("host")))
        return samples, context, host

    @functools.cache
    def fit(name):
        faces, context, host = world("audio" if name in OF_SOUNDS else "image")
        method = made("methods", name.partition(" ")[0], **(METHODS | OF_SOUNDS)[name])
        trained = method.fit(host, faces, context("fit", name, bits=method.bits))

        code = Uniform(Uniform.Params())
        codes = torch.zeros(COALITION, 0, dtype=torch.bool)
        if method.bits:
            codes = torch.from_numpy(issued_codes(code, method.bits, 0, COALITION))
        ctx = context("issue")
        users = [User(index, own) for index, own in enumerate(codes)]
        issued = [method.issue(trained, host, user, faces, ctx) for user in users]
        return SimpleNamespace(
            method=method,
            host=host,
            copies=[method.assemble(trained, host, own, ctx) for own in issued],
            clean=faces.read(np.arange(CLEAN)),
            ctx=context("attack", bits=method.bits),
            info=faces.info,
        )

    return fit


def surface(attack, case, copies):
    return Surface(
        opened=attack.access,
        attack=attack.name,
        _copies=copies,
        _clean_images=case.clean,
        _public_host=case.host,
        _trainer=case.method,
    )


def refused(attack, case, strength):
    if Access.TRAINER in attack.access and not case.method.builds_on_host:
        return True
    setting = Setting(case.method, case.host.component, COALITION, CLEAN, strength, case.info)
    return attack.refuse(setting) is not None


def tensors(*generators):
    return [
        {
            f"{step}.{key}": t.clone()
            for step, m in g.steps.items()
            for key, t in m.state_dict().items()
        }
        for g in generators
    ]


def shapes(generator):
    return {key: (t.shape, t.dtype) for key, t in tensors(generator)[0].items()}


def same(first, second):
    return all(
        one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
        for one, two in zip(first, second, strict=True)
    )


def check_attacked(attack, generator, copy, info):
    check_generator(attack.name, generator)
    assert not any(
        module.training for step in generator.steps.values() for module in step.modules()
    )
    if attack.name not in OTHER_STEPS:
        assert list(generator.steps) == list(copy.steps)
        assert shapes(generator) == shapes(copy)
    latents = generator.prior([1, 2, 3])
    assert latents.shape == copy.prior([1, 2, 3]).shape
    images = check_samples(attack.name, "samples", generator.sample(latents), 3, info)
    assert torch.equal(images, generator.sample(latents))


def test_every_in_tree_method_is_attacked():
    tried = {name.partition(" ")[0] for name in EVERY}
    assert set(load().names("methods")) == tried | UNTOUCHED


@pytest.mark.parametrize(("method", "subject"), SUBJECTS)
@pytest.mark.parametrize("attack", attacks(ModelAttack))
def test_model_attacks_keep_the_contract(attack, subject, method, fitted):
    case = fitted(method)
    strengths = ends(attack)
    if any(refused(attack, case, strength) for strength in strengths):
        assert (attack.name, method) in REFUSED
        return
    copy = case.copies[0] if subject == "copy" else case.host.generator
    before, clean = tensors(copy, case.host.generator), case.clean.clone()
    results = []
    for asked in (strengths, strengths[::-1]):
        attacked = list(attack.apply(surface(attack, case, [copy]), asked, case.ctx))
        assert [strength for strength, _ in attacked] == strengths
        for _, generator in attacked:
            check_attacked(attack, generator, copy, case.info)
        results.append(tensors(*(generator for _, generator in attacked)))
    assert same(*results)
    assert same(tensors(copy, case.host.generator), before)
    assert torch.equal(case.clean, clean)


@pytest.mark.parametrize(("method", "subject"), SUBJECTS)
@pytest.mark.parametrize("attack", attacks(PipelineAttack))
def test_pipeline_attacks_keep_the_contract(attack, subject, method, fitted):
    case = fitted(method)
    if refused(attack, case, None):
        assert (attack.name, method) in REFUSED
        return
    copy = case.copies[0] if subject == "copy" else case.host.generator
    before = tensors(copy, case.host.generator)
    generator, again = (attack.apply(surface(attack, case, [copy]), case.ctx) for _ in range(2))
    check_attacked(attack, generator, copy, case.info)
    assert same(tensors(generator), tensors(again))
    assert same(tensors(copy, case.host.generator), before)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("attack", attacks(CoalitionAttack))
def test_coalition_attacks_keep_the_contract(attack, method, fitted):
    case = fitted(method)
    for size in ends(attack):
        copies = case.copies[: int(size)]
        before = tensors(*copies)
        merged, again = (attack.apply(surface(attack, case, copies), case.ctx) for _ in range(2))
        check_attacked(attack, merged, copies[0], case.info)
        assert same(tensors(merged), tensors(again))
        assert same(tensors(*copies), before)


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("attack", attacks(ModelAttack))
def test_identity_strengths_draw_the_same_images(attack, method, fitted):
    case, identity = fitted(method), attack.strength and attack.strength.identity
    if identity is None or refused(attack, case, identity):
        return
    copy = case.copies[0]
    ((_, same),) = attack.apply(surface(attack, case, [copy]), [float(identity)], case.ctx)
    latents = copy.prior(list(range(8)))
    assert torch.equal(same.sample(latents), copy.sample(latents))
