"""What a metric is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Column = Mapping[str, "NDArray[Any]"]
"""Stored tensors of one image point: `logits`, the reading, and what was measured beside."""


class Outcome(StrEnum):
    """How a cell, or one of its numbers, ended. Each looks different on the page."""

    DONE = "done"
    REFUSED = "refused"
    NOT_SUPPORTED = "not-supported"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    OUT_OF_MEMORY = "out-of-memory"
    TIMED_OUT = "timed-out"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class BackboneEvidence:
    """What a published network says; each column of copies has its arrays under its name.

    Attributes:
        name: "2048" or another layer of Inception, "lpips-squeeze" and the like.
        features: it gives features of images (`NAME_features`).
        published: the weights are the published ones.
        digest: SHA-256 of the weights.
        reason: why there is nothing; empty if there is.
        real: `features` (R, F) of real images and what is derived from them; `score` (R,) of
            captions.
        host: (H, F) features of untouched host images, or (H,) scores.
        captions: it gives scores of images and their captions (`NAME_score`); what gives neither
            these nor features gives distances of pairs.
    """

    name: str
    features: bool
    published: bool
    digest: str
    reason: str = ""
    real: Column = field(default_factory=dict)
    host: NDArray[Any] | None = None
    captions: bool = False

    @property
    def pairs(self) -> bool:
        """Whether it gives distances of pairs of images."""
        return not self.features and not self.captions


@dataclass(frozen=True)
class CellEvidence:
    """Everything stored about one cell.

    Attributes:
        placement: of the method.
        keeps_sample: of the method.
        gate: least clean bit accuracy that counts as converged.
        level: "none", "image", "model", "coalition" or "forgery" – what was attacked.
        codes: (U, K) bool issued codes of all registered users who have a copy; users beyond them
            are integrated out. (U, 0) where there are no codes.
        gives: of the method, what `logits` are: "bits" (N, K), "scores" (N, U) or "presence" (N,).
        reads: of the method, "samples" or "weights"; of these each column has one row.
        log_tails: of bits of codes that are not uniform: readings (N, K) and codes (U, K) -> (N, U)
            log P(an innocent's code fits as well); None where codes are uniform, or none.
        outsiders: copies behind the source "unregistered", where there is one.
        separable: of a method that gives scores, whether a user's column depends on him alone.
        calibration: source -> column of untouched images that set the thresholds of scores and
            presences; they are no part of `negatives`.
        silent: sources on which the method must not fire; the others are shown as shares detected.
        users: the users behind each column: one, the members of a coalition, or the user that a
            forgery is to be blamed on; no user is in two.
        copies: this cell's columns, in the same order.
        negatives: source -> column of negatives attacked alike.
        clean_host: column of untouched host images.
        reference: (R, F) features of real images in the network that comes with fpbench.
        registered: number of registered users N.
        false_rate: family-wise error α.
        costs: measured seconds and bytes by name.
        attack_costs: for each column, the seconds that the attack took.
        attack_steps: training steps that the adversary spent.
        backbones: what published networks say of the same images.
        builds_on_host: of the method.
        trainings: "host" and "method" -> phase -> what was kept of that training: `images` and
            `seconds`, `curve` (points with `step`), `precision`, `device`, how many `devices`, and
            how many `pieces` a batch was cut into.
        no_effect: for each column, whether the attack left the step that marks it as it was, to the
            bit; empty where no copy was attacked. Such a copy withstood nothing.
        distance_count: images that distances between distributions are made of in every cell that
            has as many; 0 = all there are.
        secrecy: scores of the secrecy detector: `copies` (C, M) of unseen copies, `host` (H,) of
            unseen host images, `seen` of the copies it learnt from; empty where not asked for.
        secrecy_refused: why nobody looks for it though the suite asks for it; else empty.
        likeness: names of its measures of pairs of samples.
    """

    placement: str
    keeps_sample: bool
    gate: float
    level: str
    codes: NDArray[np.bool_]
    users: Sequence[tuple[int, ...]]
    copies: Sequence[Column]
    negatives: Mapping[str, Column]
    clean_host: Column
    reference: NDArray[np.float32]
    registered: int
    false_rate: float
    costs: Mapping[str, float]
    attack_costs: Sequence[Mapping[str, float]] = ()
    attack_steps: int = 0
    backbones: Sequence[BackboneEvidence] = ()
    builds_on_host: bool = True
    gives: str = "bits"
    reads: str = "samples"
    silent: frozenset[str] = frozenset({"real", "host"})
    log_tails: Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.float64]] | None = None
    outsiders: int = 0
    separable: bool = False
    calibration: Mapping[str, Column] = field(default_factory=dict)
    trainings: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    secrecy: Column = field(default_factory=dict)
    secrecy_refused: str = ""
    no_effect: tuple[bool, ...] = ()
    distance_count: int = 0
    likeness: tuple[str, ...] = ("psnr", "ssim")

    @property
    def uniform(self) -> bool:
        """Whether it is about bits of uniform codes, so that matches are counts."""
        return self.gives == "bits" and self.log_tails is None

    @property
    def single(self) -> bool:
        """Whether each column shows images of one user's copy, who is the right one to accuse."""
        return self.level in ("none", "image", "model")


@dataclass(frozen=True)
class Row:
    """One number with all that is needed to defend it.

    Attributes:
        variant: which of the metric's numbers, e.g. "fpr=0.001"; empty if it has one.
        value: the number; None unless done.
        outcome: done, refused or not supported.
        reason: why not done.
        low: lower end of the interval, None where there is none.
        high: upper end.
        rule: how the interval was made.
        n: images behind the number.
        clusters: copies behind it.
        by_copy: the value of each copy, where copies are compared or ranked.
        detail: further plain values (thresholds, counts, realised rates).
        cost: seconds and bytes, which differ from run to run.
    """

    variant: str = ""
    value: float | None = None
    outcome: Outcome = Outcome.DONE
    reason: str = ""
    low: float | None = None
    high: float | None = None
    rule: str = ""
    n: int = 0
    clusters: int = 0
    by_copy: Sequence[float] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
