"""The suites that come with fpbench can all be read, on a machine that has none of their data."""

from pathlib import Path

import pytest

from fpbench.api import SampleInfo
from fpbench.registry import load
from fpbench.spec import read_suite, suite_names

BOARDS = Path(__file__).parents[3] / "leaderboards"


@pytest.mark.parametrize("name", sorted(p.parent.name for p in BOARDS.glob("*/suite.toml")))
def test_a_shipped_suite_reads_and_is_described(name):
    assert name in suite_names()
    suite = read_suite(name, load())
    assert not suite.unavailable
    assert suite.header.name == name
    assert suite.header.title
    assert (BOARDS / name / "README.md").is_file()
    size = next((int(part) for part in name.split("-") if part.isdigit()), 32)
    counts = {"train": 10_000, "test": 10_000, "reference": 10_000}
    samples = SampleInfo.of_images(size, counts)
    if "audio" in suite.host.modalities:
        sound = suite.dataset.params
        samples = SampleInfo("audio", (1, sound.length), "int16", counts, sound.rate)
    assert suite.host.objection(samples) == ""
    assert all(m.component.objection(samples, 10) == "" for m in suite.methods)


@pytest.mark.parametrize("name", ["celeba-128", "lsun-bedroom-128", "lsun-cat-256"])
def test_the_papers_settings(name):
    """Yu et al. 2022 and their code, as far as they are known."""
    suite = read_suite(name, load())
    host = suite.host.params
    for method in (m.component.params for m in suite.methods):
        check(method, host)
    population = suite.population
    assert population.copies * population.images == (50_000 if "cat" in name else 30_000)


def check(method, host):
    assert method.bits == 128
    for params in (method, host):
        assert params.architecture == "stylegan2"
        assert (params.channels, params.channel_base, params.embedding_dim) == (512, 16384, 512)
        assert params.mapping_layers == 8
        assert params.penalty_weight == 100.0
        assert params.discriminator_learning_rate == 2e-3
    assert host.latent_dim == 512
    assert (host.batch, host.adversarial_weight) == (16, 1.0)
    assert host.adversarial_learning_rate == 2e-3
    assert method.rate_floor == 1.0
    assert method.code_pool == 0
    assert (method.code_weight, method.latent_weight) == (2.0, 1.0)
    assert (method.adversarial_weight, method.consistency_weight) == (1.0, 2.0)
    assert method.least_firmness == 1.0  # no curriculum
    assert method.pair_steps == host.pair_steps == 0  # from noise
    assert method.path_weight == 2.0
    assert method.batch == 2 * 16  # two codes for each of 16 latents
    assert {method.image_learning_rate, method.code_learning_rate} == {2e-3}
    assert method.average_decay == pytest.approx(0.5 ** (16 / 10_000), abs=1e-6)
    assert not method.average_reader


@pytest.mark.parametrize(
    ("name", "changed"), [("celeba-128-lengths", "bits"), ("celeba-128-pools", "code_pool")]
)
def test_an_ablation_changes_one_thing(name, changed):
    whole, ablation = (read_suite(each, load()) for each in ("celeba-128", name))
    assert ablation.host.params == whole.host.params
    (first, *_) = whole.methods
    for method in ablation.methods:
        params = method.component.params.model_dump()
        base = first.component.params.model_dump()
        assert {k for k in base if base[k] != params[k]} <= {changed}
