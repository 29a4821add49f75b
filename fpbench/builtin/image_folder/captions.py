"""A file of captions: which caption belongs to which image of a folder or archive."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fpbench.api import MissingResource
from fpbench.builtin.image_folder.findings import shown

_FORMS = (
    "MS-COCO's annotations of captions ({'images': [{'id', 'file_name'}], 'annotations': [{'id', "
    "'image_id', 'caption'}]}) or an object of file names and captions"
)


def captions_of(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Name of an image -> its caption, of those of `names` that the file has one for.

    A file name belongs to the image at that path below the folder, else to the one image that is
    called so, whatever folder it lies in. Of MS-COCO's several captions of an image the first by
    the annotations' ids counts. Names in the file are compared and never opened.

    Args:
        path: of the JSON file.
        names: of the images, paths with `/`.

    Raises:
        MissingResource: it is not there, or of another form, or it does not tell the images apart.
    """
    found = _read(path)
    by_end: dict[str, list[str]] = {}
    known = {name: PurePosixPath(name) for name in names}
    for name, parts in known.items():
        by_end.setdefault(parts.name, []).append(name)
    captions: dict[str, str] = {}
    unclear: list[str] = []
    for file, caption in found.items():
        meant = [file] if file in known else by_end.get(file, [])
        if len(meant) > 1:
            unclear.append(file)
        elif meant:
            captions[meant[0]] = caption
    if unclear:
        raise _refused(
            path,
            f"names that belong to one image each, got {len(unclear):,} that several folders have, "
            f"such as {shown(min(unclear))}; write paths below the folder",
        )
    if not captions:
        some = f", such as {shown(next(iter(found)))}" if found else ""
        raise _refused(
            path,
            f"captions of images in the data set, got {len(found):,} of others{some}; set "
            "[dataset] captions to the file that belongs to path",
        )
    return captions


def _read(path: Path) -> dict[str, str]:
    """File name -> caption, as the file says."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _refused(
            path, f"a JSON file, got {error.strerror or error}; set [dataset] captions"
        ) from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"{_FORMS}, got no JSON: {error}; bring the file again") from None
    if isinstance(data, dict) and isinstance(data.get("annotations"), list):
        return _of_coco(path, data)
    if not isinstance(data, dict):
        raise _refused(path, f"{_FORMS}, got {type(data).__name__}; write one of these")
    return {str(name): _caption(path, name, text) for name, text in data.items()}


def _of_coco(path: Path, data: Mapping[str, Any]) -> dict[str, str]:
    try:
        files = {int(image["id"]): str(image["file_name"]) for image in data["images"]}
        first: dict[int, tuple[int, object]] = {}
        for note in data["annotations"]:
            image, number, caption = int(note["image_id"]), int(note["id"]), note["caption"]
            if image not in first or number < first[image][0]:
                first[image] = number, caption
        named = {files[image]: caption for image, (_, caption) in first.items()}
    except (LookupError, TypeError, ValueError) as error:
        raise _refused(
            path,
            f"{_FORMS}, got an entry without them ({type(error).__name__}: {error}); take "
            "captions_train2014.json or the like, not instances or keypoints",
        ) from None
    if len(set(files.values())) < len(files) or len(files) < len(data["images"]):
        raise _refused(path, "each image once, got some twice; bring the file again")
    return {name: _caption(path, name, text) for name, text in named.items()}


def _caption(path: Path, name: object, text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise _refused(
            path,
            f"a caption for {shown(name)}, got {shown(repr(text)[:60])}; write some words, or "
            "leave the image out",
        )
    return text.strip()


def _refused(path: Path, text: str) -> MissingResource:
    return MissingResource(f"dataset image-folder: captions {shown(path)}: expected {text}")
