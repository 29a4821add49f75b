"""CLIP scores of images and captions, against torchmetrics with the same random network."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_clip import saved_clip
from torchmetrics.functional.multimodal import clip_score

from fpbench.api import MissingResource
from fpbench.backbones import load
from fpbench.backbones.weights import WrongWeights, fetch, find, sha256_of

pytestmark = pytest.mark.timeout(300)  # what a process imports for the first network
NAME = "clip-vit-base-patch32"
CAPTIONS = ["a red cat", "photo of a dog", "a dog", "cat"]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    place = tmp_path_factory.mktemp("weights")
    return place, saved_clip(place / NAME)


@pytest.fixture
def place(published, tmp_path):
    shutil.copytree(published[0] / NAME, tmp_path / NAME)
    return tmp_path


def images(count):
    drawn = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, 40, 48), dtype=torch.uint8, generator=drawn)


class Former:
    """A model whose features are tensors, as torchmetrics knows it of transformers before 5."""

    def __init__(self, model):
        self._model, self.config, self.device = model, model.config, model.device

    def to(self, device):
        return self

    def get_image_features(self, *given):
        return self._plain(self._model.get_image_features(*given))

    def get_text_features(self, *given):
        return self._plain(self._model.get_text_features(*given))

    def _plain(self, found):
        return found if isinstance(found, torch.Tensor) else found.pooler_output


def opened(place):
    return load(NAME, find(NAME, place), torch.device("cpu"))


def test_scores_are_torchmetrics(published):
    place, (model, processor) = published
    pictures = images(4)
    found = opened(place)(pictures, CAPTIONS)
    for picture, caption, score in zip(pictures, CAPTIONS, found, strict=True):
        expected = clip_score(picture, caption, lambda: (Former(model), processor))
        assert float(score) == pytest.approx(max(float(expected.detach()), 0), abs=1e-3)
    assert found.std() > 0.1


def test_a_pair_s_score_does_not_depend_on_its_batch(published):
    scores, pictures = opened(published[0]), images(40)
    captions = [CAPTIONS[i % 4] for i in range(40)]
    whole = scores(pictures, captions)
    alone = torch.cat([scores(pictures[i : i + 1], captions[i : i + 1]) for i in (0, 3, 33)])
    assert torch.allclose(whole[[0, 3, 33]], alone, atol=1e-3)
    assert (whole >= 0).all()


def test_long_captions_are_cut_and_keep_their_end(published):
    scores, pictures = opened(published[0]), images(1)
    assert scores(pictures, ["cat " * 20]) == scores(pictures, ["cat " * 6])  # of 8 tokens
    assert scores(pictures, ["cat " * 20]) != scores(pictures, ["cat " * 5])


def test_other_counts_are_refused(published):
    with pytest.raises(ValueError, match="and 3 captions"):
        opened(published[0])(images(4), CAPTIONS[:3])


def test_a_folder_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(
        MissingResource, match=r"python -c .*openai/clip-vit-base-patch32.*--weights"
    ):
        find(NAME, tmp_path)
    with pytest.raises(MissingResource, match="on a machine with internet"):
        fetch(NAME, tmp_path)


def test_the_digest_is_of_what_is_loaded(place):
    before = sha256_of(place / NAME)
    (place / NAME / "README.md").write_text("words")
    assert sha256_of(place / NAME) == before
    assert find(NAME, place, before) == place / NAME
    with pytest.raises(MissingResource, match=f"pins, {'0' * 64}, got {before}"):
        find(NAME, place, "0" * 64)
    merges = place / NAME / "vocab.json"
    merges.write_text(merges.read_text() + "\n")
    assert sha256_of(place / NAME) != before


def test_missing_tensors_are_refused_and_never_drawn(place):
    path = place / NAME / "model.safetensors"
    state = load_file(path)
    del state["visual_projection.weight"]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(WrongWeights, match=r"missing keys: visual_projection\.weight"):
        opened(place)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_damaged_folders_are_refused(place, file):
    (place / NAME / file).write_bytes(b"nonsense")
    with pytest.raises(WrongWeights, match="expected a CLIPModel with its processor"):
        opened(place)
