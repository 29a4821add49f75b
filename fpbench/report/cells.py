"""Table cells as HTML. A wide board has a hundred thousand, ten times too many for a macro."""

from __future__ import annotations

from markupsafe import Markup, escape

from fpbench.report.show import Notes, Shown


def cell(shown: Shown, numbering: Notes, root: str, group: str = "") -> Markup:
    """A number with its interval, or an outcome with the number of its note.

    Args:
        shown: the cell.
        numbering: of the notes below its table.
        root: way to the board's folder.
        group: of its column, where columns can be hidden.
    """
    done = shown.outcome == "done"
    css = "number" if done else f"outcome o-{shown.outcome}"
    css += f"{' best' if shown.best else ''}{f' {shown.css}' if shown.css else ''}"
    body = linked(shown, root)
    parts = [
        f' data-group="{escape(group)}"' if group else "",
        f' class="{escape(css)}"',
        "" if shown.sort is None else f' data-sort="{shown.sort:.7g}"',
        ">",
        f"<strong>{body}</strong>" if shown.best else body,
        f"<sup>{numbering.number(shown)}</sup>" if shown.reason else "",
        f"<small>{escape(shown.sub)}</small>" if shown.sub else "",
    ]
    return Markup(f"<td{''.join(parts)}</td>")  # noqa: S704 - every part is escaped


def linked(shown: Shown, root: str) -> Markup:
    """The number, leading to its record where it has one."""
    text = escape(shown.text)
    if not shown.record:
        return text
    link = f'<a href="{root}records.html#{escape(shown.record)}">{text}</a>'
    return Markup(link)  # noqa: S704 - every part is escaped
