"""From a run to whom images lead to: what `fpbench trace` and `fpbench serve` have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fpbench.api import Gives, SampleInfo, SpecError
from fpbench.builtin.audio_folder.decoding import UnfitSound, decode_whole
from fpbench.builtin.image_folder import pixels

if TYPE_CHECKING:
    from fpbench.python.methods import TrainedMethod
    from fpbench.users import Registry, TracedImage

_AT_ONCE = 64  # images that are read together


class UnfitImage(SpecError):
    """A file cannot be read by the method; tells of that file alone, and nothing of the machine."""


def traced_method(
    named: str, runs: Path, store: Path | None, plugins: tuple[str, ...]
) -> tuple[TrainedMethod, str]:
    """A trained method that leads to users, and what a registry calls it.

    Args:
        named: RUN:METHOD, or RUN:METHOD@SEED; RUN may be a bundle with weights.
        runs: folder in which a RUN that is no path is looked for.
        store: folder of artefacts; None = the one beside the run.
        plugins: further plugin modules.

    Raises:
        SpecError: there is no such run or method, it was not trained, or its codes are not uniform.
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
        trained = load(run, label, int(seed), plugins=plugins)
    else:
        folder = run_folder(run, runs)
        trained = open_run(folder, store=store, plugins=plugins).method(label, seed=int(seed))
    if not trained.bits or trained.facts["codes"] not in ("uniform", "weighted"):
        gives = trained.facts["codes"] if trained.bits else Gives.SCORES
        text = f"expected a method with uniform codes, got one with {gives}"
        raise SpecError([f"{label}: {text}; read it with fpbench.open_run(…).method(…).extract"])
    return trained, f"{folder.name}:{label}" + (f"@{seed}" if seed != "0" else "")


def check_model(registry: Registry, model: str, trained: TrainedMethod) -> None:
    """See that a registry's codes are of this training.

    Raises:
        SpecError: they are of another one, or it has no such model.
    """
    found = registry.model(model)
    known = {name: found.facts.get(name) for name in trained.facts if name != "bits"}
    own = {name: value for name, value in trained.facts.items() if name != "bits"}
    if known != own or found.bits != trained.bits:
        raise SpecError(
            [
                f"model {model}: expected the training that issued its codes, "
                f"{found.facts.get('method')} {str(found.facts.get('training'))[:16]}, got "
                f"{own['method']} {own['training'][:16]}; name the run that it was issued from"
            ]
        )


def read_images(
    trained: TrainedMethod, files: Sequence[tuple[str, bytes]]
) -> tuple[list[TracedImage], np.ndarray]:
    """What was read, with its digests, and (N, K) float32 logits.

    Images are taken as they are; none is resized. So are the sounds of a run of sounds.

    Args:
        trained: who reads.
        files: name and bytes of each, at least one.

    Raises:
        UnfitImage: one is damaged, or of another size than the run's: its header tells that
            before any of them is decoded.
    """
    from fpbench.users import TracedImage

    read = [
        TracedImage(name=Path(name).name, sha256=hashlib.sha256(data).hexdigest())
        for name, data in files
    ]
    info = trained.info
    if info.modality != "audio":
        for name, data in files:
            _check_size(name, pixels.announced_size(data), info.size)
    rows = []
    for first in range(0, len(files), _AT_ONCE):
        some = [_decoded(name, data, info) for name, data in files[first : first + _AT_ONCE]]
        rows.append(trained.extract(np.stack(some)))
    return read, np.concatenate(rows)


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
