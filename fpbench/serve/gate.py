"""What every request passes: the rate limit, the headers of every answer, and the log."""

from __future__ import annotations

import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fpbench.builtin.image_folder.findings import shown

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fpbench.serve.rates import Rates

NOTES = "fpbench.notes"
"""Key of a request's scope: a list of words for the log."""
_FREE = "/health"  # whoever watches the service asks often, and learns nothing
_MOST_METHOD, _MOST_PATH = 10, 60  # characters of them in the log

Answer = Callable[["Scope", float], "ASGIApp"]


class Gate:
    """An application behind a rate limit, with a log.

    A line of the log has: when (UTC), client, method, path, status, seconds, remarks. Paths are
    printable and cut; queries, headers and fields are never in it.

    Args:
        app: behind it.
        rates: of the clients.
        headers: of every answer.
        late: what answers who must wait so many seconds.
        log: takes a line.
    """

    def __init__(
        self,
        app: ASGIApp,
        rates: Rates,
        headers: dict[str, str],
        late: Answer,
        log: Callable[[str], None],
    ) -> None:
        self._app, self._rates, self._late, self._log = app, rates, late, log
        self._headers = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("-",))[0]
        began, notes, status = time.monotonic(), list[str](), "-"
        scope[NOTES] = notes

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        try:
            await self._answer(scope, client)(scope, receive, sending)
        except Exception:  # noqa: BLE001 - who asked has his answer; it is ours to look into
            notes.append("failed")
            self._log(traceback.format_exc().rstrip())
        path, took = shown(scope["path"])[:_MOST_PATH], time.monotonic() - began
        when = datetime.now(UTC).isoformat(timespec="seconds")
        method = shown(scope["method"])[:_MOST_METHOD]
        words = [when, client, method, path, status, f"{took:.3f} s", ", ".join(notes)]
        self._log(" ".join(words).rstrip())

    def _answer(
        self, scope: Scope, client: str
    ) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        wait = 0.0 if scope["path"] == _FREE else self._rates.wait_s(client)
        return self._late(scope, wait) if wait else self._app
