"""`image-folder`: real images from a folder or a zip archive, at one square size.

Every image is centre-cropped to a square and resized by area averaging (shrinking) or cubic
interpolation (growing). Greyscale, palette and transparent images are turned into RGB (transparency
on black). A file that is no readable image is an error that names it.
"""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fpbench.api import Card, Dataset, ImageInfo, MissingResource, Params, digest
from fpbench.api.params import Local

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_MAX_PIXELS = 64 * 2**20  # larger ones are refused before they are decoded
Count = Annotated[int, Field(ge=1)]


class ImageFolderParams(Params):
    """Where the images are and how they are used.

    Attributes:
        path: folder (searched through) or `.zip` file.
        size: height and width after crop and resize, pixels.
        train: most images to train on.
        test: images for negatives and adversaries.
        reference: images that distributions are compared with.
    """

    path: Annotated[str, Local()]
    size: Annotated[int, Field(ge=8, le=1024)] = 32
    train: Count = 10_000
    test: Count = 2_000
    reference: Count = 2_000


class ImageFolder(Dataset[ImageFolderParams]):
    """Splits are fixed by the file names alone.

    With top-level folders `train` and `test`, test images come from `test` and all others from
    `train`; else all images are one pool. A pool is ordered by a hash of the names; the reference
    split is cut from its front, so that the splits never share an image.
    """

    name = "image-folder"
    version = "1"
    Params = ImageFolderParams
    card = Card(
        title="Image folder",
        source="given by the user",
        licence="that of the images",
        summary="Images of a folder or zip archive, centre-cropped to a square and resized.",
    )

    def info(self) -> ImageInfo:
        """Size and counts, from the list of names."""
        return ImageInfo(self.params.size, {k: len(v) for k, v in self._splits.items()})

    def digest(self) -> str:
        """SHA-256 over names, sizes and time stamps (folder) or checksums (zip)."""
        return digest({"entries": self._entries})

    def read(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8."""
        import numpy as np

        names = self._splits[split]
        return np.stack([self._image(names[int(i)]) for i in indices])

    # -- the list ----------------------------------------------------------------------------

    @cached_property
    def _path(self) -> Path:
        path = Path(self.params.path).expanduser()
        if not path.exists():
            raise MissingResource(
                f"dataset image-folder: expected a folder or zip at {path}, got nothing; "
                "set [dataset] path"
            )
        return path

    @cached_property
    def _archive(self) -> zipfile.ZipFile | None:
        if self._path.is_dir():
            return None
        try:
            return zipfile.ZipFile(self._path)
        except (zipfile.BadZipFile, OSError) as error:
            raise MissingResource(
                f"dataset image-folder: expected a folder or a zip file, got {self._path} ({error})"
            ) from None

    @cached_property
    def _entries(self) -> list[tuple[str, int, int]]:
        if self._archive is not None:
            found = [(i.filename, i.file_size, i.CRC) for i in self._archive.infolist()]
        else:
            files = [(p, p.stat()) for p in self._path.rglob("*") if p.is_file()]
            base = self._path
            found = [(p.relative_to(base).as_posix(), s.st_size, s.st_mtime_ns) for p, s in files]
        images = sorted(e for e in found if PurePosixPath(e[0]).suffix.lower() in _SUFFIXES)
        if not images:
            raise MissingResource(
                f"dataset image-folder: expected images ({', '.join(sorted(_SUFFIXES))}) in "
                f"{self._path}, got none among {len(found)} files"
            )
        return images

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        names = [name for name, _, _ in self._entries]
        tops = {name.split("/", 1)[0] for name in names}
        p = self.params
        if {"train", "test"} <= tops:
            held = _shuffled(n for n in names if n.startswith("test/"))
            pool = _shuffled(n for n in names if not n.startswith("test/"))
            test = held[: p.test]
        else:
            pool = _shuffled(names)
            test, pool = pool[: p.test], pool[p.test :]
        reference, train = pool[: p.reference], pool[p.reference : p.reference + p.train]
        return {"train": train, "test": test, "reference": reference}

    # -- the pixels --------------------------------------------------------------------------

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    def _image(self, name: str) -> NDArray[np.uint8]:
        return decode_square(self._bytes(name), self.params.size, f"{self._path}: {name}")

    def _bytes(self, name: str) -> bytes:
        if self._archive is None:
            return (self._path / name).read_bytes()
        with self._lock:  # one file handle, several readers
            return self._archive.read(name)


def decode_square(data: bytes, size: int, name: str) -> NDArray[np.uint8]:
    """(size, size, 3) uint8 of an encoded image.

    Raises:
        MissingResource: it is truncated, no image, or too large; names the file.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415, RUF100 - not needed to plan

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise OSError(f"{image.width} by {image.height} pixels")
            image.load()
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            square = image.convert("RGB").crop((left, top, left + side, top + side))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise MissingResource(
            f"dataset image-folder: expected a whole image, got a damaged one: {name} ({error}); "
            "mend or remove the file"
        ) from None
    if side == size:
        return np.asarray(square)
    way = Image.Resampling.BOX if side > size else Image.Resampling.BICUBIC
    return np.asarray(square.resize((size, size), way))


def _shuffled(names: object) -> list[str]:
    return sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())  # type: ignore[call-overload,no-any-return]
