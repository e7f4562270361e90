"""The blocks of docs/distributed.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ..common.tables import as_markdown

GOAL_OF_ROUND = 50e-6  # seconds
GOAL_OF_SPEED = 0.95
GOAL_OF_ACCURACY = 0.1  # points


def rounds(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the costs of a round."""
    rows = [
        [
            row["network"],
            *(f"{1e6 * row[key]:.0f}" for key in ("alone", "two", "all_reduce", "overhead")),
            _verdict(row["overhead"] < GOAL_OF_ROUND),
        ]
        for row in found
    ]
    header = [
        "Network", "One process (µs)", "Two ranks (µs)", "Bare all-reduce (µs)", "The rest (µs)",
        "Below 50 µs",
    ]  # fmt: skip
    return as_markdown(header, rows, numeric=True)


def speed(found: Mapping[str, Any]) -> str:
    """Return the speeds of one process and of two ranks."""
    one, two = (statistics.median(found["rates"][name]) for name in ("process", "ranks"))
    rows = [
        ["1 process x 2 replicas", f"{one:,.0f}", ""],
        ["2 ranks x 1 replica", f"{two:,.0f}", f"{found['ratio']:.3f}"],
    ]
    table = as_markdown(["", "Samples/s (median)", "Ratio (median of pairs)"], rows, numeric=True)
    reached = _verdict(found["ratio"] >= GOAL_OF_SPEED)
    spread = f"{min(found['ratios']):.3f} to {max(found['ratios']):.3f}"
    return f"{table}\n\nThe ratios are {spread}. The goal is 0.95 or more: {reached}."


def accuracy(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the accuracies, and how far each is from that of one process."""
    alone = {row["replicas"]: row["mean"] for row in found if row["merge_ranks_every"] is None}
    rows = []
    for row in found:
        period, off = row["merge_ranks_every"], row["mean"] - alone[row["replicas"]]
        goal = _verdict(abs(off) <= GOAL_OF_ACCURACY) if period == 1 else ""
        rows.append(
            [
                str(row["replicas"]),
                "one process" if period is None else f"4 ranks, K = {period}",
                f"{row['rounds']:,}",
                f"{row['mean']:.2f}",
                "" if period is None else f"{off:+.2f}",
                goal,
            ]
        )
    header = ["Replicas", "Trained by", "Merges of all", "Accuracy (%)", "Points off", "Within 0.1"]
    return as_markdown(header, rows, numeric=True)


def _verdict(is_reached: bool) -> str:
    return "yes" if is_reached else "no"
