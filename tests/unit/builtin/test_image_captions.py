"""Captions of a folder's images: whose they are, and what of them is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fpbench.api import MissingResource
from fpbench.builtin.image_folder.dataset import ImageFolder


def coloured(path, number):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Twelve images that are called by their numbers."""
    for number in range(12):
        coloured(tmp_path / "images" / f"photos/{number:03d}.png", number)
    return tmp_path / "images"


def said(tmp_path, data, name="captions.json"):
    path = tmp_path / name
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def dataset(folder, captions, **counts):
    params = {"size": 16, "train": 20, "test": 4, "reference": 2} | counts
    return ImageFolder(ImageFolder.Params(path=str(folder), captions=str(captions), **params))


def seen(found):
    """Caption -> pixels, of all splits."""
    pairs = {}
    for split, count in found.info().counts.items():
        rows = np.arange(count)
        pairs |= zip(found.conditions(split, rows), found.read(split, rows), strict=True)
    return pairs


def mapping(numbers=range(12)):
    return {f"{number:03d}.png": f"thing {number}" for number in numbers}


def coco(numbers=range(12)):
    """Three captions each, in an order in which the first is found by its id alone."""
    images = [{"id": 900 + n, "file_name": f"{n:03d}.png", "license": 1} for n in numbers]
    notes = [
        {"id": 100 * n + i, "image_id": 900 + n, "caption": f"thing {n}" if i == 5 else "else"}
        for i in (7, 5, 6)
        for n in numbers
    ]
    return {"info": {}, "images": images, "annotations": notes}


@pytest.mark.parametrize("form", [mapping, coco])
def test_each_image_has_its_own_caption(folder, tmp_path, form):
    found = dataset(folder, said(tmp_path, form()))
    assert found.info().conditions == "captions"
    pairs = seen(found)
    assert len(pairs) == 12
    for number in range(12):
        picture = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        assert (pairs[f"thing {number}"] == picture).all()


def test_without_a_file_there_are_no_conditions(folder):
    found = dataset(folder, "")
    assert found.info().conditions == ""
    assert list(found.conditions("test", np.arange(2))) == []


def test_images_without_a_caption_are_left_out_and_said(folder, tmp_path):
    found = dataset(folder, said(tmp_path, mapping(range(9))))
    assert sum(found.info().counts.values()) == 9
    assert found.remarks() == (
        "left out, without a caption (3): photos/009.png, photos/010.png, photos/011.png",
    )
    assert dataset(folder, said(tmp_path, mapping())).remarks() == ()


def test_the_digest_is_of_the_captions_that_are_used_in_whatever_form(folder, tmp_path):
    digest = dataset(folder, said(tmp_path, mapping())).digest()
    assert dataset(folder, said(tmp_path, coco(), "coco.json")).digest() == digest
    assert dataset(folder, "").digest() != digest
    more = mapping() | {"elsewhere.png": "a thing that is not here"}
    assert dataset(folder, said(tmp_path, more)).digest() == digest
    swapped = mapping() | {"000.png": "thing 1", "001.png": "thing 0"}
    assert dataset(folder, said(tmp_path, swapped)).digest() != digest


def test_a_file_that_changed_since_the_plan_is_found(folder, tmp_path):
    found = dataset(folder, said(tmp_path, mapping()))
    found.digest()
    found.verify()
    said(tmp_path, mapping() | {"003.png": "another thing"})
    with pytest.raises(MissingResource, match=r"captions\.json; run again"):
        found.verify()


def test_paths_tell_images_of_one_name_apart_and_names_alone_do_not(folder, tmp_path):
    coloured(folder / "other/003.png", 50)
    with pytest.raises(MissingResource, match=r"got 1 that several folders have, such as 003\.png"):
        dataset(folder, said(tmp_path, mapping())).digest()
    paths = {"photos/003.png": "here", "other/003.png": "there"} | mapping({0, 1, 2, 4, 5, 6})
    pairs = seen(dataset(folder, said(tmp_path, paths)))
    other = np.random.default_rng(50).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert (pairs["there"] == other).all()
    assert (pairs["here"] != other).any()


def test_equal_images_have_the_same_caption_wherever_they_lie(folder, tmp_path):
    shutil.copy(folder / "photos/003.png", folder / "a.png")
    shutil.copy(folder / "photos/003.png", folder / "z.png")
    for first, last in (("z words", "b words"), ("b words", "z words")):
        told = mapping() | {"a.png": first, "z.png": last, "003.png": "y words"}
        assert "b words" in seen(dataset(folder, said(tmp_path, told)))


def test_paths_in_the_file_are_never_opened(folder, tmp_path):
    coloured(tmp_path / "secret.png", 70)
    names = {"../secret.png": "a", str(tmp_path / "secret.png"): "b"}
    assert len(seen(dataset(folder, said(tmp_path, mapping() | names)))) == 12


@pytest.mark.parametrize(
    ("data", "got"),
    [
        ("{not json", "got no JSON"),
        ("[" * 100_000, "got no JSON"),
        ([1, 2], "got list"),
        ({"x.png": "of another data set"}, r"got 1 of others, such as x\.png"),
        ({}, "got 0 of others; set"),
        ({"000.png": 7}, r"a caption for 000\.png, got 7"),
        ({"000.png": "  "}, r"a caption for 000\.png, got '  '"),
        ({"images": [], "annotations": [{"id": 1, "image_id": 3, "caption": "x"}]}, "KeyError: 3"),
        ({"images": [{"id": 1}], "annotations": []}, "KeyError: 'file_name'"),
        ({"images": 5, "annotations": []}, "TypeError"),
        (
            coco() | {"annotations": [{"id": 1, "image_id": 900, "category_id": 3}]},
            "KeyError: 'caption'.*not instances or keypoints",
        ),
        (coco() | {"images": [{"id": n, "file_name": "a"} for n in (1, 2)]}, "KeyError: 900"),
        (
            {
                "images": [{"id": n, "file_name": "000.png"} for n in (1, 2)],
                "annotations": [{"id": 1, "image_id": 1, "caption": "x"}],
            },
            "each image once",
        ),
    ],
)
def test_bad_files_are_refused_with_what_was_expected(folder, tmp_path, data, got):
    with pytest.raises(MissingResource, match=rf"image-folder: captions .*: expected .*{got}"):
        dataset(folder, said(tmp_path, data)).info()


def test_a_missing_file_says_what_to_set(folder, tmp_path):
    with pytest.raises(MissingResource, match=r"got No such file.*; set \[dataset\] captions"):
        dataset(folder, tmp_path / "none.json").info()
