"""The map in tables: how many times as fast as the best peer, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ..common.tables import as_text
from ..peers import row

Result = Mapping[str, Any]


def panels(cells: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the cells of each panel, by its name."""
    found: dict[str, list[Result]] = {}
    for cell in cells:
        found.setdefault(cell["panel"], []).append(cell)
    return found


def lines_of(cells: Sequence[Result]) -> tuple[list[int], list[int]]:
    """Return the widths and batch sizes of a panel."""
    widths, sizes = (sorted({cell[key] for cell in cells}) for key in ("hidden", "batch_size"))
    return widths, sizes


def table(name: str, cells: Sequence[Result]) -> str:
    """Lay out a panel: samples a second, ratio to the best peer, and who that is."""
    widths, sizes = lines_of(cells)
    written = {
        (cell["hidden"], cell["batch_size"]): (
            f"{cell['samples_per_second'][cell['ours']]:,.0f}\n{cell['ratio']['median']:.2f}\n"
            f"{row(cell['best_peer']).label}"
        )
        for cell in cells
    }
    rows = [
        [f"{width:,} units", *(written.get((width, size), "-") for size in sizes)]
        for width in widths
    ]
    return f"{name}\n{as_text(['', *(f'B = {size}' for size in sizes)], rows, numeric=True)}"


def summary(cells: Sequence[Result]) -> str:
    """Say how many cells there are, the median ratio, and which cells are lost."""
    lost = sorted(
        (cell for cell in cells if cell["ratio"]["median"] < 1),
        key=lambda cell: float(cell["ratio"]["median"]),
    )
    named = "; ".join(
        f"{cell['panel']}, {cell['hidden']:,} units, B = {cell['batch_size']}: "
        f"{cell['ratio']['median']:.2f} of {row(cell['best_peer']).label}"
        for cell in lost
    )
    middle = median(cell["ratio"]["median"] for cell in cells)
    return (
        f"{len(cells)} cells. The median is {middle:.2f} times the best peer. "
        f"{len(lost)} are below 1" + (f": {named}." if lost else ".")
    )


def block(cells: Sequence[Result]) -> str:
    """Return the block of docs/benchmarks.md."""
    tables = [table(name, mine) for name, mine in panels(cells).items()]
    texts = "\n\n".join(f"```text\n{text}\n```" for text in tables)
    return f"{summary(cells)}\n\n{texts}"
