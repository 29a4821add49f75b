from dataclasses import dataclass, field

import pytest
import torch
from fpbench_passive.classifier import augmented, log_odds
from fpbench_passive.plugin import PassiveAttribution, PassiveDetector

from fpbench.api import ContractError, Evidence, Generator, State, TrainedHost, User
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.draws import Draws
from fpbench.nn.reader import Reader
from fpbench.stages.checks import check_alone
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.fakes import TinyHost

CPU = torch.device("cpu")
FACES = ToyFaces(ToyFaces.Params(train=256, test=64))
SMALL = {"channels": 8, "batch": 16, "learning_rate": 5e-3}
USERS = 3


@pytest.fixture
def images():
    return SplitStream(FACES, "train", CPU)


@pytest.fixture
def context(tmp_path):
    return lambda *root: StageContext(CPU, (0, *root), Store(tmp_path))


@pytest.fixture
def host(images, context):
    component = TinyHost(TinyHost.Params())
    state = component.fit(images, context("host"))
    return TrainedHost(component, state, component.assemble(state, context("host")))


def drawn(generator, count, start=0):
    return generator.sample(generator.prior(list(range(start, start + count))))


@dataclass
class Registered:
    """As the harness hands a user to `enrol`; his model gives so many samples at most."""

    user: User
    copy: Generator
    most: int = 1000
    issued: State = field(default_factory=dict)

    def samples(self, count):
        return drawn(self.copy, min(count, self.most))


def registered(method, host, images, context):
    users = []
    for index in range(USERS):
        user, ctx = User(index, torch.zeros(0, dtype=torch.bool)), context("issue", index)
        issued = method.issue({}, host, user, images, ctx)
        users.append(Registered(user, method.assemble({}, host, issued, ctx), issued=issued))
    return users


def test_the_detector_tells_the_hosts_images_from_real_ones(host, images, context):
    method = PassiveDetector(PassiveDetector.Params(**SMALL, steps=60))
    state = method.fit(host, images, context("fit"))
    again = method.fit(host, images, context("fit"))
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())

    real = SplitStream(FACES, "test", CPU).read(range(64))
    made = drawn(host.generator, 64, start=10_000)
    score = method.extract(state, host, Evidence(torch.cat([real, made])), context("extract"))
    assert score.shape == (128,)
    assert (score[64:, None] > score[:64]).float().mean() > 0.95  # AUROC on what is unseen
    assert ((score[64:] > 0).float().mean() + (score[:64] < 0).float().mean()) / 2 > 0.9
    alone = method.extract(state, host, Evidence(made[:1]), context("extract"))
    check_alone("the detector", score[64:65], alone)


def test_images_are_attributed_to_models_trained_under_other_seeds(host, images, context):
    method = PassiveAttribution(PassiveAttribution.Params(**SMALL, steps=80, samples=64))
    users = registered(method, host, images, context)
    fitted = method.fit(host, images, context("fit"))
    registry = method.enrol(fitted, host, users, images, context("enrol"))

    def scores(shown):
        found = method.extract(fitted, host, Evidence(shown, registry=registry), context("extract"))
        assert found.shape == (len(shown), USERS)
        assert ((found > 0).sum(1) <= 1).all()
        return found

    for user in users:
        found = scores(drawn(user.copy, 48, start=10_000))
        assert (found.argmax(1) == user.user.index).float().mean() > 0.9
    real = SplitStream(FACES, "test", CPU).read(range(64))
    assert (scores(real) > 0).any(1).float().mean() < 0.1
    check_alone("the attributor", scores(real)[:1], scores(real[:1]))


def test_a_score_is_a_logit_less_all_others():
    params = PassiveAttribution.Params(**SMALL)
    with torch.random.fork_rng():
        reader = Reader(image_size=32, outputs=4, channels=8)
    reader.out.bias.data = torch.tensor([0.0, 1.0, 2.0, 200.0])  # where 1 - p is 0 in float32
    shown = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    logits = reader(torch.ones(2, 3, 32, 32)).detach()
    found = log_odds(reader.state_dict(), shown, params)
    for j in range(4):
        others = logits[:, [i for i in range(4) if i != j]].double().logsumexp(1)
        # float32 near 200 is kept in steps of 1.5e-5: the bound is relative, as rounding is
        wanted = logits[:, j] - others
        torch.testing.assert_close(found[:, j].double(), wanted, atol=1e-5, rtol=5e-6)


def test_a_model_that_gives_too_few_samples_is_not_enrolled(host, images, context):
    method = PassiveAttribution(PassiveAttribution.Params(**SMALL, samples=64))
    few = Registered(User(7, torch.zeros(0)), host.generator, most=12)
    with pytest.raises(ContractError) as caught:
        method.enrol({}, host, [few], images, context("enrol"))
    assert str(caught.value) == (
        "method passive-attribution: expected 64 samples of user 7's model to enrol, got 12; let "
        "it give more, or set a smaller `samples`"
    )


def test_nobody_to_enrol_and_nobody_enrolled_are_named(host, images, context):
    method = PassiveAttribution(PassiveAttribution.Params(**SMALL))
    with pytest.raises(ContractError, match="at least one registered user to enrol, got none"):
        method.enrol({}, host, [], images, context("enrol"))
    with pytest.raises(ContractError, match="got nothing; enrol users first"):
        method.extract({}, host, Evidence(images.read([0])), context("extract"))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_images_is_changed(share):
    images = torch.rand(400, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    images = (images * 255).round() / 127.5 - 1
    params = PassiveDetector.Params(augment=share)
    seen = augmented(images, params, Draws(torch.Generator().manual_seed(1), len(images)))
    untouched = (seen - images).abs().flatten(1).amax(1) < 1e-6
    assert abs(float(untouched.float().mean()) - (1 - share) ** 2) < 0.06
