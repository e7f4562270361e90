"""What an epoch costs, and what a merge costs on a machine with a core for every replica.

One thing at a time, and nothing else beside it, in passes of ``common/timing.py``.

More replicas than cores take turns on them, and each then finds its parameters and its samples
pushed out of the caches by the others. On a machine with a core for each they would stay there. So
the time of a round is measured twice: as it is, and with as many replicas as there are cores, from
which follows that of n by how much more work the busiest of n has in a round than the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from ..common.machine import available_cores
from ..common.timing import Probe, in_turn
from ..merging import cost as merge_cost
from .arithmetic import modelled, share_touched, slowest_to_mean
from .lines import Line
from .problems import Source
from .work import Training, train, training

# Epochs of a timed training.
EPOCHS = 2
Cell = tuple[Line, int, Mapping[str, Any]]  # line, replicas, settings


def epoch_costs(
    source: Source,
    problem: str,
    cells: Sequence[Cell],
    passes: int,
    probe: Probe,
    announce: Callable[[str], None],
) -> list[dict[str, float]]:
    """Time trainings of these lines, numbers of replicas and settings: see ``modelled``."""
    cores = available_cores()

    def time_cell(cell: Cell) -> dict[str, float]:
        line, n, settings = cell
        announce(f"time: {line.label}, n = {n}")
        job = training(source, problem, line, n, settings, epochs=float(EPOCHS))
        history = probe.undisturbed(lambda: train(job, workers=None)[0].history)
        turns = float(np.sum(history.slowest_replica_seconds)) / EPOCHS
        found = {
            "turns_seconds": turns,
            "wall_seconds": float(np.sum(history.train_seconds + history.merge_seconds)) / EPOCHS,
            "merges": len(history) / EPOCHS,
        }
        if n == 1:
            alone = {"replica_seconds": turns, "merge_seconds": 0.0, "slowest_to_mean": 1.0}
            return {**found, **alone}
        return {
            **found,
            "slowest_to_mean": _busiest(source, problem, n, _period(job)),
            "replica_seconds": probe.undisturbed(lambda: seconds_apart(job, min(n, cores))),
            "merge_seconds": probe.undisturbed(lambda: merge_seconds(job, line.method)),
        }

    timed = in_turn(cells, time_cell, passes)
    return [modelled({key: median(run[key] for run in runs) for key in runs[0]}) for runs in timed]


def seconds_apart(job: Training, cores: int) -> float:
    """Time the slowest of n replicas over the rounds of an epoch, each with a core to itself.

    Measured is the mean of as many replicas as there are cores, with rounds as long. The slowest of
    n has more to do than the mean: in proportion to the nonzero inputs of its samples. The slowest
    of those that are measured would tell rather which core was disturbed.
    """
    # The rule of the merges, and a rate that suits any number of replicas: a round takes as long.
    options = {key: value for key, value in job.options.items() if not key.startswith("outer_")}
    options["learning_rate"] = 0.01 * options["batch_size"]
    few = replace(job, method="average", threads=cores, options=options)
    history = train(few, workers=None)[0].history
    seconds = float(np.sum(history.mean_replica_seconds)) / EPOCHS
    busiest = _busiest(job.source, job.problem, job.threads, _period(job))
    return seconds * cores / job.threads * busiest


def merge_seconds(job: Training, method: str) -> float:
    """Time that one of n workers spends on a merge, each with a core to itself.

    Its share of the parameters of all replicas, the loading of the new master, and waiting for the
    others: see merging/cost.py.
    """
    touched = _touched(job.source, job.problem, _period(job))
    sizes = job.source.load(job.problem).layer_sizes
    return merge_cost.measure(method, job.threads, sizes, touched=touched).seconds


def _period(job: Training) -> int | tuple[int, ...]:
    every = job.options["merge_every"]
    return every if isinstance(every, int) else tuple(every)


@cache
def _busiest(source: Source, problem: str, replicas: int, period: int | tuple[int, ...]) -> float:
    """Return :func:`slowest_to_mean` of the nonzero inputs, the same in every pass."""
    nonzeros = np.count_nonzero(source.load(problem).X, axis=1)
    return slowest_to_mean(nonzeros, replicas, period)


@cache
def _touched(source: Source, problem: str, period: int | tuple[int, ...]) -> float:
    """Return :func:`share_touched` of the columns of X, the same in every pass."""
    return share_touched(source.load(problem).X, period)
