"""HiDDeN as published: networks, noise layers, training and marking."""

import numpy as np
import pytest
import torch
from fpbench_hidden import layout, paper_noise
from fpbench_hidden.paper import firmness, fit
from fpbench_hidden.paper_networks import Adversary, Extractor, PaperEmbedder
from fpbench_hidden.plugin import Hidden
from pydantic import ValidationError
from scipy import fft, ndimage

from fpbench.api import SampleInfo
from fpbench.builtin.toy_faces.dataset import ToyFaces
from fpbench.nn.draws import Draws
from fpbench.nn.state import prefixed
from fpbench.stages.context import StageContext
from fpbench.stages.images import SplitStream
from fpbench.store import Store
from fpbench.testing.conformance import check_method

CPU = torch.device("cpu")
BATCH = 12
TINY = {"architecture": "paper", "bits": 8, "channels": 8, "steps": 2, "crop": 16}
# As JPEG writes them (ISO 10918-1, figure A.6): row by row, the place of each coefficient.
ZIGZAG = """
 0  1  5  6 14 15 27 28   2  4  7 13 16 26 29 42   3  8 12 17 25 30 41 43   9 11 18 24 31 40 44 53
10 19 23 32 39 45 52 54  20 22 33 38 46 51 55 60  21 34 37 47 50 56 59 61  35 36 48 49 57 58 62 63
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small gain nothing from threads, and lose much where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(1)
        yield


def pictures(count=BATCH, size=32):
    return torch.rand(count, 3, size, size) * 2 - 1


def drawn(count=BATCH, places=slice(None)):
    return Draws(torch.Generator().manual_seed(5), count, places)


def layer(name):
    (found,) = paper_noise.layers(name)
    return found


# -- networks ----------------------------------------------------------------------------------


def test_networks_have_the_tensors_of_the_public_layout():
    pair = {
        "embedder": PaperEmbedder(bits=30, channels=64),
        "reader": Extractor(bits=30, channels=64),
    }
    found = {name: tuple(tensor.shape) for name, tensor in prefixed(pair).items()}
    assert found == layout.shapes(30, 64)
    sizes = [
        sum(p.numel() for p in m.parameters()) for m in (*pair.values(), Adversary(channels=64))
    ]
    assert sizes == [169_347, 242_556, 76_097]  # as published


def test_a_code_is_repeated_at_every_pixel_before_features_and_image():
    embedder, images = PaperEmbedder(bits=5, channels=8).eval(), pictures(2, 24)
    codes = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 1, 1]]).bool()
    seen = []
    embedder.after_concat_layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert embedder(images, codes).shape == images.shape
    (planes, features, image) = seen[0].split([5, 8, 3], 1)
    assert torch.equal(planes, codes.float()[:, :, None, None].expand(-1, -1, 24, 24))
    assert torch.equal(features, embedder.conv_layers(images))
    assert torch.equal(image, images)


def test_an_extractor_averages_over_places_of_an_image_of_any_size():
    extractor = Extractor(bits=5, channels=8).eval()
    for shape in ((16, 16), (40, 24)):
        images = torch.rand(3, 3, *shape)
        average = extractor.layers(images).mean((2, 3))
        expected = average @ extractor.linear.weight.T + extractor.linear.bias
        assert torch.allclose(extractor(images), expected, atol=1e-6)


# -- noise -------------------------------------------------------------------------------------


def test_a_crop_is_a_window_of_each_image_and_stays_as_small_as_it_is():
    images = pictures(size=64)
    seen = layer("crop")(images, -images, drawn())
    assert seen.shape == (BATCH, 3, 11, 11)  # floor(sqrt(.035) * 64)
    corners = []
    for image, window in zip(images, seen, strict=True):
        windows = image.unfold(1, 11, 1).unfold(2, 11, 1)  # (3, y, x, 11, 11)
        same = (windows == window[:, None, None]).all(-1).all(-1).all(0)
        corners.append(tuple(same.nonzero()[0].tolist()))
        assert int(same.sum()) == 1
    assert len(set(corners)) > BATCH // 2  # one of the batch would be one


@pytest.mark.parametrize("name", ["dropout", "cropout"])
def test_marks_are_kept_in_three_tenths_of_the_area_that_each_image_draws(name):
    images, covers = pictures(size=64), pictures(size=64)
    seen = layer(name)(images, covers, drawn())
    kept = (seen == images).all(1)
    assert torch.equal(seen, torch.where(kept[:, None], images, covers))
    assert float(kept.float().mean()) == pytest.approx(0.3, abs=0.02)
    assert not any(torch.equal(kept[0], other) for other in kept[1:])
    if name == "cropout":
        rows, columns = kept.any(2), kept.any(1)
        assert torch.equal(kept, rows[:, :, None] & columns[:, None, :])
        sides = torch.stack([rows.sum(1), columns.sum(1)])
        assert bool((abs(sides - 64 * 0.3**0.5) <= 1).all())


def test_a_blur_is_scipys():
    images = pictures(2)
    expected = ndimage.gaussian_filter(
        images.double().numpy(), (0, 0, 2, 2), mode="nearest", truncate=2
    )
    seen = layer("gaussian-blur")(images, -images, drawn(2))
    np.testing.assert_allclose(seen.numpy(), expected, atol=1e-5)


def coefficients(images):
    """(N, 3, h, w, 8, 8) of luma and chroma, each block by itself."""
    r, g, b = images.double().numpy().transpose(1, 0, 2, 3)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = np.stack([y, 0.492 * (b - y), 0.877 * (r - y)], 1)
    count, _, height, width = planes.shape
    found = np.empty((count, 3, height // 8, width // 8, 8, 8))
    for place in np.ndindex(found.shape[:4]):
        n, c, i, j = place
        block = planes[n, c, 8 * i : 8 * i + 8, 8 * j : 8 * j + 8]
        found[place] = fft.dctn(block, norm="ortho")
    return found


def test_a_jpeg_mask_keeps_the_first_25_of_luma_and_9_of_chroma():
    images = pictures(2, 16)
    before, after = (
        coefficients(images),
        coefficients(layer("jpeg-mask")(images, -images, drawn(2))),
    )
    order = np.array(ZIGZAG.split(), int).reshape(8, 8)
    for channel, count in enumerate((25, 9, 9)):
        kept = order < count
        assert kept.sum() == count
        seen = after[:, channel]
        np.testing.assert_allclose(seen[..., kept], before[:, channel][..., kept], atol=3e-3)
        np.testing.assert_allclose(seen[..., ~kept], 0, atol=3e-3)


def test_a_jpeg_drop_loses_coefficients_as_often_as_their_step_says():
    images = pictures(16, 64)
    before, after = (
        coefficients(images),
        coefficients(layer("jpeg-drop")(images, -images, drawn(16))),
    )
    kept = np.abs(after - before) < np.abs(after)
    assert not np.array_equal(kept[0], kept[1])
    # Steps at quality 50: table + 1/2, up to 128.
    for place, step in (((0, 0, 0), 16.5), ((0, 3, 5), 87.5), ((1, 0, 1), 18.5), ((2, 7, 7), 99.5)):
        expected = max(0.1, (1 - np.log(step) / 7) ** 2)
        c, v, u = place
        assert kept[:, c, :, :, v, u].mean() == pytest.approx(expected, abs=0.05), place
        assert float(paper_noise.kept_shares(50)[place]) == pytest.approx(expected)
    assert float(paper_noise.kept_shares(90)[0, 0, 0]) == pytest.approx((1 - np.log(3.7) / 7) ** 2)


def test_combined_training_meets_eleven_layers_and_an_image_the_same_in_every_piece():
    found = paper_noise.layers("combined")
    assert len(found) == 11
    images = pictures()
    for each in [*found, layer("crop"), layer("jpeg-drop")]:
        whole = each(images, -images, drawn())
        cut = [each(images[p], -images[p], drawn(places=p)) for p in (slice(5), slice(5, BATCH))]
        assert torch.allclose(torch.cat(cut), whole, atol=1e-5)
    assert torch.equal(found[0](images, -images, drawn()), images)
    sides = {each(images, -images, drawn()).shape[-1] for each in found}
    assert sides == {32, 17, 26}  # crops of .3 and .7


# -- the method --------------------------------------------------------------------------------


def images_of(size=32, count=64):
    return SplitStream(ToyFaces(ToyFaces.Params(size=size, train=count)), "train", CPU)


def context(folder, bits=8, **settings):
    return StageContext(CPU, (0, "fit", 0), Store(folder), bits=bits, **settings)


def test_the_method_keeps_the_contract_at_a_size_that_it_was_not_trained_at(tmp_path):
    method = Hidden(Hidden.Params(**TINY, noise="combined"))
    assert not method.objection(SampleInfo.of_images(32, {"train": 64}), 4)
    result = check_method(method, tmp_path)
    assert result.leaked == ("post",)
    assert not result.sealed


def test_a_short_training_lowers_both_losses_and_ends_with_statistics(tmp_path):
    params = Hidden.Params(**{**TINY, "bits": 2, "steps": 60, "learning_rate": 5e-3})
    curves = []
    ctx = context(tmp_path, bits=2)
    ctx.curve = lambda name, step, values: curves.append(values)
    state = fit(images_of(), params, ctx)
    assert curves[-1]["reading"] < 0.7 * curves[0]["reading"]
    assert curves[-1]["likeness"] < 0.7 * curves[0]["likeness"]
    assert {"fooling", "telling", "accuracy"} <= curves[-1].keys()
    assert int(state["reader.layers.0.layers.1.num_batches_tracked"]) == 60
    assert not any(name.startswith("adversary") for name in state)


def test_a_training_that_was_stopped_goes_on_bit_by_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(StageContext, "checkpoint_due", lambda self: True)
    params = Hidden.Params(**{**TINY, "steps": 4}, noise="combined", noise_from=0.4)

    def stop(done, total, text):
        if done == 2:
            raise KeyboardInterrupt

    whole = fit(images_of(), params, context(tmp_path / "whole", key="34" * 32))
    with pytest.raises(KeyboardInterrupt):
        fit(images_of(), params, context(tmp_path / "cut", key="34" * 32, on_progress=stop))
    resumed = fit(images_of(), params, context(tmp_path / "cut", key="34" * 32))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_layers_wait_for_readable_bits_and_squares_grow_where_asked_to(tmp_path, monkeypatch):
    seen = []

    def noted(images, covers, draws):
        seen.append(tuple(images.shape))
        return images

    monkeypatch.setattr(paper_noise, "layers", lambda name: [noted])
    params = Hidden.Params(**{**TINY, "crop": 32, "steps": 4}, noise="crop", noise_from=0.9)
    fit(images_of(), params, context(tmp_path / "late"))
    assert seen == [(BATCH, 3, 32, 32)] * 2  # from half of the steps on
    seen.clear()
    params = params.model_copy(update={"noise_from": 0.0, "halved": 0.75})
    fit(images_of(), params, context(tmp_path / "at once"))
    assert seen == [(BATCH, 3, 16, 16)] * 3 + [(BATCH, 3, 32, 32)]
    seen.clear()
    params = params.model_copy(update={"quartered": 0.25})
    fit(images_of(), params, context(tmp_path / "in three"))
    assert [size for *_, size in seen] == [8, 16, 16, 32]


def test_likeness_is_asked_for_as_bits_are_read_or_at_once_as_published():
    known = (0.5, 0.83, 0.875, 0.95, 1.0)
    assert [firmness(k, 0.02) for k in known] == pytest.approx([0.02, 0.2, 0.5, 1, 1])
    assert [firmness(k, 1.0) for k in known] == [1] * 5


def test_rates_fall_to_nothing_over_the_last_steps_where_asked_to(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "fpbench_hidden.paper.set_rates", lambda optimiser, factor: seen.append(factor)
    )
    params = Hidden.Params(**{**TINY, "steps": 4}, least_firmness=0.5)
    fit(images_of(), params, context(tmp_path / "published"))
    assert seen == [1.0] * 8  # both optimisers at every step
    seen.clear()
    fit(images_of(), params.model_copy(update={"cooled": 0.5}), context(tmp_path / "cooled"))
    assert seen == pytest.approx([1.0] * 4 + [2 / 3] * 2 + [1 / 3] * 2)


def test_likeness_has_its_full_weight_while_rates_fall(tmp_path):
    def trained(**settings):
        params = Hidden.Params(**{**TINY, "steps": 2}, learning_rate=1e-3, **settings)
        return fit(images_of(), params, context(tmp_path / str(len(settings)), key="35" * 32))

    # Cooled from the first step on, it does not matter what share of its weight it began with.
    cooled, firm = trained(cooled=1.0, least_firmness=0.1), trained(cooled=1.0)
    assert all(torch.equal(tensor, firm[name]) for name, tensor in cooled.items())


def test_published_settings_come_with_the_architecture_and_others_are_refused_with_it():
    paper, small = Hidden(Hidden.Params(architecture="paper")), Hidden(Hidden.Params())
    p = paper.params
    assert (p.bits, p.channels, p.batch, p.learning_rate, p.crop) == (30, 64, 12, 1e-3, 128)
    assert (p.message_weight, p.image_weight, p.adversary_weight) == (1, 0.7, 1e-3)
    assert Hidden.Params(**p.model_dump()) == p
    assert (small.params.bits, small.params.batch, small.params.steps) == (32, 24, 300)
    assert "as published" in paper.card.title
    assert small.card.title == Hidden.card.title == "Small networks after HiDDeN"
    assert not paper.uses_host
    assert small.uses_host
    with pytest.raises(ValidationError, match='noise needs architecture = "paper"'):
        Hidden.Params(noise="crop")
    with pytest.raises(ValidationError, match='strength needs architecture = "small"'):
        Hidden.Params(architecture="paper", strength=0.1)
    with pytest.raises(ValidationError, match="a multiple of 32, got 48"):
        Hidden.Params(architecture="paper", crop=48, quartered=0.5)


def test_images_smaller_than_the_squares_of_the_training_are_refused():
    method = Hidden(Hidden.Params(architecture="paper"))
    said = method.objection(SampleInfo.of_images(64, {"train": 100}), 10)
    assert "at least `crop` = 128 pixels, got 64" in said
