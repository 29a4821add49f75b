"""Where the service listens."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fpbench.api import MissingResource

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_MOST_CONNECTIONS = 32
_CONNECTION_S = 300.0
_LAST_REQUESTS_S = 30


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: name or address of this machine.
        port: 0 = any that is free.

    Raises:
        MissingResource: that cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except OSError as error:
        raise MissingResource(
            f"serve: expected to listen on {host}, port {port}, got {error.strerror or error}; "
            "name another --host or --port"
        ) from None


def is_loopback(listening: socket.socket) -> bool:
    """Whether this machine alone reaches it."""
    return ipaddress.ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


def address_of(listening: socket.socket) -> str:
    """What a browser is to be given."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def listen(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; what has been asked by then is answered.

    Addresses are those of the connections: a header that names another would let anybody through
    the rate limit.

    Raises:
        KeyboardInterrupt: behind the last answer.
    """
    # uvicorn raises the signal again when it is done; our own files are to be closed then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    server_of(app).run(sockets=[listening])


def server_of(app: ASGIApp, connection_s: float = _CONNECTION_S) -> uvicorn.Server:
    """The server, not running yet.

    Args:
        app: what it serves.
        connection_s: no connection lives longer, so that those that stall give way to others.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,  # ours names no file
            http=partial(_Mortal, connection_s),  # type: ignore[arg-type]
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
            ws="none",
        )
    )


class _Mortal(H11Protocol):
    """A connection that ends; uvicorn waits for headers, and for what it leaves unread, forever."""

    def __init__(self, life_s: float, *args: Any, **values: Any) -> None:
        super().__init__(*args, **values)
        self._life_s = life_s

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._end = self.loop.call_later(self._life_s, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._end.cancel()
        super().connection_lost(exc)
