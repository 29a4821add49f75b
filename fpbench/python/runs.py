"""A run, or a board, as data frames; its methods as objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fpbench.api import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

    from fpbench.execute.runs import OpenRun
    from fpbench.python.methods import TrainedMethod
    from fpbench.report.tables import Board

_RECORDS, _REQUEST = "records.jsonl", "request.json"


class Run:
    """A run, or a board of others' runs, whose records alone are there; `open_run` gives it.

    Frames are of the records as they are when they are first asked for.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path, store: Path | None, plugins: tuple[str, ...]) -> None:
        self.folder = folder
        self._store = store
        self._plugins = plugins

    def __repr__(self) -> str:
        return f"<fpbench.Run {self.folder}>"

    def records(
        self,
        metric: str | None = None,
        variant: str | None = None,
        method: str | None = None,
        point: str | None = None,
    ) -> DataFrame:
        """One row for each record that now holds, in their order.

        A metric may have several numbers of one cell, by `variant`: name one of them before you
        pivot or average, "" where it has none. A cell without numbers has one row, with an empty
        metric, its outcome and the reason.

        Columns:
            method, placement, gives, reads: label; where the mark sits; "bits", "scores" or
                "presence"; "samples" or "weights".
            bits: K; missing where the method gives none.
            training_seed: index of the training.
            point: label of the attack point, "none" where nothing was attacked.
            level, tier: of the point: "clean", "image", "model" ...; the threat tier it counts in.
            attack, strength: its label, of a cross both; strength missing where it has no knob.
            metric, variant, unit, higher_is_better: which number it is.
            value, low, high, rule: the number, its interval, and how that was made.
            outcome, reason: "done", "refused", "failed" ...; why there is no number.
            n, clusters: images and copies behind it.
            damage, budget: what the attack did, and the most that counts in the score.
            effect: "none" where the attack left the mark as it was.
            suite, suite_version, metric_version, cell, record_id: what it is of.

        Args:
            metric: only this one; None = all.
            variant: only this one.
            method: only of this label.
            point: only at this one.

        Raises:
            SpecError: no record has such a name.
            StoreError: a file of the run is not what a run writes.
        """
        from fpbench.report.frames import records_frame

        asked = {"metric": metric, "variant": variant, "method": method, "point": point}
        return records_frame(self._board, **asked)

    def leaderboard(
        self, table: Literal["leaderboard", "detection", "weights"] = "leaderboard"
    ) -> DataFrame:
        """A row for each method, best first: what the page offers as `leaderboard.csv`.

        Args:
            table: which of the board's tables, by its file.

        Raises:
            SpecError: the board has no such table.
        """
        from fpbench.report import exports
        from fpbench.report.score import rankings

        found = {each.file: (each, scores) for each, scores in rankings(self._board).items()}
        if table not in found:
            listed = ", ".join(found)
            raise SpecError([f"leaderboard: expected a table of {listed}, got '{table}'"])
        which, scores = found[table]
        return exports.frame(self._board, scores, which)

    def curves(self, method: str, attack: str) -> DataFrame:
        """A method under an attack: a row for each training seed and strength, untouched first.

        Columns: training_seed, point, strength, damage (0 untouched, in the unit of its budget),
        metric (what the method is ranked by), rate, low, high, outcome, reason.

        Raises:
            SpecError: there is no such method or attack.
        """
        from fpbench.report.frames import curves_frame

        return curves_frame(self._board, method, attack)

    def compare(
        self,
        a: str,
        b: str,
        *,
        other: Run | None = None,
        metric: str = "attribution",
        variant: str = "",
        points: Sequence[str] = (),
        level: float = 0.95,
        seed: int = 0,
    ) -> DataFrame:
        """The difference of two methods at every point that both have, and of their scores.

        As `fpbench compare`: over copies, paired where both met the same ones.

        Columns: point ("score" is the score), a, b, difference (a - b), low, high, p, p_adjusted
        (Holm over the points), copies_a, copies_b, paired, reason (why there is no value or test).
        The frame's `attrs` hold `unpaired_because`, empty where copies pair, and `notes`.

        Args:
            a: label of a method.
            b: label of another one.
            other: the run of b; None = this one.
            metric: what is compared.
            variant: which of its numbers.
            points: only these; empty = all.
            level: confidence level of the intervals.
            seed: of the training.

        Raises:
            SpecError: a name is unknown, or the two measured different quantities.
        """
        from fpbench.report.comparing import compare_sides
        from fpbench.report.frames import comparison_frame
        from fpbench.report.sides import read_side

        sides = (
            read_side(self.folder, a, seed),
            read_side((other or self).folder, b, seed),
        )
        return comparison_frame(compare_sides(*sides, metric, variant, points, level))

    def method(self, label: str, seed: int = 0, *, device: str = "") -> TrainedMethod:
        """A method as the run has trained it.

        Args:
            label: its name on the board.
            seed: index of the training.
            device: where it computes; empty = as the run did. Another one may move a pixel.

        Raises:
            SpecError: there is no such method or seed, it was not trained, or this is a board.
            MissingResource: there is no such device, or the data set is not there.
        """
        opened = self._opened
        from fpbench.python.methods import trained

        return trained(opened, label, seed, device)

    @cached_property
    def _board(self) -> Board:
        from fpbench.report.inputs import read_inputs
        from fpbench.report.tables import Board

        return Board(read_inputs(self.folder))

    @cached_property
    def _opened(self) -> OpenRun:
        from fpbench.execute import runs

        if not (self.folder / _REQUEST).is_file():
            raise SpecError(
                [
                    f"{self.folder}: expected a run with {_REQUEST} and its store, got a board, "
                    "which holds records alone; run the suite for its networks"
                ]
            )
        return runs.open_run(self.folder, self._plugins, self._store)


def open_run(
    path: str | Path, *, store: str | Path | None = None, plugins: Sequence[str] = ()
) -> Run:
    """A run that was made, or a board.

    Args:
        path: its folder, such as runs/quickstart or leaderboards/quickstart.
        store: folder of its artefacts; None = the one beside it.
        plugins: further plugin modules that it was made with, as `fpbench -p MODULE`.

    Raises:
        SpecError: there is no run.
    """
    folder = Path(path)
    if not any((folder / name).is_file() for name in (_RECORDS, _REQUEST)):
        raise SpecError(
            [
                f"{folder}: expected the folder of a run or a board, with {_RECORDS}, got none; "
                "`fpbench run SUITE` makes one in runs/"
            ]
        )
    return Run(folder, Path(store) if store is not None else None, tuple(plugins))
