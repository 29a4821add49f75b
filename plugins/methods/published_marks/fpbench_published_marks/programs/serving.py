"""The other side of `fpbench.nn.foreign`: runs in the environment of a library.

Needs numpy and what the environment was made of, nothing of fpbench. Its argument is JSON: the
`module` beside this file to answer with, its `variant`, the folder of its `weights`, what else it
takes as `options`, and the `pins` that the environment must be made of.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any, NoReturn

import numpy as np

Mark = Callable[..., np.ndarray]  # samples, a code and, of sounds, their rate
Read = Callable[..., np.ndarray]  # samples, how many numbers of each and, of sounds, their rate


def main() -> NoReturn:
    """Open the module, then answer until the standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # fpbench says when to stop
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries greet on the standard output
    asked = json.loads(sys.argv[1])
    _expect(asked["pins"])
    module = import_module(asked["module"])
    mark, read = module.opened(asked["variant"], asked["weights"], **asked["options"])
    questions: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    while True:
        header, body = _answer(mark, read, *questions.get())
        answers.write(json.dumps(header).encode() + b"\n" + body)
        answers.flush()


def _expect(pins: list[str]) -> None:
    for pin in pins:
        name, _, version = pin.partition("==")
        found = metadata.version(name)
        if found != version:
            sys.exit(
                f"expected {pin} in {sys.prefix}, got {found}; remove that folder and run "
                "`fpbench prepare SUITE`"
            )


def _answer(mark: Mark, read: Read, asked: Any, arrays: list[np.ndarray]) -> tuple[Any, bytes]:
    rate = (asked["rate"],) if "rate" in asked else ()
    try:
        if asked["do"] == "mark":
            answer = np.ascontiguousarray(mark(arrays[0], arrays[1], *rate))
        else:
            answer = np.ascontiguousarray(read(arrays[0], asked["bits"], *rate), "<f4")
    except Exception as error:  # noqa: BLE001 - whatever it is, fpbench is told
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}, b""
    return {"arrays": [{"dtype": answer.dtype.name, "shape": answer.shape}]}, answer.tobytes()


def _listen(questions: queue.Queue[Any]) -> None:
    pipe = sys.stdin.buffer
    for line in iter(pipe.readline, b""):
        asked = json.loads(line)
        questions.put((asked, [_array(pipe, each) for each in asked["arrays"]]))
    os._exit(0)  # fpbench has ended, whatever is being computed


def _array(pipe: Any, about: Any) -> np.ndarray:
    dtype = np.dtype(about["dtype"]).newbyteorder("<")
    size = dtype.itemsize * int(np.prod(about["shape"]))
    return np.frombuffer(pipe.read(size), dtype).reshape(about["shape"])


if __name__ == "__main__":
    main()
