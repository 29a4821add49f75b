import numpy as np
import pytest
import torch
from fpbench_weight_watermark.networks import carrier, draw_key, read
from fpbench_weight_watermark.plugin import WeightWatermark
from torch import nn

from fpbench.api import ContractError, Evidence, TrainedHost, User
from fpbench.nn.generator import ChainGenerator
from fpbench.nn.weights import exchanged, weights
from fpbench.registry import load
from fpbench.stages.context import StageContext
from fpbench.store import Store

CPU = torch.device("cpu")
PLACE = ("generator", "synthesis.convs.2.2.conv.weight")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return lambda *root: StageContext(CPU, (0, *root), store)


@pytest.fixture(scope="module")
def host(context):
    cls = load().component("hosts", "stylegan2")
    component = cls(cls.Params(channels=16, embedding_dim=16, latent_dim=16))
    state = {"image_size": torch.tensor(32)}
    return TrainedHost(component, state, component.untrained(state, context("host")))


def watermark(**params):
    given = {"bits": 16, "batch": 2, "steps": 40, "learning_rate": 0.05, **params}
    return WeightWatermark(WeightWatermark.Params(**given))


def issued(method, host, context, user=0):
    """State, code and copy of one user."""
    state = method.fit(host, None, context("fit"))
    code = torch.rand(method.bits, generator=torch.Generator().manual_seed(user)) < 0.5
    own = method.issue(state, host, User(user, code), None, context("issue", user))
    return state, code, method.assemble(state, host, own, context("issue", user))


def reading(method, host, context, state, copy):
    logits = method.extract(state, host, Evidence(_copy=copy), context("extract"))
    assert logits.shape == (1, method.bits)
    return logits[0]


@pytest.mark.parametrize("key", ["random", "direct", "diff"])
def test_a_code_is_read_from_its_users_copy_alone(key, host, context):
    method = watermark(key=key, learning_rate=0.1, weight=0.1)
    state, code, copy = issued(method, host, context)
    logits = reading(method, host, context, state, copy)
    assert torch.equal(logits > 0, code)
    wrong = method.fit(host, None, context("fit", "of another owner"))
    for other, unmarked in ((wrong, copy), (state, host.generator)):
        accuracy = ((reading(method, host, context, other, unmarked) > 0) == code).float().mean()
        assert accuracy < 0.9


def test_a_copy_differs_from_the_host_in_one_kernel_and_little_in_its_images(host, context):
    _, _, copy = issued(watermark(), host, context)
    before, after = weights(host.generator), weights(copy)
    assert [place for place in before if not torch.equal(before[place], after[place])] == [PLACE]
    assert list(copy.steps) == list(host.generator.steps)
    latents = copy.prior(range(16))
    change = copy.sample(latents).float() - host.generator.sample(latents).float()
    assert change.square().mean().sqrt() < 255 * 10 ** (-30 / 20)


def test_training_takes_errors_of_the_images_back(host, context):
    def change(weight):
        _, _, copy = issued(watermark(weight=weight), host, context)
        latents = copy.prior(range(16))
        return (copy.run(latents) - host.generator.run(latents)).square().mean()

    assert change(0.001) < 0.9 * change(10.0)


def test_logits_are_the_papers_and_do_not_depend_on_the_scale_of_the_weights():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(5, 3, 2, 2))
    key = rng.normal(size=(4, 12))
    mean = np.array([kernel[:, c, i, j].mean() for c in range(3) for i in (0, 1) for j in (0, 1)])
    expected = key @ mean / np.sqrt((kernel**2).mean())
    for scale in (1.0, 1e-3):
        found = read(torch.from_numpy(key), torch.from_numpy(kernel * scale))
        np.testing.assert_allclose(found[0], expected, rtol=1e-9)


@pytest.mark.parametrize("kind", ["direct", "diff"])
def test_no_two_bits_share_a_weight(kind):
    key = draw_key(kind, 10, 20, torch.Generator().manual_seed(0))
    assert (key != 0).sum(0).max() == 1
    assert (key == 1).sum(1).tolist() == [1] * 10
    assert (key == -1).sum(1).tolist() == [int(kind == "diff")] * 10


def test_where_the_kernel_is_gone_nothing_is_read(host, context):
    method = watermark(steps=1)
    state, _, copy = issued(method, host, context)
    kernels = (torch.zeros(16, 16, 3, 3), torch.full((16, 16, 3, 3), float("nan")))
    spoilt = [exchanged(copy, {PLACE: kernel}) for kernel in kernels]
    narrow = copy.replace("generator", _tree(PLACE[1].removesuffix(".weight"), nn.Conv2d(4, 4, 3)))
    for gone in (*spoilt, narrow, copy.replace("generator", nn.Identity())):
        assert not reading(method, host, context, state, gone).any()


def _tree(path, leaf):
    for name in reversed(path.split(".")):
        leaf = nn.ModuleDict({name: leaf})
    return leaf


def test_the_convolution_of_most_inputs_carries_and_another_may_be_named():
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 3, 1)]
    generator = ChainGenerator({"generator": nn.Sequential(*layers)}, 3, CPU)
    assert carrier(generator, "", 72) == ("generator", "2.weight")
    assert carrier(generator, "0", 27) == ("generator", "0.weight")
    with pytest.raises(
        ContractError, match=r"at least 73 numbers, got 72 in '2'; set fewer `bits`"
    ):
        carrier(generator, "", 73)
    with pytest.raises(
        ContractError, match=r"expected a layer '7' .*, got 0, 1, 2, 3; set `layer`"
    ):
        carrier(generator, "7", 1)


def test_more_bits_than_room_or_no_convolutions_are_refused_before_any_training(host, context):
    for params in ({"bits": 144}, {"bits": 73, "key": "diff"}):
        with pytest.raises(ContractError, match="set fewer `bits`"):
            watermark(**params).fit(host, None, context("fit"))
    dense = ChainGenerator({"generator": nn.Linear(8, 8)}, 8, CPU)
    plain = TrainedHost(host.component, {}, dense)
    with pytest.raises(ContractError, match=r"got none; .* use a host with convolutions"):
        watermark().fit(plain, None, context("fit"))
