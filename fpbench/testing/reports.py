"""Results of rules for machines: JUnit's XML, and plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

from fpbench.testing.rules import Result, Verdict


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Plain data, one object for each rule."""
    return [asdict(result) for result in results]


def as_junit(results: Sequence[Result]) -> str:
    """JUnit's XML, a suite for each component and a case for each rule."""
    root = ElementTree.Element("testsuites", name="fpbench check")
    for component, group in groupby(results, key=lambda result: result.component):
        own = list(group)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=component,
            tests=str(len(own)),
            failures=str(sum(r.verdict is Verdict.BROKEN for r in own)),
            skipped=str(sum(r.verdict in (Verdict.SKIPPED, Verdict.NOT_REACHED) for r in own)),
            errors="0",
            time=f"{sum(r.seconds for r in own):.3f}",
        )
        for result in own:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=component,
                name=result.rule,
                time=f"{result.seconds:.3f}",
            )
            if result.verdict is Verdict.BROKEN:
                broken = ElementTree.SubElement(case, "failure", message=_plain(result.said))
                broken.text = _plain(result.trace or result.said)
            elif result.verdict is not Verdict.KEPT:
                ElementTree.SubElement(case, "skipped", message=_plain(result.said))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _plain(text: str) -> str:
    """Text without the control characters that XML cannot hold."""
    return "".join(c for c in text if c in "\t\n" or c.isprintable())
