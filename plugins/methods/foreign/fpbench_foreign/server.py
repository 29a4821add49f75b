"""Marks and reads images for fpbench's method `foreign`. Needs Python 3.7 and numpy, nothing else.

Copy this file into a folder of its own, beside the checkpoints of the method, and put its two
functions in the place of `mark` and `read`: they stand for a method that writes bit k as the
contrast between the two halves of block k of the image. What is loaded once, load before `serve`.

What the two functions return must depend on what they are given alone, and image by image: no
draws without a seed, no batch statistics. Whatever they print goes to the standard error.
"""

import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

import numpy as np


def mark(images: np.ndarray, code: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) uint8 images with a code, (K,) bool, in them."""
    pattern = (code * 2.0 - 1) @ _patterns(len(code), *images.shape[2:])
    marked = (images / 127.5 - 1) * 0.5 + 0.25 * pattern.reshape(images.shape[2:])
    levels: np.ndarray = ((marked + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    return levels


def read(images: np.ndarray, bits: int) -> np.ndarray:
    """(N, K) float32 logits of images (N, 3, H, W) uint8; above 0 reads as 1."""
    grey = (images / 127.5 - 1).mean(axis=1).reshape(len(images), -1)
    logits: np.ndarray = grey @ _patterns(bits, *images.shape[2:]).T
    return logits


def _patterns(bits: int, height: int, width: int) -> np.ndarray:
    """(K, H*W): +1 and -1 on the two halves of the block of each bit, 0 elsewhere."""
    pixels = np.arange(height * width)
    block = pixels * bits // len(pixels)
    half = pixels * 2 * bits // len(pixels) % 2 * 2 - 1
    return np.where(block == np.arange(bits)[:, None], half, 0).astype(float)


# -- what follows can stay as it is ----------------------------------------------------------------


def serve(mark: Any, read: Any) -> NoReturn:
    """Answer questions until the standard input ends; `fpbench.nn.foreign` says how they look."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # fpbench says when to stop
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    questions: Any = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, questions), daemon=True).start()
    while True:
        asked, arrays = questions.get()
        header: Any
        try:
            if asked["do"] == "mark":
                answer = np.ascontiguousarray(mark(*arrays))
            else:
                answer = np.ascontiguousarray(read(*arrays, asked["bits"]), "<f4")
        except Exception as error:  # noqa: BLE001 - whatever it is, fpbench is told
            traceback.print_exc()
            header, body = {"error": f"{type(error).__name__}: {error}"}, b""
        else:
            about = {"dtype": answer.dtype.name, "shape": answer.shape}
            header, body = {"arrays": [about]}, answer.tobytes()
        answers.write(json.dumps(header).encode() + b"\n" + body)
        answers.flush()


def _listen(pipe: Any, questions: Any) -> None:
    for line in iter(pipe.readline, b""):
        asked = json.loads(line.decode())
        questions.put((asked, [_array(pipe, each) for each in asked["arrays"]]))
    os._exit(0)  # fpbench has ended, whatever is being computed


def _array(pipe: Any, about: Any) -> np.ndarray:
    dtype = np.dtype(about["dtype"]).newbyteorder("<")
    size = dtype.itemsize * int(np.prod(about["shape"]))
    return np.frombuffer(pipe.read(size), dtype).reshape(about["shape"])


if __name__ == "__main__":
    serve(mark, read)
