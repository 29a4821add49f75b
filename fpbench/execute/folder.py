"""A folder of images under image attacks, outside any suite: what a user's images become there."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from PIL import Image

from fpbench.api import Attack, SampleAttack, SampleInfo, SpecError
from fpbench.builtin.image_folder.files import Files, Unreadable, open_files
from fpbench.builtin.image_folder.findings import shown
from fpbench.builtin.image_folder.pixels import DamagedImage, decode_whole
from fpbench.spec import SuiteAttack
from fpbench.spec.model import point_label
from fpbench.stages import boundary
from fpbench.stages.bench import attack_root
from fpbench.stages.context import StageContext
from fpbench.stages.images import as_memory, from_memory
from fpbench.stages.process import call
from fpbench.store import Store
from fpbench.store.names import Slugs

__all__ = ["attack_folder"]

Point = tuple[SuiteAttack, float | None]


def attack_folder(
    source: Path,
    attacks: Sequence[SuiteAttack],
    output: Path,
    *,
    seed: int = 0,
    user: int = 0,
    device: torch.device | None = None,
) -> tuple[int, list[str]]:
    """Write a PNG of every image under every attack, as it comes out of a suite.

    The draws are those of a suite's `seed` and of image i of user `user`, where i is the place of
    an image's name among all names in order; images keep their size.

    Args:
        source: folder (searched through) or zip archive.
        attacks: image attacks that learn nothing before.
        output: an empty folder, or none yet; with several points, each has a folder of its own.
        seed: of the suite whose draws are meant.
        user: whose images they are taken for.
        device: where attacks compute; None = CPU.

    Returns:
        How many PNGs were written, and a sentence for each image that could not be read.

    Raises:
        SpecError: an attack is of another kind, names would collide, or `output` holds files.
        MissingResource: there are no images.
    """
    points = [(attack, strength) for attack in attacks for strength in attack.points]
    _check(attacks, output)
    files = open_files(source)
    listing = files.listing()
    names = sorted([*listing.images, *listing.unusable])
    targets = _targets(names)
    folders = _folders(points, output)
    problems: list[str] = []
    written = 0
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))

        def context(attack: Attack[Any]) -> StageContext:
            where = device or torch.device("cpu")
            return StageContext(where, (seed, *attack_root(attack), "copy", user), store)

        for index, name in enumerate(names):
            if name in listing.unusable:
                kind, why = listing.unusable[name]
                problems.append(_problem(name, f"one {kind.words}{why and f' ({why})'}"))
                continue
            try:
                _attack_one(files, name, index, points, folders, targets[name], context)
                written += len(points)
            except (DamagedImage, Unreadable) as error:
                problems.append(_problem(name, str(error)))
    return written, problems


def _problem(name: str, got: str) -> str:
    return f"{shown(name)}: expected an image, got {shown(got)}; replace it"


def _check(attacks: Sequence[SuiteAttack], output: Path) -> None:
    problems = []
    for attack in attacks:
        component = attack.component
        if not isinstance(component, SampleAttack):
            problems.append(
                f"-a {attack.label}: expected an attack on images, got one that needs a copy of a "
                "model; run it in a suite"
            )
        elif type(component).fit is not Attack.fit:
            problems.append(
                f"-a {attack.label}: expected an attack that learns nothing before, got one that "
                "learns from a data set; run it in a suite"
            )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        problems.append(f"-o {output}: expected an empty folder, got files; name another one")
    if problems:
        raise SpecError(problems)


def _targets(names: Sequence[str]) -> dict[str, str]:
    """Name -> that of its PNG below the output."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            text = "expected a name that stays within the archive; pack it anew"
            raise SpecError([f"{shown(name)}: {text}"])
        target = path.with_suffix(".png").as_posix()
        if (other := taken.setdefault(target, name)) != name:
            text = f"expected a name of its own without its suffix, got that of {shown(other)}"
            raise SpecError([f"{shown(name)}: {text}; rename one"])
        found[name] = target
    return found


def _folders(points: Sequence[Point], output: Path) -> list[Path]:
    if len(points) == 1:
        return [output]
    slugs = Slugs()
    labels = [point_label(attack.label, strength) for attack, strength in points]
    return [output / slugs.make(label) for label in labels]


def _attack_one(
    files: Files,
    name: str,
    index: int,
    points: Sequence[Point],
    folders: Sequence[Path],
    target: str,
    context: Callable[[Attack[Any]], StageContext],
) -> None:
    pixels = decode_whole(files.read(name))[None].copy()  # torch wants memory that it may write
    for (attack, strength), folder in zip(points, folders, strict=True):
        ctx = context(attack.component)
        changed = _attacked(attack, strength, pixels, index, ctx)
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        written = io.BytesIO()
        Image.fromarray(changed).save(written, "PNG")
        path.write_bytes(written.getvalue())


def _attacked(
    attack: SuiteAttack, strength: float | None, pixels: np.ndarray, index: int, ctx: StageContext
) -> np.ndarray:
    component = attack.component
    assert isinstance(component, SampleAttack)
    images, knob = from_memory(pixels, ctx.device), 0.0 if strength is None else strength
    info = SampleInfo("image", tuple(images.shape[1:]), "uint8", {})
    changed = boundary.attacked(
        f"attack {attack.label}",
        lambda lent: call(component.apply, lent, [index], knob, ctx),
        images,
    )
    checked = ctx.modality.check(f"attack {attack.label}", changed, 1, info)
    found: np.ndarray = as_memory(checked)[0]
    return found
