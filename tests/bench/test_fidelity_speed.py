"""How many times as fast as torch-fidelity's call ours is; `-s` or the JSON shows the ratio.

Both run in one process, taking turns, and the best round of each counts, so that a busy machine
slows both alike: pytest tests/bench/test_fidelity_speed.py --benchmark-only -s
"""

import time

import click
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from fpbench.backbones.inception import InceptionFeatures
from fpbench.stats.frechet import frechet, frechet_to, moments, reference

IMAGES, ROUNDS = 32, 5
CPU = torch.device("cpu")


class Images(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def compare(benchmark, ours, theirs):
    """Take turns; returns our result and theirs."""
    results, seconds = {}, []

    def their_turn():
        start = time.perf_counter()
        results["theirs"] = theirs()
        seconds.append(time.perf_counter() - start)

    results["ours"] = benchmark.pedantic(ours, setup=their_turn, rounds=ROUNDS, warmup_rounds=1)
    ratio = min(seconds) / benchmark.stats.stats.min
    benchmark.extra_info.update(theirs_s=min(seconds), times_as_fast=ratio)
    threads = torch.get_num_threads()
    click.echo(f"\n{benchmark.name}: {ratio:.2f} times as fast, {threads} threads of torch")
    return results["ours"], results["theirs"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of torch-fidelity's network: speed asks for no trained ones."""
    import torch_fidelity.feature_extractor_inceptionv3 as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        state = module.FeatureExtractorInceptionV3("i", ["2048"]).state_dict()
    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, file)
    return file


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layer", ["768", "2048"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_of_inception_beside_torch_fidelity_s_defaults(
    benchmark, weights, precision, layer
):
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 64, 64), dtype=torch.uint8, generator=rng)
    network = InceptionFeatures(weights, layer, CPU, precision)
    extractor = create_feature_extractor(
        "inception-v3-compat",
        [layer],
        cuda=False,
        feature_extractor_weights_path=str(weights),
        verbose=False,
    )

    def theirs():
        # What calculate_metrics calls; its workers, which only copy here, are left out.
        return get_featuresdict_from_dataset(Images(images), extractor, 64, False, True, False)

    found, expected = compare(benchmark, lambda: network(images), theirs)
    difference = (found - expected[layer]).norm() / expected[layer].norm()
    assert difference < (1e-4 if precision == "fp32" else 0.05)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("size", [768, 2048])
def test_frechet_distance_beside_torch_fidelity_s(benchmark, size):
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    rng = np.random.default_rng(0)
    mix = rng.normal(0, size**-0.5, (size, size)) * np.exp(-4 * np.arange(size) / size)
    sets = [rng.normal(shift, 1, (2 * size, size)) @ mix for shift in (0, 0.1)]
    real, other = reference(sets[0]), moments(sets[1])

    def theirs():
        statistics = [{"mu": m, "sigma": s} for m, s in ((real.mean, real.covariance), other)]
        return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]

    found, expected = compare(benchmark, lambda: frechet_to(real, *other), theirs)
    click.echo(f"ours {found:.17g}, theirs {expected:.17g}")
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == frechet(real.mean, real.covariance, *other)
