"""The report of a trace as one page that opens from disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fpbench.report.site import Pages, static


def write_trace(report: Mapping[str, Any], output: Path) -> None:
    """Write the page of a report.

    Args:
        report: as `fpbench trace` writes it.
        output: the HTML file.
    """
    pages = Pages(output.parent)
    pages.globals |= {"title": "Evidence of a trace", "where": "trace", "home": ""}
    pages.globals["inline"] = {"style": static("style.css"), "script": static("page.js")}
    images = report["images"]
    groups = [images] if report["pooled"] else [[image] for image in images]
    rows = list(zip(groups, report["verdicts"], strict=True))
    pages.write(output.name, "trace.html.j2", report=report, rows=rows)
