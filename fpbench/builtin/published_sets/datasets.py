"""`cifar10`, `celeba`, `lsun-bedroom`, `lsun-cat`: fetched, cropped and stored once.

`fpbench prepare SUITE` does it; a run only reads what is prepared.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from fpbench.api import Card, Dataset, MissingResource, Params, SampleInfo, digest
from fpbench.builtin.published_sets import prepared

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Count = Annotated[int, Field(ge=1)]


class PublishedParams(Params):
    """How the images are used.

    Attributes:
        train: images to train on, the first of the data set.
        test: images for negatives and adversaries, those that follow.
        reference: images that distributions are compared with, those that follow.
        reference_is_train: compare with the training images instead, as Yu et al. 2022 do.
    """

    train: Count = 30_000
    test: Count = 10_000
    reference: Count = 10_000
    reference_is_train: bool = False


class Published(Dataset[PublishedParams]):
    """A published data set at one size.

    Class attributes a subclass sets:
        size: height and width, pixels.
        get_by_hand: what to do where the download fails.
    """

    size: ClassVar[int]
    get_by_hand: ClassVar[str]
    Params = PublishedParams

    @abstractmethod
    def _images(self) -> Iterator[Image]:
        """The images as they are published, in order."""

    @abstractmethod
    def _square(self, image: Image) -> Image:
        """The crop, at the final size."""

    def info(self) -> SampleInfo:
        """Size and counts."""
        self._found  # noqa: B018 - raises where nothing is prepared
        return SampleInfo.of_images(self.size, self.counts)

    @property
    def counts(self) -> dict[str, int]:
        """Images of each split, as declared: known before any is prepared."""
        return {split: end - first for split, (first, end) in self._ranges.items()}

    def digest(self) -> str:
        """Of the prepared file, with the parts that are used."""
        return digest({"sha256": self._found.sha256, **self.params.model_dump()})

    def read(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8."""
        return self._array[indices + self._ranges[split][0]]

    def verify(self) -> None:
        """Read the whole prepared file and compare its digest."""
        prepared.verify(self._found)

    def prepare(self) -> str:
        """Download, crop, resize and store; nothing if it is there."""
        args = (self.name, self.size, self._count, self.version)
        try:
            found = prepared.find(*args)
        except MissingResource:
            found = prepared.store(*args, self._squares())
        path = prepared.place(*args[:3])
        return f"{path} ({found.bytes / 2**20:,.0f} MiB, SHA-256 {found.sha256})"

    def _squares(self) -> Iterator[NDArray[np.uint8]]:
        import numpy as np

        try:
            for image in self._images():
                yield np.asarray(self._square(image.convert("RGB")))
        except MissingResource:
            raise
        except Exception as error:  # a library, a server or a file may fail in any way
            text = (str(error) or type(error).__name__).splitlines()[0]
            raise MissingResource(
                f"data set {self.name}: expected its images below "
                f"{prepared.data_folder() / 'downloads'}, got {type(error).__name__}: {text}; "
                f"{self.get_by_hand}"
            ) from error

    @cached_property
    def _ranges(self) -> dict[str, tuple[int, int]]:
        p = self.params
        after = p.train + p.test
        reference = (0, p.train) if p.reference_is_train else (after, after + p.reference)
        return {"train": (0, p.train), "test": (p.train, after), "reference": reference}

    @property
    def _count(self) -> int:
        return max(end for _, end in self._ranges.values())

    @cached_property
    def _found(self) -> prepared.Prepared:
        return prepared.find(self.name, self.size, self._count, self.version)

    @cached_property
    def _array(self) -> NDArray[np.uint8]:
        return prepared.open_array(self.name, self.size, self._count)

    def _torchvision(self, name: str, **options: Any) -> Any:
        """One of torchvision's data sets."""
        from torchvision import datasets

        folder = prepared.data_folder() / "downloads"
        folder.mkdir(parents=True, exist_ok=True)
        return getattr(datasets, name)(root=str(folder), **options)


