import io
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from fpbench.api import MissingResource
from fpbench.builtin.image_folder.dataset import ImageFolder
from fpbench.plan.identity import identity
from fpbench.spec.model import component_json


def encoded(array, format="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format, **options)
    return buffer.getvalue()


def picture(seed, height=40, width=48):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    for i in range(30):
        (root / "deep" / f"{i:02d}.png").write_bytes(encoded(picture(i)))
    (root / "notes.txt").write_text("not an image")
    return root


def dataset(path, **params):
    options = {"size": 16, "train": 20, "test": 5, "reference": 5} | params
    return ImageFolder(ImageFolder.Params(path=str(path), **options))


def zipped(tmp_path, files):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def test_splits_are_disjoint_and_fixed_by_names(folder, tmp_path):
    found = dataset(folder)
    assert found.info().counts == {"train": 20, "test": 5, "reference": 5}
    names = [set(split) for split in found._splits.values()]
    assert len(set.union(*names)) == 30
    archive = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}
    assert dataset(zipped(tmp_path, archive))._splits == found._splits


def test_zip_and_folder_hold_the_same_pixels(folder, tmp_path):
    archive = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.png")}
    a, b = dataset(folder), dataset(zipped(tmp_path, archive))
    indices = np.array([3, 0, 3])
    assert (a.read("train", indices) == b.read("train", indices)).all()
    assert a.read("train", indices).shape == (3, 16, 16, 3)


def test_given_train_and_test_folders_are_respected(tmp_path):
    files = {f"train/a/{i}.png": encoded(picture(i)) for i in range(12)}
    files |= {f"test/a/{i}.png": encoded(picture(50 + i)) for i in range(6)}
    found = dataset(zipped(tmp_path, files), reference=4, test=5)._splits
    assert all(name.startswith("test/") for name in found["test"])
    assert all(name.startswith("train/") for name in found["train"] + found["reference"])
    assert (len(found["train"]), len(found["reference"])) == (8, 4)


def test_sizes_and_modes_are_brought_to_one(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    grey = picture(0)[:, :, 0]
    (root / "grey.png").write_bytes(encoded(grey))
    (root / "small.png").write_bytes(encoded(picture(1, 8, 9)))
    (root / "alpha.png").write_bytes(encoded(np.dstack([picture(2), grey])))
    (root / "photo.jpg").write_bytes(encoded(picture(3, 100, 60), "JPEG"))
    found = dataset(root, train=4, test=1, reference=1)
    images = [found.read(s, np.arange(n)) for s, n in found.info().counts.items()]
    assert np.concatenate(images).shape == (4, 16, 16, 3)


def test_centre_crop_and_area_average_agree_with_numpy(tmp_path):
    image = picture(7, 32, 40)
    path = zipped(tmp_path, {f"{i}.png": encoded(image) for i in range(3)})
    expected = image[:, 4:36].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    found = dataset(path, train=1, test=1, reference=1).read("train", np.array([0]))[0]
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"no image"]
)
def test_damaged_images_are_named(folder, damage):
    victim = folder / "deep" / "07.png"
    victim.write_bytes(damage(victim.read_bytes()))
    found = dataset(folder)
    split = next(s for s, names in found._splits.items() if "deep/07.png" in names)
    with pytest.raises(MissingResource, match=r"deep/07\.png"):
        found.read(split, np.arange(found.info().counts[split]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "nowhere", "got nothing"),
        (lambda p: p, "none among 0 files"),
        (lambda p: (p / "a.zip", (p / "a.zip").write_bytes(b"PK"))[0], "a folder or a zip file"),
    ],
)
def test_folders_without_images_are_said(tmp_path, make, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(MissingResource, match=message):
        dataset(make(empty)).info()


def test_digest_changes_with_any_file(folder):
    before = dataset(folder).digest()
    assert dataset(folder).digest() == before
    (folder / "deep" / "00.png").write_bytes(encoded(picture(99)))
    assert dataset(folder).digest() != before


def test_where_the_images_lie_is_no_part_of_what_they_are(folder, tmp_path):
    moved = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, moved)
    for path in folder.rglob("*"):
        stat = path.stat()
        os.utime(moved / path.relative_to(folder), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    here, there = (dataset(p) for p in (folder, moved))
    assert here.digest() == there.digest()
    assert identity(here) == identity(there)
    # Records and pages name no folder of this machine.
    assert component_json(there)["params"]["path"] == folder.name


def test_oversized_images_are_refused_before_they_are_decoded(folder, monkeypatch):
    import fpbench.builtin.image_folder.dataset as module

    monkeypatch.setattr(module, "_MAX_PIXELS", 100)
    with pytest.raises(MissingResource, match="48 by 40 pixels"):
        dataset(folder).read("train", np.array([0]))


@pytest.mark.real_data
def test_real_faces_are_read(real_data):
    found = dataset(real_data / "utkface-64.zip", size=32, train=100, test=50, reference=50)
    assert found.info().counts == {"train": 100, "test": 50, "reference": 50}
    images = found.read("train", np.arange(100))
    assert images.shape == (100, 32, 32, 3)
    assert 60 < images.mean() < 190
