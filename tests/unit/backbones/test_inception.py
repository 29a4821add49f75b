import pytest
import torch
from torch.utils.data import Dataset

from fpbench.backbones import load
from fpbench.backbones.distances import fid, kid, reference_arrays
from fpbench.backbones.inception import LAYERS, InceptionFeatures
from fpbench.backbones.weights import WrongWeights

CPU = torch.device("cpu")


class Images(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def theirs(path, layers=LAYERS):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    return FeatureExtractorInceptionV3("i", list(layers), feature_extractor_weights_path=str(path))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Weights of torch-fidelity's network, drawn so that no map dies or explodes."""
    import torch_fidelity.feature_extractor_inceptionv3 as module

    rng = torch.Generator().manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        state = module.FeatureExtractorInceptionV3("i", ["2048"]).state_dict()
    for key, value in state.items():
        if value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=rng)
        elif key.endswith(("bn.weight", "running_var")):
            value.uniform_(0.5, 1.5, generator=rng)
        elif value.is_floating_point():
            value.normal_(0, 0.1, generator=rng)
    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, file)
    return file


@pytest.fixture(scope="module")
def reference(path):
    return theirs(path)


@pytest.fixture(scope="module", params=LAYERS)
def ours(request, path):
    return InceptionFeatures(path, request.param, CPU)


def images(count, height, width):
    rng = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=rng)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (48, 80), (299, 299)])
def test_features_are_torch_fidelity_s_at_every_layer(ours, reference, height, width):
    batch = images(2, height, width)
    found = ours(batch)
    features = found.shape[1]
    expected = dict(zip(LAYERS, reference(batch), strict=True))[str(features)]
    assert found.dtype == torch.float32
    assert expected.std() > 0
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


def test_features_do_not_depend_on_the_batch_or_the_layout_of_memory(path):
    network, batch = InceptionFeatures(path, "192", CPU), images(11, 24, 24)
    whole = network(batch)
    alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-6)
    last = network(batch.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(whole, last, rtol=1e-5, atol=1e-6)


def test_bf16_is_close(path, reference):
    batch = images(2, 32, 32)
    found = InceptionFeatures(path, "768", CPU, "bf16")(batch)
    expected = reference(batch)[LAYERS.index("768")]
    assert found.dtype == torch.float32
    assert 0 < (found - expected).norm() < 0.03 * expected.norm()


def test_values_past_the_layer_may_be_nan_and_are_refused_where_they_matter(tmp_path, path):
    state = torch.load(path, weights_only=True)  # noqa: TID251 - as torch-fidelity reads it
    state["Mixed_7b.branch3x3dbl_2.conv.weight"].fill_(torch.nan)
    state["fc.weight"].fill_(torch.nan)
    file = tmp_path / "partial.pth"
    torch.save(state, file)
    batch = images(1, 32, 32)
    assert torch.equal(
        load("inception", file, CPU, "768")(batch), load("inception", path, CPU, "768")(batch)
    )
    with pytest.raises(
        WrongWeights, match=r"partial.*nan .* in Mixed_7b\.branch3x3dbl_2.*before 2048"
    ):
        InceptionFeatures(file, "2048", CPU)


def test_weights_of_another_network_are_refused(tmp_path, path):
    file = tmp_path / "other.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, file)
    with pytest.raises(WrongWeights, match=r"other\.pth: expected torch-fidelity's Inception"):
        InceptionFeatures(file, "64", CPU)
    state = torch.load(path, weights_only=True)  # noqa: TID251 - as torch-fidelity reads it
    state["Conv2d_1a_3x3.conv.weight"] = torch.zeros(8, 3, 3, 3)
    torch.save(state, file)
    with pytest.raises(WrongWeights, match="Conv2d_1a_3x3"):
        InceptionFeatures(file, "64", CPU)


def test_nobody_s_random_numbers_are_used(path):
    before = torch.random.get_rng_state()
    InceptionFeatures(path, "64", CPU)
    assert torch.equal(before, torch.random.get_rng_state())


def test_other_images_are_refused_with_what_was_expected(path):
    network, good = InceptionFeatures(path, "64", CPU), images(2, 16, 16)
    for bad in (good.float(), good[0], good[:, :1], good[:0]):
        with pytest.raises(ValueError, match="expected images"):
            network(bad)


@pytest.mark.real_data
@pytest.mark.timeout(300)  # torch-fidelity needs a third of a second for each image
def test_distances_of_real_faces_are_torch_fidelity_s(inception_768, faces):
    from torch_fidelity import calculate_metrics

    one, two = faces(0, 40), faces(40, 80)
    expected = calculate_metrics(
        input1=Images(two),
        input2=Images(one),
        fid=True,
        feature_layer_fid="768",
        kid=True,
        feature_layer_kid="768",
        kid_subset_size=40,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception_768),
        cuda=False,
        save_cpu_ram=True,
        verbose=False,
    )
    network = InceptionFeatures(inception_768, "768", CPU)
    real, other = (network(part).numpy() for part in (one, two))
    distance = fid(reference_arrays(real), other)
    assert distance == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    kernel = kid(real, other).value
    assert kernel == pytest.approx(expected["kernel_inception_distance_mean"], abs=1e-7)


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_fid_768_of_real_faces_is_the_known_one_and_bf16_moves_it_by_less_than_one_percent(
    inception_768, faces
):
    distances = []
    for precision in ("fp32", "bf16"):
        network = InceptionFeatures(inception_768, "768", CPU, precision)
        real = reference_arrays(network(faces(0, 500)).numpy())
        distances.append(fid(real, network(faces(500, 1000)).numpy()))
    assert distances[0] == pytest.approx(0.151, abs=0.0005)
    assert distances[1] == pytest.approx(distances[0], rel=0.01)