class Cifar10(Published):
    """The training images, then the test images, as they are."""

    name = "cifar10"
    version = "1"
    size = 32
    get_by_hand = (
        "needs torchvision and internet, or cifar-10-python.tar.gz from "
        "https://www.cs.toronto.edu/~kriz/cifar.html in that folder"
    )
    card = Card(
        "CIFAR-10",
        "Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html",
        "none stated; a subset of 80 Million Tiny Images, for research",
        "Photographs of ten classes, 32 pixels: the 50,000 for training, then the 10,000 for "
        "testing.",
    )

    def _images(self) -> Iterator[Image]:
        for train in (True, False):
            for image, _ in self._torchvision("CIFAR10", train=train, download=True):
                yield image

    def _square(self, image: Image) -> Image:
        return image


class CelebA(Published):
    """128 x 128 pixels around (89, 121) of the aligned images, not resized, as Yu et al. 2022.

    They cut them from the PNG version of the data set, torchvision gives the JPEG one.
    """

    name = "celeba"
    version = "1"
    size = 128
    get_by_hand = (
        "needs torchvision, gdown and internet, or img_align_celeba.zip and the list files from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html in its folder celeba"
    )
    card = Card(
        "CelebA",
        "Liu, Luo, Wang, Tang, ICCV 2015, https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "non-commercial research only; not to be redistributed",
        "Photographs of celebrities' faces, aligned; the first of the list, 128 by 128 pixels "
        "around (89, 121). From the JPEG version; Yu et al. 2022 took the PNG one.",
    )

    def _images(self) -> Iterator[Image]:
        for image, _ in self._torchvision("CelebA", split="all", download=True):
            yield image

    def _square(self, image: Image) -> Image:
        return image.crop((89 - 64, 121 - 64, 89 + 64, 121 + 64))


class _Lsun(Published):
    """The largest square in the middle, resized by the Lanczos filter.

    Read from the archive's own database: torchvision's LSUN knows no objects such as cats, and
    leaves a pickle in the working directory.
    """

    version = "1"
    category: ClassVar[str]
    get_by_hand = (
        "needs the package lmdb and, unpacked in that folder, the archive that "
        "https://github.com/fyu/lsun (download.py) or https://www.yf.io/p/lsun fetches"
    )

    def _images(self) -> Iterator[Image]:
        import lmdb
        from PIL import Image as pillow  # noqa: N813

        folder = prepared.data_folder() / "downloads" / self.category
        if not (folder / "data.mdb").is_file():
            raise FileNotFoundError(f"no data.mdb in {folder.name}")
        with (
            lmdb.open(str(folder), readonly=True, lock=False) as database,
            database.begin() as transaction,
        ):
            for _, data in transaction.cursor():
                yield pillow.open(io.BytesIO(data))

    def _square(self, image: Image) -> Image:
        from PIL.Image import Resampling

        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        square = image.crop((left, top, left + side, top + side))
        return square.resize((self.size, self.size), Resampling.LANCZOS)


def _lsun_card(title: str, what: str) -> Card:
    return Card(
        title,
        "Yu, Seff, Zhang, Song, Funkhouser, Xiao 2015, https://www.yf.io/p/lsun",
        "none stated; images of the web, for research",
        f"Photographs of {what}; the first of the archive, the largest square in the middle.",
    )


class LsunBedroom(_Lsun):
    """Bedrooms at 128 pixels."""

    name = "lsun-bedroom"
    size = 128
    category = "bedroom_train_lmdb"
    card = _lsun_card("LSUN bedroom", "bedrooms")


class LsunCatParams(PublishedParams):
    """How the images are used; Yu et al. 2022 train on 50,000.

    Attributes:
        train: images to train on, the first of the data set.
        test: images for negatives and adversaries, those that follow.
        reference: images that distributions are compared with, those that follow.
        reference_is_train: compare with the training images instead, as Yu et al. 2022 do.
    """

    train: Count = 50_000


class LsunCat(_Lsun):
    """Cats at 256 pixels."""

    name = "lsun-cat"
    size = 256
    category = "cat"
    Params = LsunCatParams
    card = _lsun_card("LSUN cat", "cats")


PUBLISHED: tuple[type[Dataset[Any]], ...] = (Cifar10, CelebA, LsunBedroom, LsunCat)
