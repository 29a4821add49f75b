"""What a trace found, as a report that anybody with the registry can compute again."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from fpbench.api import Params, StoreError
from fpbench.users.tracing import Rule, Verdict, pooled, trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fpbench.users.registry import Registry

_MOST_BYTES = 2**28


class TracedImage(Params):
    """An image that was read.

    Attributes:
        name: of its file, without folders.
        sha256: of the file's bytes.
    """

    name: str
    sha256: str


class Report(Params):
    """Evidence of a trace.

    Attributes:
        format: of this file.
        made_at: UTC.
        fpbench: version.
        registry: where it lay, the name alone.
        head: of the registry's log when it was searched.
        codes: R, that were ever issued by then.
        model: in the registry.
        facts: what the registry knows of the model.
        false_rate: α.
        rule: who is accused.
        pooled: whether all images are of one source and were read together.
        images: in the order of the readings.
        logits: (N, K) float32, little-endian, in base64.
        verdicts: one a reading, with users.
    """

    format: Literal[1] = 1
    made_at: str
    fpbench: str
    registry: str
    head: str
    codes: Annotated[int, Field(ge=0)]
    model: str
    facts: dict[str, Any]
    false_rate: Annotated[float, Field(gt=0, lt=1)]
    rule: Rule
    pooled: bool
    images: Annotated[tuple[TracedImage, ...], Field(min_length=1)]
    logits: str
    verdicts: tuple[dict[str, Any], ...]

    @property
    def readings(self) -> NDArray[np.float32]:
        """(N, K) what was read in each image.

        Raises:
            StoreError: it is not that.
        """
        bits, raw = int(self.facts.get("bits", 0)), base64.b64decode(self.logits)
        if bits < 1 or len(raw) != 4 * bits * len(self.images):
            raise StoreError(
                f"report: expected {len(self.images)} readings of {bits} bits, got {len(raw)} "
                "bytes; it was changed"
            )
        return np.frombuffer(raw, "<f4").reshape(len(self.images), bits)


def report_of(
    registry: Registry,
    model: str,
    images: Sequence[TracedImage],
    logits: NDArray[np.float32],
    false_rate: float,
    rule: Rule,
    *,
    pool: bool,
    jobs: int = 1,
) -> Report:
    """Search a registry for whom readings lead to.

    Args:
        registry: open.
        model: in it.
        images: that were read.
        logits: (N, K), one row an image.
        false_rate: α.
        rule: who is accused.
        pool: whether the images are of one source; then there is one verdict.
        jobs: processes of the search.

    Raises:
        SpecError: there is no such model.
    """
    head = registry.head()
    packed, _ = registry.codes(model)
    found = registry.model(model)
    return Report(
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        fpbench=version("fpbench"),
        registry=Path(registry.name).name,
        head=head,
        codes=len(packed),
        model=model,
        facts=dict(found.facts) | {"bits": found.bits},
        false_rate=false_rate,
        rule=rule,
        pooled=pool,
        images=tuple(images),
        logits=base64.b64encode(logits.astype("<f4").tobytes()).decode(),
        verdicts=_verdicts(registry, model, packed, logits, false_rate, rule, pool=pool, jobs=jobs),
    )


def checked(report: Report, registry: Registry) -> list[str]:
    """What of a report is not what its readings and the registry come to; empty if all is.

    The registry may have grown since: codes that were issued later are left out, and the head that
    the report names must be in its log.

    Raises:
        SpecError: there is no such model.
        StoreError: the registry was changed behind its log, or written anew.
    """
    registry.audit(report.head)
    found, (packed, _) = registry.model(report.model), registry.codes(report.model)
    problems = []
    facts = dict(found.facts) | {"bits": found.bits}
    if facts != report.facts:
        problems.append(f"model {report.model}: expected the facts {facts}, got {report.facts}")
    if len(packed) < report.codes:
        problems.append(f"codes: expected at most {len(packed)}, got {report.codes}")
    if problems:
        return problems
    again = _verdicts(
        registry,
        report.model,
        packed[: report.codes],
        report.readings,
        report.false_rate,
        report.rule,
        pool=report.pooled,
        jobs=1,
    )
    # A user may have been revoked since; everything else of a verdict stays.
    if _lasting(again) != _lasting(report.verdicts):
        problems.append("verdicts: expected what the readings come to, got others")
    return problems


def read_report(path: Path) -> Report:
    """A report in a file.

    Raises:
        StoreError: it is none.
    """
    got = "none"
    if path.is_file() and path.stat().st_size <= _MOST_BYTES:
        try:
            return Report.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = error.errors()[0]
            got = f"{'.'.join(map(str, fault['loc'])) or 'a text'}: {fault['msg']}"
    raise StoreError(f"{path}: expected a report of `fpbench trace`, got {got}", path=str(path))


def _verdicts(
    registry: Registry,
    model: str,
    packed: NDArray[np.uint8],
    logits: NDArray[np.float32],
    false_rate: float,
    rule: Rule,
    *,
    pool: bool,
    jobs: int,
) -> tuple[dict[str, Any], ...]:
    read = pooled(logits) if pool else logits
    return tuple(
        _named(registry, model, verdict, packed)
        for verdict in trace(packed, read, false_rate, rule, jobs=jobs)
    )


def _named(
    registry: Registry, model: str, verdict: Verdict, packed: NDArray[np.uint8]
) -> dict[str, Any]:
    """A verdict with the users behind the numbers."""
    told = asdict(verdict)
    for suspect in (*told["accused"], *([told["best"]] if told["best"] else ())):
        number = suspect["number"]
        # What was searched is a file beside the registry; nobody is named by that alone.
        if (np.packbits(registry.code(model, number)) != packed[number]).any():
            raise StoreError(
                f"registry {registry.name}: expected code {number} of model {model} as its flat "
                "file has it, got another; run `fpbench users audit`"
            )
        owner = registry.owner(model, number)
        suspect |= {
            "user": owner.user,
            "status": owner.status,
            "issued_at": owner.issued_at.isoformat(),
        }
    told["accused"] = list(told["accused"])
    return told


def _lasting(verdicts: Sequence[dict[str, Any]]) -> list[Any]:
    def without(suspect: dict[str, Any] | None) -> dict[str, Any] | None:
        return suspect and {key: value for key, value in suspect.items() if key != "status"}

    return [
        {**v, "accused": [without(s) for s in v["accused"]], "best": without(v["best"])}
        for v in verdicts
    ]
