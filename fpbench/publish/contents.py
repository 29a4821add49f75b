"""What exactly is inside a bundle, by kind, as whoever publishes it must know."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

_KINDS = {
    "records.jsonl": "records",
    "samples": "strips of images",
    "store": "readings",
    "weights": "trained weights",
}
_OTHER = "what was asked"


def contents(bundle: Path) -> Iterator[str]:
    """One line for each kind of file, with files and bytes, and one on the images or sounds.

    Args:
        bundle: a zip file as `export` writes it.
    """
    found: dict[str, list[int]] = {}
    drawn = real = 0
    heard = False
    with zipfile.ZipFile(bundle) as archive:
        for entry in archive.infolist():
            kind = _KINDS.get(entry.filename.partition("/")[0], _OTHER)
            found.setdefault(kind, []).append(entry.file_size)
            heard = heard or entry.filename.endswith(".wav")
            if entry.filename.endswith(".png"):
                with archive.open(entry) as file:
                    # Width and height stand first in a PNG; a strip is a row of square images.
                    width, height = struct.unpack(">II", file.read(24)[16:])
                images = max(width // max(height, 1), 1)
                if entry.filename == "samples/real.png":
                    real += images
                else:
                    drawn += images
    for kind, sizes in sorted(found.items()):
        yield f"  {kind:<18}{len(sizes):>6,} files {sum(sizes):>14,} bytes"
    yield f"  {_samples(drawn, real, 'sounds' if heard else 'images')}"


def _samples(drawn: int, real: int, what: str) -> str:
    if not drawn + real:
        return "no images"
    told = f"{drawn:,} {what} drawn by the host and by copies, or attacked"
    return f"{told}; {real:,} of the data set" if real else told
