"""The report of a trace as one page that opens from disk, and the pages of `fpbench serve`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fpbench.plan.data import noun
from fpbench.report.site import Pages, static
from fpbench.store.objects import write_text

_INLINE = {"style": "style.css", "script": "page.js"}


def write_trace(report: Mapping[str, Any], output: Path, modality: str = "image") -> None:
    """Write the page of a report, whole or not at all.

    Args:
        report: as `fpbench trace` writes it.
        output: the HTML file.
        modality: of what was read.
    """
    pages = _pages(output.parent, "Evidence of a trace", "trace", modality)
    write_text(output, pages.text("trace.html.j2", back="", evidence="", **_verdicts(report)))


def served_trace(report: Mapping[str, Any], modality: str = "image") -> str:
    """The page of a report as `fpbench serve` answers with it: its JSON can be saved from there.

    Args:
        report: as `fpbench trace` writes it.
        modality: of what was read.
    """
    evidence = base64.b64encode(json.dumps(report, indent=2).encode() + b"\n").decode()
    pages = _served("Evidence of a trace", modality)
    return pages.text("trace.html.j2", back="./", evidence=evidence, **_verdicts(report))


def served_form(modality: str, most_images: int, most_mib: int, refused: str = "") -> str:
    """The page on which samples are handed in.

    Args:
        modality: of the samples.
        most_images: in one request.
        most_mib: of all of them.
        refused: why the last ones were not read; empty on the first visit.
    """
    pages = _served(f"Whom do {noun(modality)}s lead to?", modality)
    return pages.text("serve.html.j2", most_images=most_images, most_mib=most_mib, refused=refused)


@cache
def served_policy() -> str:
    """What these pages may load, as a Content-Security-Policy: their own style and script alone."""
    style, script = (
        base64.b64encode(hashlib.sha256(static(name).encode()).digest()).decode()
        for name in _INLINE.values()
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


@cache
def _served(title: str, modality: str) -> Pages:
    return _pages(Path(), title, "serve", modality)  # its templates are compiled once


def _pages(folder: Path, title: str, where: str, modality: str) -> Pages:
    pages = Pages(folder, modality)
    pages.globals |= {"title": title, "where": where, "home": "", "modality": modality}
    pages.globals["inline"] = {kind: static(name) for kind, name in _INLINE.items()}
    return pages


def _verdicts(report: Mapping[str, Any]) -> dict[str, Any]:
    images = report["images"]
    groups = [images] if report["pooled"] else [[image] for image in images]
    return {"report": report, "rows": list(zip(groups, report["verdicts"], strict=True))}
