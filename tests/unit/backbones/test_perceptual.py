import pytest
import torch

from fpbench.backbones import load
from fpbench.backbones.perceptual import Perceptual
from fpbench.backbones.weights import WrongWeights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Weights in the form of torchvision's SqueezeNet, with the classifier left out as NaN."""
    from torchvision.models import squeezenet1_1

    rng = torch.Generator().manual_seed(0)
    state = squeezenet1_1(weights=None).state_dict()
    for key, value in state.items():
        if key.startswith("classifier"):
            value.fill_(torch.nan)
        elif value.ndim > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=rng)
    file = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.save(state, file)
    return file


@pytest.fixture(scope="module")
def network(path):
    return Perceptual("squeeze", path, CPU)


def pairs(count, height, width):
    rng = torch.Generator().manual_seed(height * width)
    shape = (2, count, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng)


def by_the_package(path, a, b):
    """The authors' package, given the weights where it looks for them."""
    import lpips

    model = lpips.LPIPS(net="squeeze", verbose=False).eval()
    with torch.no_grad():
        return model(a / 127.5 - 1, b / 127.5 - 1).flatten()


@pytest.mark.filterwarnings("ignore:The parameter 'pretrained' is deprecated:UserWarning")
@pytest.mark.filterwarnings("ignore:Arguments other than a weight enum:UserWarning")
def test_distances_are_those_of_the_package_by_itself(path, network, tmp_path, monkeypatch):
    a, b = pairs(3, 40, 56)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "squeezenet1_1-b8a52dc0.pth").write_bytes(path.read_bytes())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = network(a, b)
    assert found.shape == (3,)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), by_the_package(path, a, b), rtol=1e-5, atol=1e-7)


def test_equal_images_have_distance_zero(network):
    a, b = pairs(2, 32, 32)
    assert network(a, a).tolist() == [0, 0]
    assert (network(a, b) > 0).all()


def test_pairs_do_not_depend_on_their_batch(network, monkeypatch):
    a, b = pairs(5, 32, 32)
    whole = network(a, b)
    monkeypatch.setattr("fpbench.backbones.perceptual._BATCH_PIXELS", 2 * 32 * 32)
    torch.testing.assert_close(network(a, b), whole, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("name", "net"), [("lpips-alex", "alexnet"), ("lpips-vgg", "vgg16")])
def test_the_other_networks_load_too(tmp_path, name, net):
    from torchvision import models

    features = getattr(models, net)(weights=None, num_classes=1).features.state_dict()
    file = tmp_path / "features.pth"
    torch.save({f"features.{key}": value for key, value in features.items()}, file)
    a, b = pairs(1, 32, 32)
    distance = load(name, file, CPU)(a, b)
    assert distance.shape == (1,)
    assert distance.isfinite().all()


def test_nobody_s_random_numbers_are_used(path):
    before = torch.random.get_rng_state()
    Perceptual("squeeze", path, CPU)
    assert torch.equal(before, torch.random.get_rng_state())


def test_wrong_files_are_refused(tmp_path, path):
    with pytest.raises(WrongWeights, match="expected torchvision's network for LPIPS alex"):
        Perceptual("alex", path, CPU)
    state = torch.load(path, weights_only=True)  # noqa: TID251 - as torchvision reads it
    state["features.3.squeeze.bias"][0] = torch.inf
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(WrongWeights, match=r"infinity in features\.3\.squeeze\.bias"):
        Perceptual("squeeze", tmp_path / "bad.pth", CPU)


def test_other_images_are_refused_with_what_was_expected(network):
    good = pairs(2, 32, 32)[0]
    for bad in (good.float(), good[:1], good[:, :1], good[0], good[:0]):
        with pytest.raises(ValueError, match="expected"):
            network(good, bad)
    for bad in (good[:0], good[:, :1], good[0], good[..., :31]):
        with pytest.raises(ValueError, match="expected images"):
            network(bad, bad)


@pytest.mark.real_data
def test_published_examples_of_torchmetrics(squeeze):
    network = Perceptual("squeeze", squeeze, CPU)

    # The examples are floats in [-1, 1]; ours are 8 bits, so the network below is asked.
    def mean(a, b):
        with torch.no_grad():
            return network._network(a, b).flatten()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)  # noqa: TID251 - the published example's
        a, b = (torch.rand(10, 3, 100, 100) * 2 - 1 for _ in range(2))
    assert mean(a, b).mean().item() == pytest.approx(0.1008, abs=5e-5)
    rng = torch.Generator().manual_seed(42)
    a, b = (torch.rand(2, 3, 100, 100, generator=rng) * 2 - 1 for _ in range(2))
    assert mean(a, b).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)
    rounded = [((x + 1) * 127.5).round().to(torch.uint8) for x in (a, b)]
    assert network(*rounded).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-4)
