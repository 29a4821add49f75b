"""`fpbench serve`: images are handed in over HTTP, and whom they lead to is answered.

`Desk` reads, one request at a time; `application` is what listens; `listening` binds it.
"""

from fpbench.api import MissingResource

try:
    import fastapi  # noqa: F401 - asked here once for all modules of the package
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise MissingResource(
        "serve: the service needs FastAPI, uvicorn and python-multipart, which cannot be imported "
        f"here ({error}); run in fpbench's folder: uv sync --extra serve (or pip install "
        "'fpbench[serve]')"
    ) from error

from fpbench.serve.app import Limits, application
from fpbench.serve.desk import Desk
from fpbench.serve.listening import address_of, bound, is_loopback, listen, server_of
from fpbench.serve.tokens import Token, read_token

__all__ = [
    "Desk",
    "Limits",
    "Token",
    "address_of",
    "application",
    "bound",
    "is_loopback",
    "listen",
    "read_token",
    "server_of",
]
