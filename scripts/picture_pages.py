"""Takes the pictures of a board that the documentation shows.

    python scripts/picture_pages.py leaderboards/quickstart/page docs/images

Needs playwright and an installed Chromium (FPBENCH_CHROMIUM names another one).
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTHS = {1440: 1500, 768: 1500, 390: 1200}
COLOURS = 256


def main(page_folder: Path, output: Path) -> None:
    """Write board-<width>-<scheme>.png, and pictures of single sections."""
    browser_path = os.environ.get("FPBENCH_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path, args=["--no-sandbox", "--hide-scrollbars"]
        )
        for scheme in ("light", "dark"):
            for width, height in WIDTHS.items():
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=scheme,
                    reduced_motion="reduce",
                )
                page = context.new_page()
                page.goto((page_folder / "index.html").resolve().as_uri())
                save(page.screenshot(), output / f"board-{width}-{scheme}.png")
                if (width, scheme) == (1440, "light"):
                    sections(page, page_folder, output)
                context.close()
        browser.close()


def sections(page: Page, page_folder: Path, output: Path) -> None:
    """Heat map, curves, and a method's samples."""
    for name in ("heat", "curves"):
        save(
            page.locator(f"section[aria-labelledby={name}]").screenshot(),
            output / f"{name}.png",
        )
    methods = sorted((page_folder / "methods").glob("*.html"))
    page.goto(methods[0].resolve().as_uri())
    for picture in page.locator("section[aria-labelledby=samples] img").all():
        picture.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    page.evaluate("scrollTo(0, 0)")
    area = page.locator("section[aria-labelledby=samples]").bounding_box()
    assert area is not None
    clip = {**area, "height": min(area["height"], 1100)}
    save(page.screenshot(full_page=True, clip=clip), output / "samples.png")


def save(data: bytes, path: Path) -> None:
    """Write a picture with a palette, a third of the bytes."""
    with Image.open(io.BytesIO(data)) as image:
        # Coverage keeps colours that few pixels have, as those of markers.
        small = image.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
        small.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
