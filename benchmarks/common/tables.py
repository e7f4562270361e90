"""Lay out tables, for the terminal and for documents."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence


def as_text(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    widths: Sequence[int] | None = None,
    numeric: bool = False,
) -> str:
    """Lay out a table in plain characters. Cells may have several lines.

    With ``widths`` the cells of each column are wrapped to its width; without, columns are as wide
    as they need be. ``numeric`` aligns all to the right but the first column, which names the row.
    """
    wrapped = [
        [
            [line for part in cell.split("\n") for line in textwrap.wrap(part, widths[k]) or [""]]
            if widths
            else cell.split("\n")
            for k, cell in enumerate(row)
        ]
        for row in [header, *rows]
    ]
    spans = [max(len(line) for row in wrapped for line in row[k]) for k in range(len(header))]
    rule = "  ".join("-" * span for span in spans)
    lines: list[str] = []
    for number, row in enumerate(wrapped):
        for height in range(max(len(cell) for cell in row)):
            cells = []
            for k, cell in enumerate(row):
                line = cell[height] if height < len(cell) else ""
                cells.append(line.rjust(spans[k]) if numeric and k else line.ljust(spans[k]))
            lines.append("  ".join(cells).rstrip())
        # Rows of several lines need a line between them to be told apart.
        if number == 0 or (widths and number < len(rows)):
            lines.append(rule)
    return "\n".join(lines)


def as_markdown(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool = False
) -> str:
    """Lay out a table in Markdown. Lines within a cell become line breaks."""
    rule = ["---:" if numeric and k else "---" for k in range(len(header))]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
    return "\n".join(line.replace("\n", "<br>") for line in lines)
