"""Budgets to reach a score, modelled times and speed-ups, from numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ..common.timing import summarise


def budget_to_reach(
    budgets: Sequence[float], scores: Sequence[float], target: float
) -> float | None:
    """Find the smallest budget whose score is the target, between those that were measured.

    The ``budgets`` are in epochs, increasing; each was a training of its own, whose learning rate
    fell to 0 at its end. Found is where the line through the points (log budget, score) first
    reaches the target; the first budget if that was enough already, which makes the answer an upper
    bound; None if the target was not reached.
    """
    points = list(zip(budgets, scores, strict=True))
    if points and points[0][1] >= target:
        return points[0][0]
    for (less, low), (more, high) in pairwise(points):
        if high >= target:
            # low < target <= high: the part of the way is in (0, 1].
            part = (target - low) / (high - low)
            return math.exp(math.log(less) + part * (math.log(more) - math.log(less)))
    return None


def modelled(cost: Mapping[str, float]) -> dict[str, float]:
    """Add to what an epoch costs what it would on a machine with a core for every replica.

    Parameters
    ----------
    cost : mapping
        Over all replicas and the rounds of an epoch: ``replica_seconds``, CPU time of the slowest
        replica with a core and its caches to itself; ``turns_seconds``, the same as measured while
        replicas took turns on the cores that there are; ``slowest_to_mean``, how much more of it
        the slowest has than the mean; ``wall_seconds``, merges included. And ``merges`` in an
        epoch, of ``merge_seconds`` each: when each of n cores merges its n-th of the parameters,
        and then copies the new master.
    """
    merging = cost["merges"] * cost["merge_seconds"]
    alone = cost["replica_seconds"] + merging
    turns = cost["turns_seconds"] + merging
    shown = {"modelled_seconds": alone, "turns_modelled_seconds": turns}
    return {**cost, **shown, "merge_share": merging / alone}


def slowest_to_mean(
    work: np.ndarray, replicas: int, merge_every: int | Sequence[int], seed: int = 0
) -> float:
    """Return how much more work the busiest of n replicas has in a round than the mean of them.

    ``work`` is that of each sample, in any unit; ``merge_every`` the samples of each replica in a
    round. Where they change, it is the mean over the training. The rounds are drawn by the seed.
    """
    rng = np.random.default_rng(seed)
    rounds = 200
    ratios = []
    for period in _some_periods(merge_every):
        drawn = rng.choice(work, size=(rounds, replicas, period)).sum(axis=2, dtype=np.float64)
        ratios.append(drawn.max(axis=1).mean() / drawn.mean())
    return float(np.mean(ratios))


def share_touched(X: np.ndarray, merge_every: int | Sequence[int], seed: int = 0) -> float:
    """Return the share of columns that are not all zero in the samples of a replica's round.

    Rounds are as in :func:`slowest_to_mean`.
    """
    rng = np.random.default_rng(seed)
    shares = [
        np.mean([X[rng.integers(len(X), size=period)].any(axis=0).mean() for _ in range(50)])
        for period in _some_periods(merge_every)
    ]
    return float(np.mean(shares))


def _some_periods(merge_every: int | Sequence[int]) -> list[int]:
    """Return some of the periods of a training, or the only one."""
    if isinstance(merge_every, int):
        return [merge_every]
    first, last = merge_every
    return [round(first * (last / first) ** ((k + 0.5) / 8)) for k in range(8)]


def mean_period(merge_every: int | Sequence[int]) -> float:
    """Return the mean of the samples between merges.

    Where they change, they do so geometrically with the samples that went before (not with the
    number of the merge): first g^p at the part p of the training, g = last / first, so that L
    samples have L times the integral of 1 / (first g^p) merges.
    """
    if isinstance(merge_every, int):
        return float(merge_every)
    first, last = merge_every
    growth = last / first
    return float(first) if growth == 1 else first * math.log(growth) / (1 - 1 / growth)


def merges_an_epoch(samples: int, threads: int, merge_every: int | Sequence[int]) -> float:
    """Return about how many merges there are in an epoch."""
    return samples / threads / mean_period(merge_every)


def speed_up(reference: float | None, seconds: float | None) -> float | None:
    """Divide the time of the reference by this time; None where one did not get there."""
    if reference is None or seconds is None:
        return None
    return reference / seconds


def mean_and_sd(runs: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for a single run."""
    found = summarise(runs)
    return round(found["mean"], 6), None if found["sd"] is None else round(found["sd"], 6)
