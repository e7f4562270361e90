"""What an epoch costs, and what a merge costs on a machine with a core for every replica.

One thing at a time, and nothing else beside it. The lines and the numbers of replicas take turns in
passes, every second pass backwards, so that a slow spell of the machine does not fall on one of
them; medians over the passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

import omp_mlp

from .arithmetic import EpochCost
from .lines import Line
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
    for (line, n, _), runs in zip(cells, timed, strict=True):
        announce(f"time of a merge: {line.label}, n = {n}")
        costs.append(
            EpochCost(
                replica_seconds=median(run["replica"] for run in runs),
                merges=runs[0]["merges"],
                merge_seconds=merge_seconds(source, problem, line.method, n) if n > 1 else 0.0,
                wall_seconds=median(run["wall"] for run in runs),
            )
        )
    return costs


@cache
def merge_seconds(source: Source, problem: str, method: str, threads: int) -> float:
    """Time of one merge when each of n cores merges its n-th of the parameters.

    The time of a whole merge by one worker, divided by n, and the time that a replica takes to copy
    the new master, which lies in the other cores' caches: here, out of this core's.
    """
    loaded = source.load(problem)
    outputs = len(np.unique(loaded.y)) if loaded.measure == "accuracy" else 1
    sizes = (loaded.X.shape[1], *loaded.hidden, outputs)
    rng = np.random.default_rng(0)
    models = [
        omp_mlp.Model(
            [rng.standard_normal(shape).astype(np.float32) for shape in pairwise(sizes)],
            [np.zeros(size, np.float32) for size in sizes[1:]],
        )
        for _ in range(threads + 1)
    ]
    seconds = []
    for _ in range(9):
        begin = time.perf_counter()
        omp_mlp.merge(models[1:], method, base=models[0])
        seconds.append(time.perf_counter() - begin)
    parameters = sum(a * b + b for a, b in pairwise(sizes))
    return median(seconds) / threads + copy_seconds(parameters)


@cache
def copy_seconds(parameters: int, copies: int = 64) -> float:
    """Time to copy so many floats that are not in this core's own cache."""
    masters = np.ones((copies, parameters), np.float32)
    replica = np.zeros(parameters, np.float32)
    seconds = []
    for master in np.concatenate([masters, masters]):
        begin = time.perf_counter()
        np.copyto(replica, master)
        seconds.append(time.perf_counter() - begin)
    return median(seconds)
