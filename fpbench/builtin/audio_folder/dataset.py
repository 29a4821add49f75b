"""`audio-folder`: real sounds from a folder or a zip archive, at one rate and length."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, NoReturn

from pydantic import Field

from fpbench.api import Card, Conditions, Dataset, MissingResource, Params, SampleInfo, digest
from fpbench.api.params import Local
from fpbench.builtin.audio_folder.contents import (
    Content,
    Looked,
    Wanted,
    forget,
    look_at,
    sha256,
)
from fpbench.builtin.audio_folder.decoding import decode
from fpbench.builtin.audio_folder.findings import (
    Findings,
    Kind,
    Said,
    grouped,
    refusal,
    remarks,
    twins,
)
from fpbench.builtin.audio_folder.listing import Listing, listed, opened
from fpbench.builtin.image_folder.files import Files, Unreadable
from fpbench.builtin.image_folder.findings import shown, suffixes
from fpbench.builtin.image_folder.layout import Layout, Pool, UnclearLayout, assign

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HELD_FIRST: tuple[Pool, ...] = ("test", "val", "train", "pool")
Count = Annotated[int, Field(ge=1)]


class AudioFolderParams(Params):
    """Where the sounds are and how they are used.

    Attributes:
        path: folder (searched through) or `.zip` file.
        rate: of what is used, hertz.
        length: of what is used, samples.
        classes: the folder that a sound lies in is its class, by the folders' names in order.
        train: most sounds to train on.
        test: sounds for negatives and adversaries.
        reference: sounds that distributions are compared with.
    """

    path: Annotated[str, Local()]
    rate: Annotated[int, Field(ge=4_000, le=48_000)] = 8_000
    length: Annotated[int, Field(ge=512, le=480_000)] = 4_096
    classes: bool = False
    train: Count = 10_000
    test: Count = 2_000
    reference: Count = 2_000


class AudioFolder(Dataset[AudioFolderParams]):
    """Sounds are identified by what is in their files, never by names, times or order.

    Samples: channels averaged, values over full scale made softer until they fit, resampled by a
    polyphase filter, the middle of what is longer, what is shorter in the middle of silence, 16
    bits. A sound that cannot be used is an error that names it.

    Splits are found, and equal sounds counted once, as `image-folder` does it with images: folders
    `train` and `test` are respected, `val` serves as `test` or `reference`, and without such
    folders all sounds are one pool, from whose front `test` is cut; pools are ordered by the
    digests of the files.
    """

    name = "audio-folder"
    version = "1"
    Params = AudioFolderParams
    card = Card(
        title="Audio folder",
        source="given by the user",
        licence="that of the sounds",
        summary="WAV, FLAC, MP3, OGG or Opus files of a folder or zip archive: mixed down, "
        "resampled, cut to their middle or padded; equal ones count once.",
    )

    def look(self, progress: Callable[[int, int], None]) -> None:
        """Decode the sounds that were not looked at before; later calls find them known."""
        self._layout  # noqa: B018 - what is not split clearly is refused before that
        self._looked = look_at(self._files, self._listing, self._wanted, progress)

    def info(self) -> SampleInfo:
        """Rate, length and counts; sounds that were not looked at before are decoded once.

        Raises:
            MissingResource: some cannot be used, all of which are told at once; or splits are
                unclear; or none is left to train on.
        """
        p, counts = self.params, {split: len(names) for split, names in self._splits.items()}
        conditions = "classes" if p.classes else ""
        return SampleInfo("audio", (1, p.length), "int16", counts, p.rate, conditions)

    def digest(self) -> str:
        """Of the contents of each pool: that of a folder, of its copy and of its zip is the same.

        Of classes also which sound is of which.
        """
        pools, contents = self._pools, self._contents
        sounds = {pool: [contents[name].bytes for name in names] for pool, names in pools.items()}
        if not self.params.classes:
            return digest(sounds)
        classes = {pool: [self._class(name) for name in names] for pool, names in pools.items()}
        return digest({"sounds": sounds, "classes": classes})

    def read(self, split: str, indices: NDArray[np.int64]) -> NDArray[np.int16]:
        """(N, 1, T) int16, of the files that the digest is of.

        Raises:
            MissingResource: a file is gone, or another one.
        """
        import numpy as np

        names = self._splits[split]
        return np.stack([self._sound(names[int(i)]) for i in indices])

    def conditions(self, split: str, indices: NDArray[np.int64]) -> Conditions:
        """The classes of a split's sounds; none unless they are asked for."""
        if not self.params.classes:
            return ()
        names = self._splits[split]
        return [self._class(names[int(i)]) for i in indices]

    def verify(self) -> None:
        """List the files again and compare the bytes of each with its digest.

        Raises:
            MissingResource: sounds came, went or changed, or one is damaged.
        """
        now = opened(self._files.path)
        if changed := self._listing.sounds.keys() ^ listed(now).sounds.keys():
            self._refuse(min(changed))
        for name, content in self._contents.items():
            if sha256(self._bytes(now, name)) != content.bytes:
                self._refuse(name)

    def remarks(self) -> tuple[str, ...]:
        """Sounds that are used otherwise than they lie, what was left out, links; a line each."""
        treated: Findings = {
            kind: {n: "" for n, content in self._contents.items() if kind in content.done}
            for kind in Kind
        }
        equal = grouped(twins(self._firsts.values()))
        return (*remarks(self._listing.findings), *remarks(treated), *remarks(equal))

    def prepare(self) -> str:
        """Look at every file. What is used, and what is to be said of the others; a line each."""
        used = [name for names in self._splits.values() for name in names]
        whole = sum(map(len, self._pools.values()))
        told = f"used: {len(used):,} of {whole:,} sounds ({suffixes(used)}), {self._layout}"
        return "\n  ".join([super().prepare(), told, *self.remarks()])

    # -- which sounds ------------------------------------------------------------------------

    @property
    def _wanted(self) -> Wanted:
        return Wanted(self.params.rate, self.params.length)

    @cached_property
    def _files(self) -> Files:
        return opened(Path(self.params.path).expanduser())

    @cached_property
    def _listing(self) -> Listing:
        return listed(self._files)

    @cached_property
    def _layout(self) -> Layout:
        try:
            return assign(self._listing.sounds)
        except UnclearLayout as error:
            expected = shown(error).replace("all images in", "all sounds in")
            raise MissingResource(
                f"dataset audio-folder: {shown(self._files.path)}: expected {expected}; move or "
                "rename folders, or set [dataset] path to the folder that is meant"
            ) from None

    @cached_property
    def _looked(self) -> Looked:
        return look_at(self._files, self._listing, self._wanted)

    @cached_property
    def _contents(self) -> dict[str, Content]:
        unusable: dict[str, tuple[Said, str]] = self._listing.unusable | self._looked.unusable
        if not unusable:
            return self._looked.contents
        raise MissingResource(
            f"dataset audio-folder: expected sounds that can be used in {shown(self._files.path)}, "
            f"got {refusal(grouped(unusable))}"
        )

    @cached_property
    def _firsts(self) -> dict[Pool, dict[str, str]]:
        """Name -> the sound that counts for it, in the order of digests; by pool."""
        pools, contents, taken = self._layout.pools, self._contents, dict[str, str]()
        return {
            pool: {
                name: taken.setdefault(contents[name].samples, name)
                for name in sorted(pools[pool], key=lambda name: contents[name].bytes)
            }
            for pool in _HELD_FIRST
            if pool in pools
        }

    @cached_property
    def _pools(self) -> dict[Pool, list[str]]:
        """Names in the order of their digests; of equal sounds the first."""
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
            raise MissingResource(
                f"dataset audio-folder: expected sounds to train on in {shown(self._files.path)}, "
                f"got none that is left: test has {len(test):,}, reference {len(reference):,}; set "
                "[dataset] test or reference lower, or bring more sounds"
            )
        return {"train": rest[: p.train], "test": test, "reference": reference}

    # -- classes and samples -----------------------------------------------------------------

    @cached_property
    def _classes(self) -> list[str]:
        return sorted({PurePosixPath(name).parent.name for name in self._listing.sounds})

    def _class(self, name: str) -> int:
        return self._classes.index(PurePosixPath(name).parent.name)

    def _sound(self, name: str) -> NDArray[np.int16]:
        data = self._bytes(self._files, name)
        if sha256(data) != self._contents[name].bytes:
            self._refuse(name)
        # Which these bytes have passed before.
        return decode(data, self.params.rate, self.params.length).samples

    def _bytes(self, files: Files, name: str) -> bytes:
        try:
            return files.read(name)
        except Unreadable as error:
            raise MissingResource(
                f"dataset audio-folder: expected to read {shown(files.path / name)}, got "
                f"{shown(error)}; restore or remove the file"
            ) from None

    def _refuse(self, name: str) -> NoReturn:
        forget(self._files.path, self._wanted)
        raise MissingResource(
            f"dataset audio-folder: expected {shown(self._files.path)} as it was when it was "
            f"planned with, got a change: {shown(name)}; run again, which takes it as it is now"
        )
