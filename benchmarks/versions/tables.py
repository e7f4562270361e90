"""What the comparison says, in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..common import tables
from .measure import LEAST_RATIO, slower


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Lay out a line for each cell."""
    header = [
        *("strategy", "inputs", "B", "hidden", "workers", "old\nsamples/s", "new\nsamples/s"),
        *("new / old\nmedian", "range within pairs", ""),
    ]
    rows = [
        [
            *(entry["strategy"], entry["form"], str(entry["batch_size"]), str(entry["hidden"])),
            str(entry["workers"]),
            *(f"{entry[version]['median']:,.0f}" for version in ("old", "new")),
            f"{entry['ratio']['median']:.3f}",
            f"{entry['ratio']['min']:.3f}..{entry['ratio']['max']:.3f}",
            "SLOWER" if entry["ratio"]["median"] < LEAST_RATIO else "",
        ]
        for entry in entries
    ]
    return tables.as_text(header, rows, numeric=True)


def verdict(entries: Sequence[dict[str, Any]]) -> str:
    """Say in one line how many cells lost speed."""
    lost = slower(entries)
    worst = min(entries, key=lambda entry: float(entry["ratio"]["median"]))
    return (
        f"{len(lost)} of {len(entries)} median ratios are below {LEAST_RATIO:g}; the lowest is "
        f"{worst['ratio']['median']:.3f}."
    )
