"""What pilots and the run that has sent them tell one another: files in a folder that all see.

    request.json      what is run, and how
    ended/<key>       how a stage has ended: its seconds, and its problems
    said/             what pilots have printed
    lack              why none of them can go on: the disk is full

Each attempt has a folder of its own: what has failed in one is tried again in the next.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from fpbench.api import SpecError
from fpbench.execute.problems import Problem
from fpbench.execute.request import Request
from fpbench.store.objects import write_text


class Attempt:
    """The folder of one attempt.

    Args:
        folder: made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder / "said"
        self._ended = folder / "ended"

    def begin(self, request: Request, **settings: Any) -> None:
        """Say what is run."""
        for place in (self._ended, self.said):
            place.mkdir(parents=True, exist_ok=True)
        body = {"request": request.to_json(), "settings": settings}
        write_text(self.folder / "request.json", json.dumps(body) + "\n")

    def asked(self) -> tuple[Request, dict[str, Any]]:
        """What is run.

        Raises:
            SpecError: the folder says nothing of it.
        """
        try:
            body = json.loads((self.folder / "request.json").read_text(encoding="utf-8"))
            return Request.from_json(body["request"]), dict(body["settings"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpecError(
                [f"{self.folder}: expected the folder of an attempt, got {error}; run the suite"]
            ) from None

    def end(self, key: str, seconds: float, problems: list[Problem]) -> None:
        """Say how a stage has ended."""
        body = {"seconds": seconds, "problems": [problem.as_json() for problem in problems]}
        write_text(self._ended / key, json.dumps(body) + "\n")

    def ended(self, key: str) -> tuple[float, list[Problem]] | None:
        """Seconds and problems of a stage that has ended; None if nobody said so."""
        try:
            body = json.loads((self._ended / key).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return body["seconds"], [Problem.from_json(each) for each in body["problems"]]

    def give_up(self, lack: str) -> None:
        """Say why no pilot can go on; where the disk is full, that the file is there must do."""
        with suppress(OSError):
            (self.folder / "lack").write_text(lack, encoding="utf-8")

    def lack(self) -> str | None:
        """Why no pilot can go on; None if nobody said so."""
        try:
            said = (self.folder / "lack").read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return said or (
            f"pilots: expected room for what they make, got a full disk, as they say in "
            f"{self.said}; free some space and run the same command again"
        )
