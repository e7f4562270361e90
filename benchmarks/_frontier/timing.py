"""What an epoch costs, and what a merge costs on a machine with a core for every replica.

One thing at a time, and nothing else beside it. The lines and the numbers of replicas take turns in
passes, every second pass backwards, so that a slow spell of the machine does not fall on one of
them; medians over the passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

import merge_cost

from .arithmetic import EpochCost
from .lines import Line
from .problems import Problem
from .work import Source, train, training

# Epochs of a timed training.
EPOCHS = 2


def epoch_costs(
    source: Source,
    problem: str,
    cells: Sequence[tuple[Line, int, Mapping[str, Any]]],
    passes: int,
    announce: Callable[[str], None],
) -> list[EpochCost]:
    """Time trainings of these lines, numbers of replicas and settings."""
    timed: list[list[dict[str, float]]] = [[] for _ in cells]
    for number in range(passes):
        order = range(len(cells))
        for k in order if number % 2 == 0 else reversed(order):
            line, n, settings = cells[k]
            announce(f"time, pass {number + 1}: {line.label}, n = {n}")
            job = training(source, problem, line, n, settings, epochs=float(EPOCHS))
            history = train(job, workers=None)[0].history
            timed[k].append(
                {
                    "replica": float(np.sum(history.slowest_replica_seconds)) / EPOCHS,
                    "wall": float(np.sum(history.train_seconds + history.merge_seconds)) / EPOCHS,
                    "merges": len(history) / EPOCHS,
                }
            )
    costs = []
    sizes = layer_sizes(source.load(problem))
    for (line, n, _), runs in zip(cells, timed, strict=True):
        announce(f"time of a merge: {line.label}, n = {n}")
        costs.append(
            EpochCost(
                replica_seconds=median(run["replica"] for run in runs),
                merges=runs[0]["merges"],
                merge_seconds=merge_seconds(sizes, line, n) if n > 1 else 0.0,
                wall_seconds=median(run["wall"] for run in runs),
            )
        )
    return costs


def merge_seconds(sizes: Sequence[int], line: Line, threads: int) -> float:
    """Time that one of n workers spends on a merge, each with a core to itself.

    Its share of the parameters of all replicas, the loading of the new master, and waiting for the
    others: see merge_cost.py.
    """
    return merge_cost.measure(line.method, threads, sizes).seconds


def layer_sizes(problem: Problem) -> tuple[int, ...]:
    """Return the sizes of the network's layers."""
    outputs = len(np.unique(problem.y)) if problem.measure == "accuracy" else 1
    return (problem.X.shape[1], *problem.hidden, outputs)
