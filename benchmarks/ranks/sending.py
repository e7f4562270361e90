"""Measure what it costs in accuracy to send fewer bytes between ranks.

    python -m benchmarks.ranks.sending
    python -m benchmarks.ranks.sending --quick

Four ranks of two replicas train on all but the last 10,000 of the training samples, and are scored
on these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..common import arguments as reading
from ..common import data as images
from ..common import machine, report
from ..common.files import Results, read_json
from ..common.tables import as_markdown
from . import measure

COMMAND = "python -m benchmarks.ranks.sending"
RANKS, REPLICAS = 4, 2
EVERY = 1024  # samples of a replica between merges of a rank's replicas
PERIODS = (1, 8)
SENT: tuple[str | float, ...] = ("float32", "bfloat16", 0.1, 0.01)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write sending.json, and print the table."""
    names = ("data", "limit", "seeds", "quick", "resume", "redraw", "docs", "out")
    arguments = reading.parser(__doc__, *names, seeds=3).parse_args(argv)
    path = arguments.out / "sending.json"
    if not arguments.redraw:
        _measure(arguments, path)
    content = read_json(path)
    blocks = {"ranks-sending": table(content["pieces"])}
    report.show(arguments, content, "distributed.md", "sending", blocks)
    return 0


def _measure(arguments: argparse.Namespace, path: Path) -> None:
    seeds = 1 if arguments.quick else arguments.seeds
    data = images.load(arguments.data, 6_000 if arguments.quick else arguments.limit)
    data = data.held_out(10_000)
    options = {"seeds": seeds, "quick": arguments.quick, "data": data.describe()}
    results = Results(path, machine.describe_run(COMMAND, options), resume=arguments.resume)
    print(machine.machine_line(results.content["machine"]))
    with tempfile.TemporaryDirectory() as folder:
        files = measure.save(data, Path(folder))
        for period in PERIODS:
            for send in SENT:
                name = f"{period}/{send}"
                print(f"{name} ...", flush=True)
                results.take(name, lambda p=period, s=send: scores(files, p, s, seeds))
    results.write()


def scores(files: Mapping[str, str], period: int, send: str | float, seeds: int) -> dict[str, Any]:
    """Train with each seed; return the accuracies in percent."""
    job: dict[str, Any] = {"job": "train", **files, "threads": REPLICAS}
    job["of_ranks"] = {"merge_ranks_every": period, "send": send}
    found = []
    for seed in range(seeds):
        job["options"] = {"epochs": 5, "seed": seed, "workers": 1, "merge_every": EVERY}
        answer = measure.run(RANKS, job)
        found.append(100 * answer["score"])
    return {"period": period, "send": send, "rounds": answer["merges"], "scores": found}


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
