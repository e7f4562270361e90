"""Lay out tables, for the terminal and for documents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest


def as_text(header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool = False) -> str:
    """Lay out a table in plain characters. Cells may have several lines.

    ``numeric`` aligns all to the right but the first column, which names the row.
    """
    split = [[cell.split("\n") for cell in row] for row in (header, *rows)]
    spans = [
        max(len(line) for cell in column for line in cell) for column in zip(*split, strict=True)
    ]
    lines = [
        "  ".join(
            text.rjust(span) if numeric and k else text.ljust(span)
            for k, (text, span) in enumerate(zip(cells, spans, strict=True))
        ).rstrip()
        for row in split
        for cells in zip_longest(*row, fillvalue="")
    ]
    height = max(map(len, split[0]))
    lines.insert(height, "  ".join("-" * span for span in spans))
    return "\n".join(lines)


def as_markdown(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: bool = False
) -> str:
    """Lay out a table in Markdown. Lines within a cell become line breaks."""
    rule = ["---:" if numeric and k else "---" for k in range(len(header))]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
    return "\n".join(line.replace("\n", "<br>") for line in lines)
