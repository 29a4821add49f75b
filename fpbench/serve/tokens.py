"""The one secret that lets somebody in."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

from fpbench.api import SpecError

_LEAST, _MOST = 16, 1024  # characters


class Token:
    """A token; it is not kept, its digest is.

    Args:
        text: printable ASCII without spaces, 16 to 1024 characters.
        whence: where it is from, for messages.

    Raises:
        SpecError: it is something else; does not show it.
    """

    def __init__(self, text: str, whence: str) -> None:
        fit = text.isascii() and text.isprintable() and " " not in text
        if not fit or not _LEAST <= len(text) <= _MOST:
            got = f"{len(text)} characters" if fit else "others"
            raise SpecError(
                [
                    f"{whence}: expected a token of at least {_LEAST} printable ASCII characters "
                    f"without spaces, got {got}; `python -c 'import secrets; "
                    "print(secrets.token_urlsafe(32))'` makes one"
                ]
            )
        self._digest = hashlib.sha256(text.encode()).digest()

    def admits(self, given: bytes) -> bool:
        """Whether that is the token; takes as long for a near miss as for any other."""
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest)


def read_token(path: Path) -> Token:
    """The token in a file, whose last newline does not count.

    Raises:
        SpecError: it is no file, others than its owner may read or write it, or it holds none.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise SpecError([f"{path}: expected a file with a token, got something else"])
        if mode & 0o077:
            text = f"expected a file that its owner alone may read, got mode {mode & 0o777:o}"
            raise SpecError([f"{path}: {text}; chmod 600 {path}, and put a new token into it"])
        text = path.read_bytes()[: _MOST + 3].decode("ascii", "replace")
    except OSError as error:
        raise SpecError([f"{path}: expected a file with a token, got {error.strerror}"]) from None
    return Token(text.rstrip("\r\n"), str(path))
