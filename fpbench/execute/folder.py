"""A folder of images or sounds under attacks, outside any suite: what a user's become there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from fpbench.api import Attack, SampleAttack, SampleInfo, SpecError
from fpbench.builtin.audio_folder.listing import opened
from fpbench.builtin.chain.attack import Chain
from fpbench.builtin.image_folder.files import Files, Unreadable, open_files
from fpbench.builtin.image_folder.findings import shown
from fpbench.execute.media import MEDIA, Medium, UnfitFile
from fpbench.spec import SuiteAttack
from fpbench.spec.model import point_label
from fpbench.stages import boundary
from fpbench.stages.bench import attack_root
from fpbench.stages.context import StageContext
from fpbench.stages.process import call
from fpbench.store import Store
from fpbench.store.names import Slugs

__all__ = ["attack_folder"]

Point = tuple[SuiteAttack, float | None]
Contexts = Callable[[Attack[Any], SampleInfo], StageContext]


def attack_folder(
    source: Path,
    attacks: Sequence[SuiteAttack],
    output: Path,
    *,
    seed: int = 0,
    user: int = 0,
    device: torch.device | None = None,
) -> tuple[int, list[str]]:
    """Write a PNG of every image, or a WAV of every sound, under every attack.

    They come out as out of a suite: the draws are those of a suite's `seed` and of sample i of user
    `user`, where i is the place of a file's name among all names in order. Images keep their size,
    sounds their length, rate and channels.

    Args:
        source: folder (searched through) or zip archive.
        attacks: attacks on samples of one modality that learn nothing before.
        output: an empty folder, or none yet; with several points, each has a folder of its own.
        seed: of the suite whose draws are meant.
        user: whose samples they are taken for.
        device: where attacks compute; None = CPU.

    Returns:
        How many files were written, and a sentence for each that could not be read.

    Raises:
        SpecError: an attack is of another kind, names would collide, or `output` holds files.
        MissingResource: there are no files to attack.
    """
    points = [(attack, strength) for attack in attacks for strength in attack.points]
    _check(attacks, output)
    medium = _medium(attacks)
    files = open_files(source) if medium.noun == "image" else opened(source)
    usable, unusable = medium.names(files)
    names = sorted([*usable, *unusable])
    targets = _targets(names, medium.suffix)
    folders = _folders(points, output)
    problems: list[str] = []
    written = 0
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))
        where = device or torch.device("cpu")

        def context(attack: Attack[Any], info: SampleInfo) -> StageContext:
            root = (seed, *attack_root(attack), "copy", user)
            return StageContext(where, root, store, modality=medium.modality, info=info)

        for index, name in enumerate(names):
            if name in unusable:
                problems.append(_problem(medium, name, unusable[name]))
                continue
            try:
                _attack_one(medium, files, name, index, points, folders, targets[name], context)
                written += len(points)
            except (UnfitFile, Unreadable) as error:
                problems.append(_problem(medium, name, str(error)))
    return written, problems


def _problem(medium: Medium, name: str, got: str) -> str:
    article = "an" if medium.noun == "image" else "a"
    return f"{shown(name)}: expected {article} {medium.noun}, got {shown(got)}; replace it"


def _check(attacks: Sequence[SuiteAttack], output: Path) -> None:
    problems = []
    for attack in attacks:
        component = attack.component
        if not isinstance(component, SampleAttack):
            problems.append(
                f"-a {attack.label}: expected an attack on images or sounds, got one that needs a "
                "copy of a model; run it in a suite"
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


def _medium(attacks: Sequence[SuiteAttack]) -> Medium:
    """Of what all attacks are for."""
    meant = {attack.label: _meant(attack.component) for attack in attacks}
    for name, medium in MEDIA.items():
        if all(name in kinds for kinds in meant.values()):
            return medium
    told = ", ".join(f"{label} is for {' or '.join(sorted(k))}" for label, k in meant.items())
    raise SpecError([f"-a: expected attacks for one kind of samples, got others: {told}"])


def _meant(attack: Attack[Any]) -> frozenset[str]:
    """Modalities that an attack, and every part of a chain, is for."""
    parts = [part for part, _ in attack.parts] if isinstance(attack, Chain) else [attack]
    kinds = [part.modalities for part in parts if part.modalities is not None]
    return frozenset(MEDIA).intersection(*kinds)


def _targets(names: Sequence[str], suffix: str) -> dict[str, str]:
    """Name -> that of its file below the output."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            text = "expected a name that stays within the archive; pack it anew"
            raise SpecError([f"{shown(name)}: {text}"])
        target = path.with_suffix(suffix).as_posix()
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
    medium: Medium,
    files: Files,
    name: str,
    index: int,
    points: Sequence[Point],
    folders: Sequence[Path],
    target: str,
    context: Contexts,
) -> None:
    sample, info = medium.read(files.read(name))
    for (attack, strength), folder in zip(points, folders, strict=True):
        changed = _attacked(attack, strength, sample, index, context(attack.component, info))
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(medium.write(changed, info))


def _attacked(
    attack: SuiteAttack, strength: float | None, sample: Tensor, index: int, ctx: StageContext
) -> Tensor:
    component = attack.component
    assert isinstance(component, SampleAttack)
    knob = 0.0 if strength is None else strength
    changed = boundary.attacked(
        f"attack {attack.label}",
        lambda lent: call(component.apply, lent, [index], knob, ctx),
        sample.to(ctx.device),
    )
    return ctx.modality.check(f"attack {attack.label}", changed, 1, ctx.info)
