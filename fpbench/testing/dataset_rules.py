"""Rules that data sets keep; nothing is written, and a few samples are read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from fpbench.api import ContractError, Dataset, MissingResource, SampleInfo
from fpbench.testing.rules import Rule, Skip, Trial, undisturbed
from fpbench.testing.shared_rules import OF_COMPONENTS, pure
from fpbench.testing.world import World

_SPLITS = ("train", "test", "reference")
_READ = 64


class DatasetTrial(Trial):
    """A data set.

    Args:
        dataset: with its parameters.
        world: unused but for messages; data sets need none.
    """

    def __init__(self, dataset: Dataset[Any], world: World) -> None:
        super().__init__(f"dataset {dataset.name}", dataset, world)
        self.dataset = dataset

    def info(self) -> SampleInfo:
        """What is known of its samples."""
        return self.once("info", self._info)

    def _info(self) -> SampleInfo:
        try:
            info: object = pure(f"{self.who}: info", self.dataset.info)
        except ContractError as error:
            if isinstance(error.__cause__, MissingResource):
                raise Skip(f"its data are not here: {error.__cause__}") from None
            raise
        if not isinstance(info, SampleInfo):
            raise ContractError(
                f"{self.who}: info: expected a fpbench.api.SampleInfo, got {type(info).__name__}"
            )
        return info

    def read(self, split: str, indices: list[int], chance: int = 1) -> np.ndarray:
        """Samples of a split."""
        numbers = np.array(indices, dtype=np.int64)
        made: np.ndarray = self.called(
            "read", lambda: self.dataset.read(split, numbers), chance=chance
        )
        return made

    def some(self, split: str) -> list[int]:
        """The numbers that are read of a split: its first and its last."""
        count = self.info().counts[split]
        return [*range(min(_READ, count)), *([count - 1] if count > _READ else [])]


def _info(trial: DatasetTrial) -> str:
    info = trial.info()
    missing = [split for split in _SPLITS if info.counts.get(split, 0) < 1]
    if missing:
        raise ContractError(
            f"{trial.who}: expected samples in each of {', '.join(_SPLITS)}, got none in "
            f"{', '.join(missing)}; split what there is"
        )
    if info.modality == "image" and (len(info.shape) != 3 or info.dtype != "uint8"):
        raise ContractError(
            f"{trial.who}: expected images (3, H, W) uint8, got {info.shape} {info.dtype}; make "
            "its info with SampleInfo.of_images"
        )
    if info.conditions not in ("", "classes", "captions"):
        raise ContractError(
            f'{trial.who}: expected `conditions` of "", "classes" or "captions", got '
            f"{info.conditions!r}"
        )
    counts = ", ".join(f"{info.counts[split]:,} {split}" for split in _SPLITS)
    return f"{counts}; {info.shape} {info.dtype}"


def _digest(trial: DatasetTrial) -> str:
    trial.info()
    digest: object = pure(f"{trial.who}: digest", trial.dataset.digest)
    if not (isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)):
        raise ContractError(
            f"{trial.who}: expected a SHA-256 of 64 hexadecimal digits that changes with any "
            f"sample, got {digest!r}; fpbench.api.digest makes one of plain data"
        )
    return digest[:16]


def _shapes(trial: DatasetTrial) -> str:
    info = trial.info()
    shape = (*info.shape[1:], info.shape[0]) if len(info.shape) == 3 else info.shape
    for split in _SPLITS:
        numbers = trial.some(split)
        made = trial.read(split, numbers)
        expected = f"{info.dtype} {(len(numbers), *shape)}"
        if not isinstance(made, np.ndarray):
            raise ContractError(
                f"{trial.who}: {split}: expected an array {expected}, got {type(made).__name__}"
            )
        if made.dtype != np.dtype(info.dtype) or made.shape != (len(numbers), *shape):
            raise ContractError(
                f"{trial.who}: {split}: expected {expected}, got {made.dtype} {made.shape}; return "
                "images as (N, H, W, 3)"
            )
        conditions = trial.dataset.conditions(split, np.array(numbers))
        if info.conditions and len(conditions) != len(numbers):
            raise ContractError(
                f"{trial.who}: {split}: expected {len(numbers)} {info.conditions}, got "
                f"{len(conditions)}; return one for each index"
            )
    return ""


def _process(trial: DatasetTrial) -> str:
    numbers = trial.some("train")[:4]
    one, other = trial.read("train", numbers), trial.read("train", numbers, chance=2)
    if not np.array_equal(one, other):
        raise ContractError(
            f"{trial.who}: expected sample i of a split to be the same whenever it is read, got "
            "another; draw from a generator of its own, seeded by split and i"
        )
    undisturbed(trial)
    return ""


def _alone(trial: DatasetTrial) -> str:
    for split in _SPLITS:
        numbers = trial.some(split)
        together, turned = trial.read(split, numbers), trial.read(split, numbers[::-1])
        alone = trial.read(split, numbers[-1:])
        if not (np.array_equal(together, turned[::-1]) and np.array_equal(together[-1:], alone)):
            raise ContractError(
                f"{trial.who}: {split}: expected row j to be the sample that indices[j] names, got "
                "another one alone or in another order; read each index by itself"
            )
        twice = trial.read(split, [numbers[0], numbers[0]])
        if not np.array_equal(twice[:1], twice[1:]):
            raise ContractError(f"{trial.who}: {split}: expected an index twice to be read twice")
    return ""


def _disjoint(trial: DatasetTrial) -> str:
    seen: dict[bytes, str] = {}
    for split in _SPLITS:
        for row in trial.read(split, trial.some(split)):
            content = np.ascontiguousarray(row).tobytes()
            if seen.setdefault(content, split) != split:
                raise ContractError(
                    f"{trial.who}: expected splits that share no sample, got one of "
                    f"{seen[content]} in {split}, too; count equal samples once"
                )
    return f"{len(seen)} samples"


RULES: tuple[Rule, ...] = (
    *OF_COMPONENTS,
    Rule("info", "size, type and counts of three splits are told", _info),
    Rule("digest", "a SHA-256 stands for its samples", _digest),
    Rule("shapes", "samples are as `info` says", _shapes),
    Rule("process", "global generators and flags are left alone", _process),
    Rule("alone", "a sample is the same alone, in a batch and in another order", _alone),
    Rule("disjoint", "no sample is in two splits", _disjoint),
)
