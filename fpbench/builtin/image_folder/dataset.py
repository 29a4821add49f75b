"""`image-folder`: real images from a folder or a zip archive, at one square size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from pydantic import Field

from fpbench.api import (
    Card,
    Conditions,
    Dataset,
    MissingResource,
    Params,
    SampleInfo,
    digest,
)
from fpbench.api.params import Local
from fpbench.builtin.image_folder.captions import captions_of
from fpbench.builtin.image_folder.contents import (
    Content,
    Looked,
    all_listed,
    forget,
    look_at,
    sha256,
)
from fpbench.builtin.image_folder.files import Files, Listing, Unreadable, open_files
from fpbench.builtin.image_folder.findings import (
    Finding,
    Inspection,
    Kind,
    grouped,
    refusal,
    shown,
    twins,
)
from fpbench.builtin.image_folder.layout import Layout, Pool, UnclearLayout, assign
from fpbench.builtin.image_folder.pixels import decode_square

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HELD_FIRST: tuple[Pool, ...] = ("test", "val", "train", "pool")
Count = Annotated[int, Field(ge=1)]


class ImageFolderParams(Params):
    """Where the images are and how they are used.

    Attributes:
        path: folder (searched through) or `.zip` file.
        captions: JSON file of what images show, in the form of MS-COCO's annotations or an object
            of file names and captions; empty = images without captions.
        size: height and width after crop and resize, pixels.
        train: most images to train on.
        test: images for negatives and adversaries.
        reference: images that distributions are compared with.
    """

    path: Annotated[str, Local()]
    captions: Annotated[str, Local()] = ""
    size: Annotated[int, Field(ge=8, le=1024)] = 32
    train: Count = 10_000
    test: Count = 2_000
    reference: Count = 2_000


class ImageFolder(Dataset[ImageFolderParams]):
    """Images are identified by what is in their files, never by names, times or order.

    Pixels: the first frame of a file, upright as its EXIF orientation says, 16-bit grey by its high
    byte, alpha composited on black (what is fully transparent is black), then RGB, the largest
    square in the middle, resized by area averaging (shrinking) or cubic interpolation (growing).
    Colour profiles are not applied. An image that cannot be used is an error that names it.

    Splits: folders that wrap everything are skipped. Below them folders `train` and `test` are
    respected, in any case; `val` (`valid`, `validation`) serves as `test` where there is no `test`,
    else as `reference`. Without such folders all images are one pool, from whose front `test` is
    cut. `reference` is cut from the front of what is left for training, unless `val` serves as it.
    Pools are ordered by the digests of the files. What looks like splits but is not wholly so is an
    error.

    Hidden files and folders are left out, and folders of thumbnails. Images whose used pixels are
    equal count once: in `test` before `val` before `train`, so that no picture is on two sides.

    With `captions` images may be asked for by what they show; those without one are left out.
    """

    name = "image-folder"
    version = "2"
    Params = ImageFolderParams
    card = Card(
        title="Image folder",
        source="given by the user",
        licence="that of the images",
        summary="Images of a folder or zip archive: upright, alpha on black, 16-bit grey by its "
        "high byte, centre-cropped to a square and resized; equal ones count once.",
    )

    def look(self, progress: Callable[[int, int], None]) -> None:
        """Decode the images that were not looked at before; later calls find them known."""
        self._layout  # noqa: B018 - what is not split clearly is refused before that
        self._looked = look_at(self._files, self._used, self.params.size, progress)

    def info(self) -> SampleInfo:
        """Size and counts; images that were not looked at before are decoded once.

        Raises:
            MissingResource: some cannot be used, all of which are told at once; or splits are
                unclear; or none is left to train on.
        """
        counts = {split: len(names) for split, names in self._splits.items()}
        conditions = "captions" if self.params.captions else ""
        return SampleInfo.of_images(self.params.size, counts, conditions)

    def digest(self) -> str:
        """Of the contents of each pool: that of a folder, of its copy and of its zip is the same.

        Of captions, those that belong to the images, in whatever form they are written. Files that
        were looked at before are known by their size and time.
        """
        pools, contents = self._pools, self._contents
        images = {pool: [contents[n].bytes for n in names] for pool, names in pools.items()}
        if not self.params.captions:
            return digest(images)
        said = {pool: [self._captions[n] for n in names] for pool, names in pools.items()}
        return digest({"images": images, "captions": said})

    def read(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(N, H, W, 3) uint8, of the files that the digest is of.

        Raises:
            MissingResource: a file is gone, or another one.
        """
        import numpy as np

        names = self._splits[split]
        return np.stack([self._image(names[int(i)]) for i in indices])

    def conditions(self, split: str, indices: NDArray[np.int64]) -> Conditions:
        """The captions of a split's images; none where there is no file of them."""
        if not self.params.captions:
            return ()
        names = self._splits[split]
        return [self._captions[names[int(i)]] for i in indices]

    def verify(self) -> None:
        """List the files again and compare the bytes of each with its digest.

        Raises:
            MissingResource: images came, went or changed, or one is damaged; or captions changed.
        """
        known = self._contents
        now = open_files(self._files.path)
        if changed := self._listing.images.keys() ^ now.listing().images.keys():
            self._refuse(min(changed))
        if self.params.captions and self._captions != self._read_captions():
            self._refuse(self.params.captions)
        for name, content in known.items():
            if sha256(self._bytes(now, name)) != content.bytes:
                self._refuse(name)

    def remarks(self) -> tuple[str, ...]:
        """Images that are used otherwise than they lie, what was left out, links; a line each."""
        return self._inspection.remarks()

    def prepare(self) -> str:
        """Look at every file. What is used, and what is to be said of the others; a line each."""
        return "\n  ".join([super().prepare(), *self._inspection.lines()])

    # -- which images ------------------------------------------------------------------------

    @cached_property
    def _files(self) -> Files:
        return open_files(Path(self.params.path).expanduser())

    @cached_property
    def _listing(self) -> Listing:
        return self._files.listing()

    @cached_property
    def _captions(self) -> dict[str, str]:
        return self._read_captions()

    def _read_captions(self) -> dict[str, str]:
        return captions_of(Path(self.params.captions).expanduser(), self._listing.images)

    @cached_property
    def _used(self) -> Listing:
        """The images that are not left out for want of a caption."""
        if not self.params.captions:
            return self._listing
        images = {n: stamp for n, stamp in self._listing.images.items() if n in self._captions}
        return replace(self._listing, images=images)

    @cached_property
    def _layout(self) -> Layout:
        try:
            return assign(self._used.images)
        except UnclearLayout as error:
            raise MissingResource(
                f"dataset image-folder: {shown(self._files.path)}: expected {shown(error)}; move "
                "or rename folders, or set [dataset] path to the folder that is meant"
            ) from None

    @cached_property
    def _looked(self) -> Looked:
        return look_at(self._files, self._used, self.params.size)

    @cached_property
    def _contents(self) -> dict[str, Content]:
        unusable = self._listing.unusable | self._looked.unusable
        if not unusable:
            return self._looked.contents
        raise MissingResource(
            f"dataset image-folder: expected images that can be used in {shown(self._files.path)}, "
            f"got {refusal(grouped(unusable))}"
            + all_listed(self._files.path, self.params.size, unusable)
        )

    @cached_property
    def _firsts(self) -> dict[Pool, dict[str, str]]:
        """Name -> the image that counts for it, in the order of digests; by pool."""
        pools, contents, taken = self._layout.pools, self._contents, dict[str, str]()
        captions = self._captions if self.params.captions else {}

        def order(name: str) -> tuple[str, str]:
            return contents[name].bytes, captions.get(name, "")

        return {
            pool: {
                name: taken.setdefault(contents[name].pixels, name)
                for name in sorted(pools[pool], key=order)
            }
            for pool in _HELD_FIRST
            if pool in pools
        }

    @cached_property
    def _pools(self) -> dict[Pool, list[str]]:
        """Names in the order of their digests; of equal images the first."""
        return {
            pool: [name for name, first in firsts.items() if name == first]
            for pool, firsts in self._firsts.items()
        }

    @cached_property
    def _splits(self) -> dict[str, list[str]]:
        pools, p = self._pools, self.params
        rest = pools.get("pool") or pools.get("train", [])
        if "pool" in pools:
            test, rest = rest[: p.test], rest[p.test :]
        else:
            test = pools["test" if "test" in pools else "val"][: p.test]
        if "test" in pools and "val" in pools:
            reference = pools["val"][: p.reference]
        else:
            reference, rest = rest[: p.reference], rest[p.reference :]
        if not rest:
            raise MissingResource(self._why_none_to_train(len(test), len(reference)))
        return {"train": rest[: p.train], "test": test, "reference": reference}

    def _why_none_to_train(self, test: int, reference: int) -> str:
        expected = f"dataset image-folder: expected images to train on in {shown(self._files.path)}"
        if not self._pools.get("pool", self._pools.get("train")):
            return (
                f"{expected}, got none in train that is in no other folder too: all "
                f"{len(self._layout.pools['train']):,} equal images of test or val; bring others"
            )
        went = {"reference": reference}
        if "pool" in self._pools:
            went = {"test": test, **went}
        fifth = max(1, sum(went.values()) // 5)
        settings = " ".join(f"--set dataset.{split}={fifth}" for split in went)
        taken = " and ".join(f"{split} ({count:,})" for split, count in went.items() if count)
        return (
            f"{expected}, got none that is left: all went to {taken}; ask for fewer there, such as "
            f"{settings}, or bring more images"
        )

    @cached_property
    def _inspection(self) -> Inspection:
        splits, listing, contents = self._splits, self._listing, self._contents
        used = [name for names in splits.values() for name in names]
        silent = listing.images.keys() - self._used.images.keys()
        done = {kind for content in contents.values() for kind in content.done}
        treated = (
            Finding(kind, {name: "" for name, c in contents.items() if kind in c.done})
            for kind in done
        )
        return Inspection(
            used,
            sum(map(len, self._pools.values())) - len(used),
            str(self._layout),
            (
                *listing.findings,
                *treated,
                *twins(self._firsts),
                Finding(Kind.SILENT, dict.fromkeys(silent, "")),
                Finding(Kind.SERVES, self._layout.serves),
            ),
        )

    # -- the pixels --------------------------------------------------------------------------

    def _image(self, name: str) -> NDArray[np.uint8]:
        data = self._bytes(self._files, name)
        if sha256(data) != self._contents[name].bytes:
            self._refuse(name)
        return decode_square(data, self.params.size)  # which these bytes have passed before

    def _bytes(self, files: Files, name: str) -> bytes:
        try:
            return files.read(name)
        except Unreadable as error:
            raise MissingResource(
                f"dataset image-folder: expected to read {shown(files.path / name)}, got "
                f"{shown(error)}; restore or remove the file"
            ) from None

    def _refuse(self, name: str) -> NoReturn:
        forget(self._files.path, self.params.size)
        raise MissingResource(
            f"dataset image-folder: expected {shown(self._files.path)} as it was when it was "
            f"planned with, got a change: {shown(name)}; run again, which takes it as it is now"
        )
