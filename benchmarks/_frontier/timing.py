"""What an epoch costs, and what a merge costs on a machine with a core for every replica.

One thing at a time, and nothing else beside it. The lines and the numbers of replicas take turns in
passes, every second pass backwards, so that a slow spell of the machine does not fall on one of
them; medians over the passes. A measurement is repeated if a probe before or after it says that
something outside of this process slowed the cores down (see :class:`Probe`).

More replicas than cores take turns on them, and each then finds its parameters and its samples
pushed out of the caches by the others. On a machine with a core for each they would stay there. So
the time of a round is measured twice: as it is, and with as many replicas as there are cores, from
which follows that of n by how much more work the busiest of n has in a round than the mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from statistics import median
from typing import Any, TypeVar

import numpy as np

import _report as report
import merge_cost
import omp_mlp

from .arithmetic import EpochCost, share_touched, slowest_to_mean
from .lines import Line
from .problems import Problem
from .work import Source, Training, train, training

Measured = TypeVar("Measured")

# Epochs of a timed training.
EPOCHS = 2


def epoch_costs(
    source: Source,
    problem: str,
    cells: Sequence[tuple[Line, int, Mapping[str, Any]]],
    passes: int,
    patience: float,
    announce: Callable[[str], None],
) -> list[EpochCost]:
    """Time trainings of these lines, numbers of replicas and settings.

    ``patience`` is :class:`Probe`'s.
    """
    cores = report.available_cores()
    sizes = layer_sizes(source.load(problem))
    probe = Probe(cores, patience)

    def time_cell(line: Line, n: int, settings: Mapping[str, Any]) -> dict[str, float]:
        job = training(source, problem, line, n, settings, epochs=float(EPOCHS))
        history = probe.undisturbed(lambda: train(job, workers=None)[0].history)
        found = {
            "turns": float(np.sum(history.slowest_replica_seconds)) / EPOCHS,
            "wall": float(np.sum(history.train_seconds + history.merge_seconds)) / EPOCHS,
            "merges": len(history) / EPOCHS,
        }
        if n == 1:
            return {**found, "replica": found["turns"], "merge": 0.0}
        touched = _touched(source, problem, _period(job))
        return {
            **found,
            "replica": probe.undisturbed(lambda: seconds_apart(job, min(n, cores))),
            "merge": probe.undisturbed(lambda: merge_seconds(sizes, line, n, touched)),
        }

    timed: list[list[dict[str, float]]] = [[] for _ in cells]
    for number in range(passes):
        order = range(len(cells))
        for k in order if number % 2 == 0 else reversed(order):
            line, n, _ = cells[k]
            announce(f"time, pass {number + 1}: {line.label}, n = {n}")
            timed[k].append(time_cell(*cells[k]))
    return [
        EpochCost(
            replica_seconds=median(run["replica"] for run in runs),
            turns_seconds=median(run["turns"] for run in runs),
            merges=runs[0]["merges"],
            merge_seconds=median(run["merge"] for run in runs),
            wall_seconds=median(run["wall"] for run in runs),
        )
        for runs in timed
    ]


class Probe:
    """Tells whether all cores are as fast as they can be.

    On a machine that is shared, others come and go within seconds, and slow down one core or
    another. A training on one core then meets them less often than one on several, so that medians
    alone do not compare the two. A fixed piece of work on all cores, which takes some milliseconds
    and has nothing to do with what is measured, shows how it stands: they are disturbed if it takes
    a tenth more than the least that was seen.

    Parameters
    ----------
    cores : int
    patience : float
        Seconds that are spent in all on waiting and on measurements that are repeated. Then things
        are measured whatever the cores are like.
    """

    def __init__(self, cores: int, patience: float) -> None:
        self._cores, self._patience = cores, patience
        rng = np.random.default_rng(0)
        # Sparse, and as many weights as fill the caches that a core has to itself.
        shape = (2_000 * cores, 800)
        self._X = (255 * (rng.random(shape, np.float32) < 0.15)).astype(np.uint8)
        self._y = rng.integers(10, size=len(self._X))
        self._least = min(self.seconds() for _ in range(20))

    def seconds(self) -> float:
        """Time the piece of work: CPU time of the slowest core."""
        history = omp_mlp.train_parallel(
            self._X, self._y, self._cores, "average", epochs=2, workers=self._cores
        ).history
        return float(np.sum(history.slowest_replica_seconds))

    def is_quiet(self) -> bool:
        """Whether the cores are undisturbed now."""
        seconds = self.seconds()
        self._least = min(self._least, seconds)
        return seconds <= 1.1 * self._least

    def undisturbed(self, measure: Callable[[], Measured]) -> Measured:
        """Measure until the cores were quiet before and after, or patience is at its end."""
        while True:
            start = time.monotonic()
            if self.is_quiet() or self._patience <= 0:
                measured = measure()
                if self.is_quiet() or self._patience <= 0:
                    return measured
            else:
                time.sleep(0.2)
            self._patience -= time.monotonic() - start


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


def merge_seconds(sizes: Sequence[int], line: Line, threads: int, touched: float) -> float:
    """Time that one of n workers spends on a merge, each with a core to itself.

    Its share of the parameters of all replicas, the loading of the new master, and waiting for the
    others: see merge_cost.py. ``touched`` is the share of the inputs that are not all zero in the
    samples of a replica's round.
    """
    return merge_cost.measure(line.method, threads, sizes, touched=touched).seconds


def layer_sizes(problem: Problem) -> tuple[int, ...]:
    """Return the sizes of the network's layers."""
    outputs = len(np.unique(problem.y)) if problem.measure == "accuracy" else 1
    return (problem.X.shape[1], *problem.hidden, outputs)
