"""Peak memory of a stage alone, and a description of the machine."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_PACKAGES = ("fpbench", "torch", "numpy", "scipy", "opencv-python-headless", "pillow")


class Peak:
    """Highest resident memory while the block ran, bytes.

    On Linux the kernel's high-water mark is reset first. Where it cannot be, the mark of the whole
    process stands in, an upper bound.
    """

    def __init__(self) -> None:
        self.bytes = 0

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bytes = _high_water_mark()


def _high_water_mark() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows, where nothing is trained
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def environment(device: str, threads: int) -> dict[str, Any]:
    """Versions and hardware that a number was made with; no names of machines or people."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "unknown"
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device,
        "threads": threads,
        "cpu_count": os.cpu_count() or 0,
        "packages": packages,
        "codecs": codecs(),
    }


@cache
def codecs() -> dict[str, str]:
    """Versions of what compresses samples: of Pillow's libraries, OpenCV's own, and FFmpeg's."""
    import cv2
    from PIL import features

    names = {"libjpeg-turbo": "libjpeg_turbo", "webp": "webp", "zlib": "zlib"}
    found = {f"pillow {k}": features.version(v) or "unknown" for k, v in names.items()}
    found["opencv"] = cv2.__version__
    lines = re.findall(r"^ *(JPEG|WEBP): *(.*)$", cv2.getBuildInformation(), re.MULTILINE)
    # The builder's own paths are nobody's business.
    said = {f"opencv {name.lower()}": re.sub(r"\S*/", "", text).strip() for name, text in lines}
    with contextlib.suppress(ImportError):
        import av

        found["libavcodec"] = ".".join(map(str, av.library_versions["libavcodec"]))
    return found | said
