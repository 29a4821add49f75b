"""A registry asked for whom readings lead to, and reports of it computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fpbench.api import StoreError
from fpbench.users.evidence import Report, TracedImage, text_of
from fpbench.users.scores import trace_scores, tried
from fpbench.users.tracing import Rule, Verdict, pooled, trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpbench.users.registry import Registry


class Inquiry:
    """A registry as it stands now, asked for whom readings lead to.

    Args:
        registry: open.
        model: in it.
        false_rate: α.
        rule: who is accused.
        codes: R, the first of them that are looked at; None = all.
        jobs: processes of the search.

    Raises:
        SpecError: there is no such model.
    """

    def __init__(
        self,
        registry: Registry,
        model: str,
        false_rate: float,
        rule: Rule = "best",
        *,
        codes: int | None = None,
        jobs: int = 1,
    ) -> None:
        self.head = registry.head()
        self._packed = registry.codes(model)[0][:codes]
        self._registry, self._model = registry, registry.model(model)
        self._false_rate, self._rule, self._jobs = false_rate, rule, jobs
        self.negatives: dict[str, NDArray[np.float32]] = {}

    @property
    def codes(self) -> int:
        """R."""
        return len(self._packed)

    @property
    def facts(self) -> dict[str, Any]:
        """What the registry knows of the model, and the length of its codes."""
        return dict(self._model.facts) | {"bits": self._model.bits}

    @property
    def of_scores(self) -> bool:
        """Whether readings are scores of the R users, which `calibrate` comes before."""
        return self._model.bits == 0

    def calibrate(self, negatives: Mapping[str, NDArray[np.float32]]) -> None:
        """Take what the method reads in images without a mark: source -> (n, R) scores."""
        self.negatives = dict(negatives)

    def verdicts(
        self, readings: NDArray[np.float32], *, pool: bool = False
    ) -> tuple[dict[str, Any], ...]:
        """One for each reading, with the users behind the numbers.

        Args:
            readings: (N, K) logits, or (N, R) scores.
            pool: whether they are of one source; then there is one verdict.

        Raises:
            SpecError: they are something else.
            StoreError: the flat file of codes is not the database's.
        """
        if self.of_scores:
            images = len(readings) if pool else 1
            means = readings.mean(0, keepdims=True, dtype=np.float64) if pool else readings
            found = trace_scores(self.negatives, means, self._false_rate, self._rule, images=images)
        else:
            read = pooled(readings) if pool else readings
            found = trace(self._packed, read, self._false_rate, self._rule, jobs=self._jobs)
        return self._named(found)

    def _named(self, verdicts: Sequence[Verdict]) -> tuple[dict[str, Any], ...]:
        """Verdicts with the users behind the numbers, asked for at once."""
        told = [
            asdict(verdict) | {"accused": [asdict(s) for s in verdict.accused]}
            for verdict in verdicts
        ]
        suspects = [s for verdict in told for s in (*verdict["accused"], verdict["best"]) if s]
        name = self._model.name
        owners = self._registry.owners(name, [suspect["number"] for suspect in suspects])
        for suspect in suspects:
            number = suspect["number"]
            owner, code = owners.get(number, (None, b""))
            # What was searched is a file beside the registry; nobody is named by that alone.
            if owner is None or (self._model.bits and code != self._packed[number].tobytes()):
                raise StoreError(
                    f"registry {self._registry.name}: expected code {number} of model {name} as "
                    "its flat file has it, got another; run `fpbench users audit`"
                )
            suspect |= {
                "user": owner.user,
                "status": owner.status,
                "issued_at": owner.issued_at.isoformat(),
            }
        return tuple(told)

    def report(
        self,
        images: Sequence[TracedImage],
        readings: NDArray[np.float32],
        verdicts: Sequence[dict[str, Any]],
        *,
        pool: bool,
    ) -> Report:
        """The evidence of verdicts.

        Args:
            images: that were read.
            readings: (N, K) or (N, R), one row an image.
            verdicts: that `verdicts` gave for them.
            pool: as it was told.
        """
        return Report(
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            fpbench=version("fpbench"),
            registry=Path(self._registry.name).name,
            head=self.head,
            codes=self.codes,
            model=self._model.name,
            facts=self.facts,
            false_rate=self._false_rate,
            rule=self._rule,
            pooled=pool,
            images=tuple(images),
            logits=text_of(readings),
            negatives={source: text_of(scores) for source, scores in self.negatives.items()},
            tried=self._tried(len(readings) if pool else 1),
            verdicts=tuple(verdicts),
        )

    def _tried(self, images: int) -> dict[str, tuple[int, int]]:
        if not self.negatives or not self.codes:
            return {}
        return tried(self.negatives, self.codes, self._false_rate, images)


def checked(report: Report, registry: Registry) -> list[str]:
    """What of a report is not what its readings and the registry come to; empty if all is.

    The registry may have grown since: codes that were issued later are left out, and the head that
    the report names must be in its log.

    Raises:
        SpecError: there is no such model.
        StoreError: the registry was changed behind its log, or written anew.
    """
    registry.audit(report.head)
    again = Inquiry(registry, report.model, report.false_rate, report.rule, codes=report.codes)
    problems = []
    if again.facts != report.facts:
        problems.append(
            f"model {report.model}: expected the facts {again.facts}, got {report.facts}"
        )
    if again.codes < report.codes:
        problems.append(f"codes: expected at most {again.codes}, got {report.codes}")
    if problems:
        return problems
    again.calibrate(report.scores_of_negatives)
    verdicts = again.verdicts(report.readings, pool=report.pooled)
    made = again.report(report.images, report.readings, verdicts, pool=report.pooled)
    # A user may have been revoked since; everything else of a verdict stays.
    if _lasting(made.verdicts) != _lasting(report.verdicts):
        problems.append("verdicts: expected what the readings come to, got others")
    if made.tried != report.tried:
        problems.append(f"tried: expected {made.tried}, got {report.tried}")
    return problems


def _lasting(verdicts: Sequence[dict[str, Any]]) -> list[Any]:
    def without(suspect: dict[str, Any] | None) -> dict[str, Any] | None:
        return suspect and {key: value for key, value in suspect.items() if key != "status"}

    return [
        {**v, "accused": [without(s) for s in v["accused"]], "best": without(v["best"])}
        for v in verdicts
    ]
