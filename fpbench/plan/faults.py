"""What plugins are asked while a plan is made; whoever breaks there loses his own cells alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fpbench.api import PluginError

T = TypeVar("T")


class Fault(PluginError):
    """A plugin broke.

    Args:
        who: what was asked, for messages.
        error: what it raised.
    """

    def __init__(self, who: str, error: BaseException) -> None:
        try:
            text = str(error)
        except Exception:  # noqa: BLE001 - `__str__` is the plugin's too
            text = "its text cannot be made"
        text = text.encode("utf-8", "backslashreplace").decode()[:500]
        super().__init__(
            f"{who}: expected an answer, got {type(error).__name__}{f': {text}' if text else ''}"
        )


def asked(who: str, question: Callable[..., T], *about: Any) -> T:
    """The answer of a plugin.

    Raises:
        Fault: it raised anything, `sys.exit` too.
    """
    try:
        return question(*about)
    except GeneratorExit:
        raise
    except BaseException as error:
        raise Fault(who, error) from error
