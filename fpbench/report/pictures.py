"""Sample strips as the page shows them: fewer images, and WebP instead of the run's own PNG.

What a fingerprint changes can be as faint as what WebP leaves out. So strips of untouched images
and of differences keep every pixel; only attacked ones and those of a training are approximate.
Of sounds each is a picture in a strip, and a WAV file beside it plays them: of attacked ones, and
of those of a training, the first alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fpbench.api import StoreError
from fpbench.store.sounds import first_of, sound_beside

IMAGES = 4
"""Images of a strip that the page shows."""
_QUALITY = 85
_SUFFIX = ".webp"


def shown_name(name: str) -> str:
    """File name of a strip in the page's folder; empty for none."""
    return f"{Path(name).stem}{_SUFFIX}" if name else ""


def write_picture(source: Path, target: Path, *, exact: bool) -> None:
    """Write the first images of a strip for the page.

    Args:
        source: a strip of the run: square images side by side.
        target: named by `shown_name`.
        exact: keep every pixel.

    Raises:
        StoreError: the file is no picture.
    """
    from PIL import Image

    try:
        with Image.open(source) as strip:
            width = min(strip.width, IMAGES * strip.height)
            image = strip.convert("RGB").crop((0, 0, width, strip.height))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise StoreError(
            f"page: expected a strip of samples in {source}, got {error}; run the suite again to "
            "write it, or take it out of samples.json",
            path=str(source),
        ) from None
    if exact:
        image.save(target, "WEBP", lossless=True, quality=100, method=4)
    else:
        image.save(target, "WEBP", quality=_QUALITY, method=4)


def sounds(folder: Path, names: Iterable[str]) -> Mapping[str, str]:
    """File names in the page's folder: of a strip that can be heard -> of its sound."""
    heard = {name: sound_beside(folder / name) for name in names}
    return {
        shown_name(name): path.name
        for name, path in heard.items()
        if path.is_file() and not path.is_symlink()
    }


def write_sound(source: Path, target: Path, *, exact: bool) -> None:
    """Write the sounds of a strip for the page.

    Args:
        source: the strip of the run, with its sound beside.
        target: the strip of the page.
        exact: all that the page's strip shows; else the first.

    Raises:
        StoreError: the file beside it is no sound.
    """
    from PIL import Image

    with Image.open(source) as strip:
        count = max(1, strip.width // strip.height)
    heard = first_of(sound_beside(source), count, IMAGES if exact else 1)
    sound_beside(target).write_bytes(heard)
