"""A program of other people, with an environment of its own: arrays over its standard streams.

A question is one line of JSON, then the bytes of its arrays; so is an answer, with one array::

    {"do": "mark", "bits": 16, "arrays": [{"dtype": "uint8", "shape": [4, 3, 32, 32]},
                                          {"dtype": "bool", "shape": [16]}]}
    {"arrays": [{"dtype": "uint8", "shape": [4, 3, 32, 32]}]}

Arrays are in C order, little-endian; a question about sounds, int16 (N, C, T), also says their
`"rate"`, samples a second. What cannot be answered is `{"error": "why"}`. The program
answers one question after the other until its standard input ends, and then ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from fpbench.api import ContractError, MissingResource, StageError

__all__ = ["Program"]

_PIECE = 1 << 20
_LONGEST_LINE = 1 << 16
_PRINTS = "let the program print nothing else to its standard output"
_TAIL_BYTES, _TAIL_LINES = 4000, 5


class Program:
    """A program that is asked; it is started when it is asked first, and again after a failure.

    Args:
        who: it is, for messages.
        command: that starts it.
        folder: to start it in.
        timeout_s: seconds that an answer may take, the first one with the start.
        before: called before each start.
    """

    def __init__(
        self,
        who: str,
        command: Sequence[str],
        folder: str,
        timeout_s: float,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        self._who = who
        self._command = tuple(command)
        self._folder = folder
        self._timeout_s = timeout_s
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None

    def ask(
        self,
        do: str,
        bits: int,
        arrays: Sequence[np.ndarray],
        dtype: str,
        shape: tuple[int, ...],
        rate: int | None = None,
    ) -> np.ndarray:
        """The array that it answers.

        Args:
            do: what is asked.
            bits: K.
            arrays: what goes with it; bool, uint8, int16 or float32.
            dtype: of the answer.
            shape: of the answer.
            rate: samples of a sound in a second; None = no sounds.

        Raises:
            MissingResource: it cannot be started.
            StageError: it failed, died, or did not answer in time.
            ContractError: its answer is no such array.
        """
        self._start()
        self._asked, self._until = do, time.monotonic() + self._timeout_s
        try:
            self._send(bits, arrays, rate)
            told = self._header()
            if "error" not in told:
                return self._array(told, np.dtype(dtype), shape)
        except BaseException:
            self.close()  # what else it says would be taken for the next answer
            raise
        raise self._wrong("an array", f"the error {told['error']}", "mend the program")

    def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            self._end()
            self._process = None

    def _start(self) -> None:
        if self._process is not None:
            return
        self._before()
        where = Path(self._folder)
        if not where.is_dir():
            raise MissingResource(
                f"{self._who}: expected the folder {where} to start its program in, got none "
                "there; bring it, or name another one in the suite"
            )
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                self._command,
                cwd=where,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
            )
        except OSError as error:
            said.close()
            raise MissingResource(
                f"{self._who}: expected to start {shlex.join(self._command)}, got {error}; install "
                "it, or name another command in the suite"
            ) from error
        self._process, self._said = process, said
        self._heard = bytearray()
        self._end = weakref.finalize(self, _end, process, said)  # at the latest with this process
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)

    # -- questions and answers -------------------------------------------------------------------

    def _send(self, bits: int, arrays: Sequence[np.ndarray], rate: int | None) -> None:
        about = [{"dtype": array.dtype.name, "shape": array.shape} for array in arrays]
        question = {"do": self._asked, "bits": bits, "arrays": about}
        header = json.dumps(question | ({} if rate is None else {"rate": rate})) + "\n"
        assert self._process is not None
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        for part in (header.encode(), *(array.tobytes() for array in arrays)):
            rest = memoryview(part)
            while rest:
                self._wait(pipe, select.POLLOUT)
                try:
                    rest = rest[os.write(pipe, rest[:_PIECE]) :]
                except BrokenPipeError:
                    raise self._died() from None

    def _header(self) -> dict[str, Any]:
        while b"\n" not in self._heard and len(self._heard) <= _LONGEST_LINE:
            self._listen()
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard = bytearray(rest)
        try:
            told = json.loads(line)
            if "error" in told or len(told["arrays"]) == 1:
                return dict(told)
        except (ValueError, KeyError, TypeError):
            pass
        expected = "a line of JSON with one array or an error"
        raise self._wrong(expected, repr(line[:80]), _PRINTS, ContractError)

    def _array(
        self, told: dict[str, Any], dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> np.ndarray:
        got = told["arrays"][0]
        if got != {"dtype": dtype.name, "shape": list(shape)}:
            expected = f"{dtype.name} {shape}"
            raise self._wrong(expected, str(got), "mend the program", ContractError)
        size = dtype.itemsize * int(np.prod(shape))
        while len(self._heard) < size:
            self._listen()
        if len(self._heard) > size:
            raise self._wrong(f"{size} bytes", "more of them", _PRINTS, ContractError)
        array = np.frombuffer(bytes(self._heard), dtype.newbyteorder("<")).reshape(shape)
        self._heard.clear()
        return array.astype(dtype)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        self._wait(pipe, select.POLLIN)
        piece = os.read(pipe, _PIECE)
        if not piece:
            raise self._died()
        self._heard += piece

    def _wait(self, pipe: int, event: int) -> None:
        ready = select.poll()
        ready.register(pipe, event)
        if not ready.poll(max(0.0, self._until - time.monotonic()) * 1000):
            got = f"none within {self._timeout_s:g} s"
            raise self._wrong("an array", got, "see why it hangs, or raise timeout_s")

    # -- what is known of it ---------------------------------------------------------------------

    def _died(self) -> StageError | ContractError:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # its streams end first
        code = self._process.returncode
        how = "that it closed its streams" if code is None else f"its end with exit code {code}"
        return self._wrong("an array", how, f"start it by hand: {shlex.join(self._command)}")

    def _wrong(
        self,
        expected: str,
        got: str,
        do: str,
        kind: type[StageError] | type[ContractError] = StageError,
    ) -> StageError | ContractError:
        return kind(
            f"{self._who}: expected {expected} as the answer to '{self._asked}', got {got}; {do}; "
            f"{self._last_words()}"
        )

    def _last_words(self) -> str:
        """The last lines that it has written to its standard error."""
        said = self._said.fileno()
        start = max(0, os.fstat(said).st_size - _TAIL_BYTES)
        # Where the program writes next is shared with it, and stays.
        lines = os.pread(said, _TAIL_BYTES, start).decode("utf-8", "replace").split("\n")
        lines = [line.strip() for line in lines if line.strip()]
        return f"it said: {' | '.join(lines[-_TAIL_LINES:])}" if lines else "it said nothing"


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    """End a process; what it has started itself sees the end of its input."""
    for pipe in (process.stdin, process.stdout, said):
        assert pipe is not None
        pipe.close()
    process.kill()
    process.wait()
