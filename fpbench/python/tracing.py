"""From a run to whom images lead to: what `fpbench trace` and `fpbench serve` have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fpbench.api import MissingResource, SampleInfo, SpecError
from fpbench.builtin.audio_folder import listing as sounds
from fpbench.builtin.audio_folder.decoding import UnfitSound, decode_whole
from fpbench.builtin.image_folder import pixels
from fpbench.builtin.image_folder.files import Files, Unreadable, open_files
from fpbench.python.copies import NO_PLACES

if TYPE_CHECKING:
    from fpbench.python.methods import TrainedMethod
    from fpbench.users import Inquiry, Registry, Report, TracedImage

_AT_ONCE = 64  # images that are read together
_FAIR = ("uniform", "weighted")  # codes that are searched by counting bits


Say = Callable[["Sequence[TracedImage]", "Sequence[dict[str, Any]]"], None]
"""Told images and the verdict on each, or the one on all of them."""


class UnfitImage(SpecError):
    """A file cannot be read by the method; tells of that file alone, and nothing of the machine."""


class File(NamedTuple):
    """An image that is to be read.

    Attributes:
        name: of its file.
        data: its bytes, when they are asked for.
    """

    name: str
    data: Callable[[], bytes]


def traced_method(
    named: str,
    runs: Path,
    store: Path | None,
    plugins: tuple[str, ...],
    places: Mapping[str, str | Path] = NO_PLACES,
) -> tuple[TrainedMethod, str]:
    """A trained method that leads to users, and what a registry calls it.

    Args:
        named: RUN:METHOD, or RUN:METHOD@SEED; RUN may be a bundle with weights.
        runs: folder in which a RUN that is no path is looked for.
        store: folder of artefacts; None = the one beside the run.
        plugins: further plugin modules.
        places: of a bundle, parameter -> file or folder on this machine.

    Raises:
        SpecError: there is no such run or method, it was not trained, or it leads to nobody.
    """
    from fpbench.execute.runs import run_folder
    from fpbench.python.loading import load
    from fpbench.python.runs import open_run

    run, colon, rest = named.rpartition(":")
    label, at, seed = rest.rpartition("@")
    if not at or not seed.isdigit():
        label, seed = rest, "0"
    if not colon or not run or not label:
        text = "expected RUN:METHOD, like runs/quickstart:hidden, or RUN:METHOD@SEED"
        raise SpecError([f"{named}: {text}"])
    if Path(run).is_file():
        folder = Path(run).with_suffix("")
        trained = load(run, label, int(seed), plugins=plugins, places=places)
    else:
        if places:
            text = f"expected places of a bundle's files, got them for the run {run}"
            raise SpecError([f"{label}: {text}, which knows where its files are"])
        folder = run_folder(run, runs)
        trained = open_run(folder, store=store, plugins=plugins).method(label, seed=int(seed))
    trained.check_room(0)
    if trained.bits and trained.facts["codes"] not in _FAIR:
        text = f"expected a method with uniform codes, got one with {trained.facts['codes']}"
        raise SpecError([f"{label}: {text}; read it with fpbench.open_run(…).method(…).extract"])
    return trained, f"{folder.name}:{label}" + (f"@{seed}" if seed != "0" else "")


def check_model(registry: Registry, model: str, trained: TrainedMethod) -> None:
    """See that a registry's codes are of this training.

    Raises:
        SpecError: they are of another one, or it has no such model.
    """
    found = registry.model(model)
    known, own = dict(found.facts) | {"bits": found.bits}, trained.facts
    differ = [name for name in own if known.get(name) != own[name]]
    if differ:
        then = ", ".join(f"{name} {_short(known.get(name))}" for name in differ)
        now = ", ".join(f"{name} {_short(own[name])}" for name in differ)
        raise SpecError(
            [
                f"model {model}: expected the training that issued its codes ({then}), got another "
                f"({now}); name the run or bundle that it was issued from"
            ]
        )


def _short(value: object) -> str:
    return str(value)[:16]


class Readers:
    """Who reads for a registry, which may grow meanwhile.

    Args:
        trained: the method.

    Raises:
        SpecError: it does not read images.
    """

    def __init__(self, trained: TrainedMethod) -> None:
        if not trained.reads_images:
            text = "expected a method that reads images, got one that reads the weights of a copy"
            raise SpecError([f"{trained.label}: {text}"])
        self._trained = trained
        self._enrolled: tuple[int, TrainedMethod, dict[str, np.ndarray]] | None = None

    def of(self, inquiry: Inquiry) -> TrainedMethod:
        """Who reads for an inquiry; one into scores is calibrated.

        Raises:
            SpecError: the method cannot tell as many users apart as there are.
            MissingResource: images without a mark are out of reach.
        """
        users = inquiry.codes
        if self._trained.bits or not users:
            return self._trained
        if self._enrolled is None or self._enrolled[0] != users:
            reader = self._trained.enrolled(users)
            self._enrolled = users, reader, reader.negatives()
        _, reader, negatives = self._enrolled
        inquiry.calibrate(negatives)
        return reader


def listed(given: Sequence[Path]) -> tuple[list[File], int]:
    """Every image of files, folders and zips, none of them read yet; and how many cannot be.

    Raises:
        SpecError: there is nothing, or no image, at a path.
    """
    found: list[File] = []
    lacking = 0
    for path in given:
        if not path.exists():
            raise SpecError([f"{path}: expected an image, or a folder or zip of some, got nothing"])
        if path.is_file() and path.suffix.lower() != ".zip":
            found.append(File(path.name, path.read_bytes))
            continue
        files = open_files(path)
        names, unusable = _inside(files)
        found += [File(name, partial(files.read, name)) for name in names]
        lacking += unusable
    if not found:
        raise SpecError([f"trace: expected images that can be read, got {lacking:,} that cannot"])
    return found, lacking


def _inside(files: Files) -> tuple[list[str], int]:
    """Names of images or, where there are none, of sounds; and how many cannot be read."""
    try:
        images = files.listing()
        return sorted(images.images), len(images.unusable)
    except MissingResource as error:
        try:
            heard = sounds.listed(files)
        except MissingResource:
            got = str(error).partition("got none: ")[2].partition(";")[0] or str(error)
            raise SpecError([f"{files.path}: expected images, got {got}"]) from error
        return sorted(heard.sounds), len(heard.unusable)


def check_sizes(
    trained: TrainedMethod,
    files: Sequence[File],
    on_look: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """See by their headers that images are of the run's size, before any of them is decoded.

    Of sounds nothing is looked at before they are read.

    Args:
        trained: who reads.
        files: in order.
        on_look: told how many of how many are looked at.

    Raises:
        UnfitImage: one is not.
    """
    for done, file in enumerate(files if trained.info.modality == "image" else (), start=1):
        _check_size(file.name, pixels.announced_size(_bytes(file)), trained.size)
        on_look(done, len(files))


def readings(
    inquiry: Inquiry, reader: TrainedMethod, files: Sequence[File]
) -> Iterator[tuple[list[TracedImage], np.ndarray]]:
    """What is read, some images at a time: with their digests, (N, K) float32 logits or (N, R).

    Images are taken as they are; none is resized. So are the sounds of a run of sounds. Nothing is
    kept of those that were handed on.

    Args:
        inquiry: that they are read for.
        reader: who reads for it.
        files: in order.

    Raises:
        UnfitImage: one is damaged, or of another size than the run's.
    """
    from fpbench.users import TracedImage

    for first in range(0, len(files), _AT_ONCE):
        read, images = [], []
        for file in files[first : first + _AT_ONCE]:
            data = _bytes(file)
            digest = hashlib.sha256(data).hexdigest()
            read.append(TracedImage(name=Path(file.name).name, sha256=digest))
            images.append(_decoded(file.name, data, reader.info))
        found = reader.extract(np.stack(images))
        # Of an empty registry the run's own users' scores are read, which are nobody's.
        yield read, found[:, : inquiry.codes] if inquiry.of_scores else found


def traced(
    inquiry: Inquiry,
    reader: TrainedMethod,
    files: Sequence[File],
    *,
    pool: bool,
    keep: bool,
    say: Say = lambda images, verdicts: None,
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> Report | None:
    """Whom images lead to, said as soon as they are read.

    Args:
        inquiry: into a registry.
        reader: who reads for it.
        files: in order, at least one.
        pool: whether they are of one source; then there is one verdict, at the end.
        keep: whether a report is asked for; without one and without `pool` nothing is kept.
        say: told images and their verdicts.
        on_read: told how many images of how many are read.

    Returns:
        The report, if asked.

    Raises:
        UnfitImage: an image cannot be read.
    """
    images: list[TracedImage] = []
    rows: list[np.ndarray] = []
    verdicts: list[dict[str, Any]] = []
    done = 0
    for read, logits in readings(inquiry, reader, files):
        if pool or keep:
            images += read
            rows.append(logits)
        if not pool:
            found = inquiry.verdicts(logits)
            say(read, found)
            verdicts += found if keep else ()
        done += len(read)
        on_read(done, len(files))
    if pool:
        verdicts += inquiry.verdicts(np.concatenate(rows), pool=True)
        say(images, verdicts)
    return inquiry.report(images, np.concatenate(rows), verdicts, pool=pool) if keep else None


def _bytes(file: File) -> bytes:
    try:
        return file.data()
    except (OSError, Unreadable) as error:
        raise UnfitImage([f"{file.name}: expected a file that can be read, got {error}"]) from None


def _decoded(name: str, data: bytes, info: SampleInfo) -> np.ndarray:
    if info.modality == "audio":
        return _sound(name, data, info)
    try:
        image = pixels.decode_whole(data)
    except pixels.DamagedImage as error:
        raise UnfitImage([f"{name}: expected an image, got {error}"]) from None
    _check_size(name, (image.shape[1], image.shape[0]), info.size)
    return image


def _sound(name: str, data: bytes, info: SampleInfo) -> np.ndarray:
    try:
        samples, rate = decode_whole(data)
    except UnfitSound as error:
        why = f" ({error})" if str(error) else ""
        raise UnfitImage([f"{name}: expected a sound, got one {error.kind.words}{why}"]) from None
    if (rate, samples.shape) != (info.rate, info.shape):
        own, got = _told(info.shape, info.rate), _told(samples.shape, rate)
        text = f"expected {own}, as the run's, got {got}; nothing is resampled or cut"
        raise UnfitImage([f"{name}: {text}"])
    return samples


def _told(shape: tuple[int, ...], rate: int | None) -> str:
    return f"{shape[0]} channels of {shape[1]:,} samples at {rate:,} Hz"


def _check_size(name: str, got: tuple[int, int] | None, size: int) -> None:
    if got is not None and got != (size, size):
        text = f"expected an image of {size} by {size} pixels, as the run's"
        raise UnfitImage([f"{name}: {text}, got {got[0]} by {got[1]}; nothing is resized"])
