"""Published data sets, with torchvision's classes replaced by a handful of drawn pictures."""

import io
import json
import os

import lmdb
import numpy as np
import pytest
from PIL import Image

from fpbench.api import MissingResource
from fpbench.builtin.published_sets import prepared
from fpbench.builtin.published_sets.datasets import PUBLISHED, CelebA, Cifar10, LsunBedroom


def picture(index, width=178, height=218):
    """Each pixel says which picture it is from and where it was."""
    rows, columns = np.mgrid[:height, :width]
    parts = [np.full((height, width), index), columns, rows]
    return Image.fromarray(np.stack(parts, 2).astype(np.uint8))


@pytest.fixture
def published(tmp_path, monkeypatch):
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path / "data"))
    asked = []

    def make(cls, count=9, **params):
        def images(self):
            asked.append(cls.name)
            for index in range(count):
                yield picture(index) if cls is not Cifar10 else picture(index, 32, 32)

        monkeypatch.setattr(cls, "_images", images)
        return cls(cls.Params(**{"train": 4, "test": 2, "reference": 3, **params}))

    make.asked = asked
    return make


def test_a_prepared_set_is_read_by_split(published):
    faces = published(CelebA)
    assert "SHA-256" in faces.prepare()
    assert faces.info().counts == {"train": 4, "test": 2, "reference": 3}
    assert faces.info().size == 128
    read = faces.read("test", np.array([1, 0]))
    assert (read.shape, read.dtype) == ((2, 128, 128, 3), np.uint8)
    assert read[:, 0, 0, 0].tolist() == [5, 4]
    # 128 pixels around (89, 121), as in the paper.
    assert read[0, 0, 0].tolist() == [5, 25, 57]
    assert read[0, -1, -1].tolist() == [5, 152, 184]


def test_the_papers_reference_is_what_it_trains_on(published):
    faces = published(CelebA, reference_is_train=True)
    faces.prepare()
    assert faces.info().counts["reference"] == 4
    np.testing.assert_array_equal(
        faces.read("reference", np.arange(4)), faces.read("train", np.arange(4))
    )


def test_it_is_prepared_once_and_only_mapped_later(published):
    cifar = published(Cifar10)
    cifar.prepare()
    before = cifar.digest()
    again = published(Cifar10)
    again.prepare()
    assert published.asked == ["cifar10"]
    assert again.digest() == before
    assert isinstance(again._array, np.memmap)
    assert not again._array.flags.writeable
    # Other counts within the same images are another data set, from the same file.
    other = published(Cifar10, train=3, test=3)
    assert other.digest() != before


def test_large_pictures_are_cut_to_the_middle_square(published):
    rooms = published(LsunBedroom)
    rooms.prepare()
    image = rooms.read("train", np.array([2]))[0]
    assert image.shape == (128, 128, 3)
    assert abs(int(image[0, 64, 2]) - 20) <= 1  # (218 - 178) / 2 rows above
    assert abs(int(image[64, 0, 1])) <= 1


def test_lsun_is_read_from_its_own_database(tmp_path, monkeypatch):
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path))
    folder = tmp_path / "downloads" / "bedroom_train_lmdb"
    folder.mkdir(parents=True)
    with lmdb.open(str(folder), map_size=2**24) as database, database.begin(write=True) as write:
        for index in range(5):
            data = io.BytesIO()
            picture(index, 200, 150).save(data, "png")
            write.put(b"%04d" % index, data.getvalue())
    rooms = LsunBedroom(LsunBedroom.Params(train=2, test=2, reference=1))
    rooms.prepare()
    assert rooms.read("reference", np.array([0]))[0, 0, 0, 0] == 4


def test_what_is_not_prepared_says_how(published):
    with pytest.raises(MissingResource, match=r"celeba-128-9.npy.*fpbench prepare SUITE"):
        published(CelebA).info()


def test_too_few_images_leave_nothing_behind(published):
    faces = published(CelebA, count=5)
    with pytest.raises(MissingResource, match="expected 9 images, got 5"):
        faces.prepare()
    assert not list(prepared.data_folder().glob("*.npy"))


def test_a_changed_byte_is_found_when_the_file_has_moved_on(published):
    published(Cifar10).prepare()
    path = prepared.place("cifar10", 32, 9)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))
    with pytest.raises(MissingResource, match="with SHA-256"):
        published(Cifar10).info()


def test_a_copied_file_is_verified_once(published, monkeypatch):
    published(Cifar10).prepare()
    path = prepared.place("cifar10", 32, 9)
    os.utime(path, ns=(5, 5))
    published(Cifar10).info()
    monkeypatch.setattr(prepared, "sha256_of", lambda path: pytest.fail("read again"))
    published(Cifar10).info()


def test_another_version_of_the_crop_is_another_file(published, monkeypatch):
    published(Cifar10).prepare()
    monkeypatch.setattr(Cifar10, "version", "2")
    with pytest.raises(MissingResource, match="of version 2"):
        published(Cifar10).info()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": 3'])
def test_a_damaged_note_is_as_good_as_none(published, text):
    published(Cifar10).prepare()
    prepared.place("cifar10", 32, 9).with_suffix(".json").write_text(text)
    with pytest.raises(MissingResource, match="got none that can be read"):
        published(Cifar10).info()


def test_the_note_says_what_was_made(published):
    published(Cifar10).prepare()
    note = json.loads(prepared.place("cifar10", 32, 9).with_suffix(".json").read_text())
    assert note["count"] == 9
    assert note["sha256"] == prepared.sha256_of(prepared.place("cifar10", 32, 9))


@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.name)
def test_without_a_download_the_message_says_how_to_bring_it(cls, tmp_path, monkeypatch):
    monkeypatch.setenv("FPBENCH_DATA", str(tmp_path))
    with pytest.raises(MissingResource, match=r"https://"):
        cls(cls.Params()).prepare()


@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.name)
def test_every_card_states_source_and_licence(cls):
    assert cls.card.licence
    assert "http" in cls.card.source
