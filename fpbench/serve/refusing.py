"""What is not done, and what is said of it: to the client, and in the log."""

from __future__ import annotations


class Refused(Exception):
    """A request is not served.

    Attributes:
        status: of HTTP.
        text: for the client; tells nothing of the machine.
        why: for the log, a few words.
        wait_s: after how many seconds it may be tried again; 0 = that would not help.
    """

    def __init__(self, status: int, text: str, why: str, wait_s: int = 0) -> None:
        self.status = status
        self.text = text
        self.why = why
        self.wait_s = wait_s
        super().__init__(why)


def too_large(most_bytes: int) -> Refused:
    """More was sent than is taken."""
    text = f"expected at most {most_bytes / 2**20:g} MiB in a request, got more; hand in fewer"
    return Refused(413, text, "too large")
