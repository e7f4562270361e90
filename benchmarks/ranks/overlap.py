"""Measure what late merges cost in accuracy, and what time they save on a slow network.

    python -m benchmarks.ranks.overlap
    python -m benchmarks.ranks.overlap --quick

Four ranks of two replicas train on all but the last 10,000 of the training samples, and are scored
on these. The slow network is simulated: each message waits before it is sent.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..common import arguments as reading
from ..common import report
from ..common.files import read_json
from ..common.tables import as_markdown
from . import held_out, measure
from .held_out import EVERY, PERIODS

COMMAND = "python -m benchmarks.ranks.overlap"
MERGES = ("gradient_diversity", "average")
DELAYS = (0.0, 0.005, 0.01, 0.02, 0.04)  # seconds that a message waits
SPEED = {"epochs": 40, "merge_every": 32_768, "batch_size": 8, "learning_rate": 0.1, "workers": 1}
PASSES = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write overlap.json, and print the tables."""
    arguments = reading.parser(__doc__, *held_out.OPTIONS, seeds=3).parse_args(argv)
    path = arguments.out / "overlap.json"
    if not arguments.redraw:
        held_out.measure_all(arguments, path, COMMAND, _pieces)
    content = read_json(path)
    pieces: Mapping[str, Any] = content["pieces"]
    accuracies = {name: row for name, row in pieces.items() if "scores" in row}
    times = [row for row in pieces.values() if "delay" in row]
    blocks = {"ranks-overlap-accuracy": accuracy(accuracies), "ranks-overlap-time": time(times)}
    report.show(arguments, content, "distributed.md", "overlap", blocks)
    return 0


def _pieces(take: held_out.Take, files: Mapping[str, str], seeds: int) -> None:
    for merge in MERGES:
        for period in PERIODS:
            for overlap in (False, True):
                take(
                    f"{merge}/{period}/{overlap}",
                    lambda m=merge, p=period, o=overlap: scores(files, m, p, o, seeds),
                )
    for delay in DELAYS:
        take(f"delay/{delay}", lambda d=delay: seconds(files, d, PASSES))


def scores(
    files: Mapping[str, str], merge: str, period: int, overlap: bool, seeds: int
) -> dict[str, Any]:
    """Train with each seed; return the accuracies in percent."""
    of_ranks = {"merge_ranks_every": period, "overlap": overlap}
    found = held_out.scores(files, seeds, of_ranks, merge=merge)
    return {"merge": merge, "period": period, "overlap": overlap, **found}


def seconds(files: Mapping[str, str], delay: float, passes: int) -> dict[str, Any]:
    """Time the rounds of two ranks with and without overlap, in turn; return the medians."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for number in range(passes):
        for overlap in (False, True) if number % 2 == 0 else (True, False):
            job = {"job": "train", "X": files["X"], "y": files["y"], "threads": 1, "delay": delay}
            job |= {"options": SPEED, "of_ranks": {"overlap": overlap}}
            answer = measure.run(2, job)
            found[overlap].append(answer["round"])
    return {
        "delay": delay,
        "plain": statistics.median(found[False]),
        "overlap": statistics.median(found[True]),
        "passes": {"plain": found[False], "overlap": found[True]},
    }


def accuracy(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the means, and how far those of late merges are from the others."""
    usual = {
        (row["merge"], row["period"]): float(np.mean(row["scores"]))
        for row in found.values()
        if not row["overlap"]
    }
    rows = []
    for row in found.values():
        mean = float(np.mean(row["scores"]))
        rows.append(
            [
                row["merge"],
                f"{row['period'] * EVERY:,}",
                f"{row['rounds']:,}",
                "one round late" if row["overlap"] else "at once",
                f"{mean:.2f}",
                f"{min(row['scores']):.2f} to {max(row['scores']):.2f}",
                f"{mean - usual[row['merge'], row['period']]:+.2f}" if row["overlap"] else "",
            ]
        )
    header = [
        "Merge", "Samples between merges of ranks", "Merges", "Made", "Accuracy (%)",
        "Least and most", "Points off",
    ]  # fmt: skip
    return as_markdown(header, rows, numeric=True)


def time(found: Sequence[Mapping[str, Any]]) -> str:
    """Return how long a round takes for each delay of a message."""
    rows = [
        [
            f"{1000 * row['delay']:g}",
            f"{1000 * row['plain']:.1f}",
            f"{1000 * row['overlap']:.1f}",
            f"{row['plain'] / row['overlap']:.2f}",
        ]
        for row in found
    ]
    header = [
        "A message waits (ms, simulated)", "A round without overlap (ms)", "With overlap (ms)",
        "Times as fast",
    ]  # fmt: skip
    return as_markdown(header, rows, numeric=True)


if __name__ == "__main__":
    sys.exit(main())
