import pytest
import torch
from fpbench_hidden_audio.networks import Embedder, Reader
from fpbench_hidden_audio.plugin import HiddenAudio

from fpbench.api import SampleInfo

RNG = torch.Generator().manual_seed(0)


def sounds(count=3, channels=1, length=2048):
    return torch.randn(count, channels, length, generator=RNG) / 8


def codes(count=3, bits=12):
    return torch.rand(count, bits, generator=RNG) < 0.5


@pytest.fixture
def embedder():
    return Embedder(bits=12, frame=128, channels=8, carriers=4, snr_db=20.0).eval()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_mark_is_as_faint_as_asked_for_and_depends_on_the_code(embedder, channels):
    given, own = sounds(channels=channels), codes()
    marked, other = embedder(given, own), embedder(given, ~own)
    assert marked.shape == given.shape
    size = (marked - given).norm(dim=-1) / given.norm(dim=-1)
    assert (20 * torch.log10(size) <= -20 + 1e-3).all()
    assert (20 * torch.log10(size) > -24).all()
    torch.testing.assert_close(other - given, given - marked, atol=1e-5, rtol=1e-3)
    louder = embedder(given, own, boost_db=6.0)
    assert ((louder - given).norm() / (marked - given).norm()) > 1.2


def test_silence_stays_silent_and_reads_as_numbers(embedder):
    silent = torch.zeros(1, 1, 2048)
    assert not embedder(silent, codes(1)).any()
    assert Reader(bits=12, frame=128, channels=8)(silent).isfinite().all()


def test_a_sound_is_marked_and_read_the_same_alone_and_at_any_level(embedder):
    given, own = sounds(), codes()
    together = embedder(given, own)
    alone = torch.cat([embedder(given[i : i + 1], own[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    reader = Reader(bits=12, frame=128, channels=8).eval()
    torch.testing.assert_close(reader(given * 0.25), reader(given), atol=1e-3, rtol=1e-3)


def test_gradients_reach_everything_and_pass_silence(embedder):
    given = sounds()
    given[0] = 0
    reader = Reader(bits=12, frame=128, channels=8)
    reader(embedder(given, codes())).square().sum().backward()
    weights = [*embedder.named_parameters(), *reader.named_parameters()]
    for name, weight in weights:
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def test_channels_may_change_places_and_scale(embedder):
    given, own = sounds(), codes()
    before = embedder(given, own)
    assert len(embedder.channels()) == 3
    for group in embedder.channels():
        order = torch.arange(group.count).flip(0)
        factors = torch.linspace(0.5, 2, group.count) * (-1 if group.flips else 1)
        changed = dict(embedder.state_dict())
        for axis in group.axes:
            tensor = changed[axis.tensor].movedim(axis.dim, 0)
            blocks = tensor.unflatten(0, (group.count, axis.width))
            shape = (-1, *([1] * (blocks.dim() - 1)))
            blocks = blocks[order] * (factors**axis.power).view(shape)
            changed[axis.tensor] = blocks.flatten(0, 1).movedim(0, axis.dim).contiguous()
        other = Embedder(bits=12, frame=128, channels=8, carriers=4, snr_db=20.0)
        other.load_state_dict(changed)
        torch.testing.assert_close(other(given, own), before, atol=1e-5, rtol=0)


def test_short_sounds_and_few_of_them_are_refused():
    method = HiddenAudio(HiddenAudio.Params())

    def objection(length, train):
        info = SampleInfo("audio", (1, length), "int16", {"train": train}, 8000)
        return method.objection(info, 1)

    assert not objection(1024, 20)
    assert "expected sounds of at least four windows, 1024 samples, got 1023" in objection(1023, 20)
    assert "expected at least a batch of 20 sounds, got 19" in objection(1024, 19)
