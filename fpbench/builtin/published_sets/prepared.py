"""A data set as one memory-mapped file: cropped, resized and stored once, then only read.

`NAME-SIZE-COUNT.npy` is `(N, S, S, 3)` uint8 without compression; the JSON file beside it says what
it is, with the SHA-256 of its bytes. Reading rows of it costs a copy and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpbench.api import MissingResource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 2**22


def data_folder() -> Path:
    """Where data sets lie: $FPBENCH_DATA, or `.cache/fpbench/data` in the user's home."""
    named = os.environ.get("FPBENCH_DATA")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "fpbench" / "data"


@dataclass(frozen=True)
class Prepared:
    """What the JSON file says.

    Attributes:
        name: of the data set.
        size: height and width, pixels.
        count: number of images.
        made: version of the crop and the resize.
        sha256: of the array's file.
        bytes: its size.
        mtime_ns: its time when it was last found to have this digest.
    """

    name: str
    size: int
    count: int
    made: str
    sha256: str
    bytes: int
    mtime_ns: int


def place(name: str, size: int, count: int) -> Path:
    """The array's file."""
    return data_folder() / f"{name}-{size}-{count}.npy"


def find(name: str, size: int, count: int, made: str) -> Prepared:
    """What is there, after a look at size and time of the file; its bytes are read if they moved.

    Raises:
        MissingResource: it was not prepared, by another version, or its bytes are other ones.
    """
    path = place(name, size, count)
    how = (
        f"prepare it with `fpbench prepare SUITE` on a machine with internet, or bring {path.name}"
    )
    try:
        data = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        found, stat = Prepared(**data), path.stat()
    except (OSError, ValueError, TypeError):
        raise MissingResource(
            f"data set {name}: expected {path.name} and its .json in {path.parent}, got none that "
            f"can be read; {how} and its .json into that folder ($FPBENCH_DATA names another)"
        ) from None
    if (found.name, found.size, found.count, found.made) != (name, size, count, made):
        raise MissingResource(
            f"data set {name}: expected {path} of version {made}, got {asdict(found)}; {how}"
        )
    if (stat.st_size, stat.st_mtime_ns) != (found.bytes, found.mtime_ns):
        return _verified(path, found, how)
    return found


def verify(found: Prepared) -> None:
    """Read the whole file.

    Raises:
        MissingResource: its bytes are other ones.
    """
    _verified(place(found.name, found.size, found.count), found, "prepare it")


def _verified(path: Path, said: Prepared, how: str) -> Prepared:
    now = sha256_of(path)
    if now != said.sha256:
        raise MissingResource(
            f"data set {said.name}: expected {path} with SHA-256 {said.sha256}, got {now}; "
            f"delete it and {how} again"
        )
    stat = path.stat()
    found = Prepared(**{**asdict(said), "mtime_ns": stat.st_mtime_ns})
    with contextlib.suppress(OSError):  # where the folder may only be read, bytes are read again
        _write(path, found)
    return found


def store(
    name: str, size: int, count: int, made: str, images: Iterable[NDArray[np.uint8]]
) -> Prepared:
    """Write the first `count` images, each (size, size, 3) uint8, and what they are.

    Raises:
        MissingResource: there are fewer.
    """
    import numpy as np

    path = place(name, size, count)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name first: a file of this name is whole.
    partial = path.with_name(f"{path.stem}-partial-{os.getpid()}.npy")
    try:
        array = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(count, size, size, 3)
        )
        written = 0
        for image in images:
            array[written] = image
            written += 1
            if written == count:
                break
        array.flush()
        del array
        if written < count:
            raise MissingResource(
                f"data set {name}: expected {count:,} images, got {written:,}; ask for fewer in "
                "[dataset] train, test or reference"
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    stat = path.stat()
    found = Prepared(name, size, count, made, sha256_of(path), stat.st_size, stat.st_mtime_ns)
    _write(path, found)
    return found


def open_array(name: str, size: int, count: int) -> NDArray[np.uint8]:
    """The array, mapped into memory, read-only."""
    import numpy as np

    array: NDArray[np.uint8] = np.load(place(name, size, count), mmap_mode="r", allow_pickle=False)
    return array


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            whole.update(block)
    return whole.hexdigest()


def _write(path: Path, found: Prepared) -> None:
    text: dict[str, Any] = asdict(found)
    partial = path.with_suffix(f".json-{os.getpid()}")
    partial.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")
    partial.replace(path.with_suffix(".json"))
