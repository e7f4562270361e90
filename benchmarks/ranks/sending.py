"""Measure what it costs in accuracy to send fewer bytes between ranks.

    python -m benchmarks.ranks.sending
    python -m benchmarks.ranks.sending --quick

Four ranks of two replicas train on all but the last 10,000 of the training samples, and are scored
on these.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..common import arguments as reading
from ..common import report
from ..common.files import read_json
from ..common.tables import as_markdown
from . import held_out
from .held_out import EVERY, PERIODS, RANKS

COMMAND = "python -m benchmarks.ranks.sending"
SENT: tuple[str | float, ...] = ("float32", "bfloat16", 0.1, 0.01)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write sending.json, and print the table."""
    arguments = reading.parser(__doc__, *held_out.OPTIONS, seeds=3).parse_args(argv)
    path = arguments.out / "sending.json"
    if not arguments.redraw:
        held_out.measure_all(arguments, path, COMMAND, _pieces)
    content = read_json(path)
    blocks = {"ranks-sending": table(content["pieces"])}
    report.show(arguments, content, "distributed.md", "sending", blocks)
    return 0


def _pieces(take: held_out.Take, files: Mapping[str, str], seeds: int) -> None:
    for period in PERIODS:
        for send in SENT:
            take(f"{period}/{send}", lambda p=period, s=send: scores(files, p, s, seeds))


def scores(files: Mapping[str, str], period: int, send: str | float, seeds: int) -> dict[str, Any]:
    """Train with each seed; return the accuracies in percent."""
    of_ranks = {"merge_ranks_every": period, "send": send}
    return {"period": period, "send": send, **held_out.scores(files, seeds, of_ranks)}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the means, and how far each is from that of float32."""
    whole = {
        row["period"]: float(np.mean(row["scores"]))
        for row in found.values()
        if row["send"] == "float32"
    }
    rows = []
    for row in found.values():
        send, period, mean = row["send"], row["period"], float(np.mean(row["scores"]))
        rows.append(
            [
                f"{period * EVERY:,}",
                f"{row['rounds']:,}",
                send if isinstance(send, str) else f"the largest {100 * send:g} %",
                f"{sent_bytes(send):.2f}",
                f"{mean:.2f}",
                f"{min(row['scores']):.2f} to {max(row['scores']):.2f}",
                "" if send == "float32" else f"{mean - whole[period]:+.2f}",
            ]
        )
    header = [
        "Samples between merges of ranks", "Merges", "Sent", "Bytes", "Accuracy (%)",
        "Least and most", "Points off",
    ]  # fmt: skip
    return as_markdown(header, rows, numeric=True)


def sent_bytes(send: str | float) -> float:
    """Return what a rank sends over MPI, as a share of what it sends in float32.

    An all-reduce of N numbers over R ranks sends 2 (R - 1) / R times N numbers of 4 bytes, or of 2.
    A gather sends the rank's numbers R - 1 times, each with its place in 8 bytes.
    """
    if isinstance(send, str):
        return {"float32": 1.0, "bfloat16": 0.5}[send]
    return RANKS * send


if __name__ == "__main__":
    sys.exit(main())
