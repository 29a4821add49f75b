"""The addresses of the service: a page with a form, `/trace`, `/health`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fpbench.python.tracing import UnfitImage
from fpbench.report.tracing import served_form, served_policy, served_trace
from fpbench.serve.gate import NOTES, Gate
from fpbench.serve.rates import Rates
from fpbench.serve.refusing import Refused, too_large
from fpbench.serve.upload import MOST_IMAGES, Upload, received

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

    from fpbench.serve.desk import Desk
    from fpbench.serve.tokens import Token

_UPLOAD_S = 60.0  # a request must have come in by then
_FAULT = "the service could not do it; its log says why"


@dataclass(frozen=True)
class Limits:
    """What a client may ask.

    Attributes:
        most_mib: of one request.
        per_minute: requests.
        upload_s: seconds in which a request must have come in.
    """

    most_mib: int = 16
    per_minute: int = 60
    upload_s: float = _UPLOAD_S

    @property
    def most_bytes(self) -> int:
        """Of one request."""
        return self.most_mib * 2**20


def application(
    desk: Desk,
    token: Token,
    limits: Limits,
    log: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """The service.

    Args:
        desk: who reads.
        token: who has it may ask.
        limits: what he may ask.
        log: takes a line for each request, and the trace of what nobody foresaw.
        clock: seconds, for the rate limit.
    """
    # Neither a description of itself nor its pages, which load scripts from elsewhere.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/", response_class=HTMLResponse)
    async def form() -> str:
        return served_form(desk.modality, MOST_IMAGES, limits.most_mib)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/trace")
    async def trace(request: Request) -> Response:
        upload = await _upload(request, token, limits)
        request.scope[NOTES].append(f"{len(upload.files)} images")
        report = (await desk.trace(upload.files, pool=upload.pool)).model_dump(mode="json")
        if _by_eye(request):
            return HTMLResponse(served_trace(report, desk.modality))
        return JSONResponse(report)

    def refuse(request: Request, refused: Refused) -> Response:
        request.scope[NOTES].append(refused.why)
        return _refusal(request, refused, limits, desk.modality)

    @app.exception_handler(Exception)
    async def refusing(request: Request, error: Exception) -> Response:
        return refuse(request, _refused(error))

    for kind in (Refused, UnfitImage, HTTPException):
        app.add_exception_handler(kind, refusing)

    def late(scope: Scope, wait_s: float) -> ASGIApp:
        text = f"expected at most {limits.per_minute} requests a minute, got more; wait"
        return refuse(Request(scope), Refused(429, text, "too often", math.ceil(wait_s)))

    headers = {
        "Content-Security-Policy": served_policy(),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Gate(app, Rates(limits.per_minute, clock), headers, late, log)


class _Admission:
    """Lets in who has shown the token, in a header or as the first field of the form.

    Raises:
        Refused: a header shows another one, or none.
    """

    def __init__(self, token: Token, header: str | None) -> None:
        self._token, self._is_in = token, False
        if header is not None:
            scheme, _, given = header.partition(" ")
            self._is_in = scheme.lower() == "bearer" and self._admits(given.strip().encode())

    def __call__(self, given: bytes | None) -> None:
        if given is not None:
            self._is_in = self._admits(given)
        if not self._is_in:
            text = "expected the token, as a header or before the images, got none"
            raise Refused(401, text, "no token")

    def _admits(self, given: bytes) -> bool:
        if not self._token.admits(given):
            raise Refused(401, "expected the token, got another", "wrong token")
        return True


async def _upload(request: Request, token: Token, limits: Limits) -> Upload:
    admission = _Admission(token, request.headers.get("authorization"))
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limits.most_bytes:
        raise too_large(limits.most_bytes)
    kind = request.headers.get("content-type", "")
    try:
        async with asyncio.timeout(limits.upload_s):
            return await received(request.stream(), kind, limits.most_bytes, admission)
    except TimeoutError:
        text = f"expected all of it within {limits.upload_s:g} s"
        raise Refused(408, text, "too slow") from None
    except ClientDisconnect:
        raise Refused(400, "expected a whole form, got no more of it", "cut short") from None


def _refused(error: Exception) -> Refused:
    """What is said of an error; of what nobody foresaw nothing."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, UnfitImage):
        return Refused(422, str(error), "unfit image")
    if isinstance(error, HTTPException):
        return Refused(error.status_code, "expected GET /, GET /health or POST /trace", "no such")
    return Refused(500, _FAULT, type(error).__name__)


def _refusal(request: Request, refused: Refused, limits: Limits, modality: str) -> Response:
    if _by_eye(request):
        page = served_form(modality, MOST_IMAGES, limits.most_mib, refused.text)
        answer: Response = HTMLResponse(page, refused.status)
    else:
        answer = JSONResponse({"error": refused.text}, refused.status)
    if refused.status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if refused.wait_s:
        answer.headers["Retry-After"] = str(refused.wait_s)
    return answer


def _by_eye(request: Request) -> bool:
    """Whether a page is wanted, as browsers say; everybody else gets JSON."""
    return "text/html" in request.headers.get("accept", "")
