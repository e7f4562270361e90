"""Trainings of four ranks, scored on the last 10,000 training samples, which no rank has."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..common import data as images
from ..common import machine
from ..common.files import Results
from . import measure

OPTIONS = ("data", "limit", "seeds", "quick", "resume", "redraw", "docs", "out")
RANKS, REPLICAS = 4, 2
EVERY = 1024  # samples of a replica between merges of a rank's replicas
PERIODS = (1, 8)

Take = Callable[[str, Callable[[], Any]], None]


def measure_all(
    arguments: argparse.Namespace,
    path: Path,
    command: str,
    pieces: Callable[[Take, Mapping[str, str], int], None],
) -> None:
    """Put what ``pieces(take, files, seeds)`` takes, with names for it, into a file of results."""
    seeds = 1 if arguments.quick else arguments.seeds
    data = images.load(arguments.data, 6_000 if arguments.quick else arguments.limit)
    data = data.held_out(10_000)
    options = {"seeds": seeds, "quick": arguments.quick, "data": data.describe()}
    results = Results(path, machine.describe_run(command, options), resume=arguments.resume)
    print(machine.machine_line(results.content["machine"]))

    def take(name: str, work: Callable[[], Any]) -> None:
        print(f"{name} ...", flush=True)
        results.take(name, work)

    with tempfile.TemporaryDirectory() as folder:
        pieces(take, measure.save(data, Path(folder)), seeds)
    results.write()


def scores(
    files: Mapping[str, str],
    seeds: int,
    of_ranks: Mapping[str, Any],
    **options: Any,  # noqa: ANN401 - those of train_parallel
) -> dict[str, Any]:
    """Train with each seed; return the accuracies in percent, and the number of merges."""
    job: dict[str, Any] = {"job": "train", **files, "threads": REPLICAS, "of_ranks": of_ranks}
    found = []
    for seed in range(seeds):
        job["options"] = {
            "epochs": 5, "seed": seed, "workers": 1, "merge_every": EVERY, **options
        }  # fmt: skip
        answer = measure.run(RANKS, job)
        found.append(100 * answer["score"])
    return {"rounds": answer["merges"], "scores": found}
