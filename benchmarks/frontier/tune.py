"""The choice of settings, on a validation split; the test samples are not looked at.

For a score: for each problem, line and n the search walks along one axis after the other, from
neighbour to neighbour, for as long as the mean validation score over the seeds rises. It begins at
``start_of``. Twice around, or once where nothing changed. When the batch size moves, the learning
rate moves with it, in proportion, to the next of the grid.

A merge every few samples is always as good, or nearly, as every few more, and costs more; so up to
64 replicas the period is not tried below ``LEAST_PERIOD``.

For the time to a score, on MNIST: for each line and n, the period and the momentum with which
``TIME_SCORES`` are reached soonest; for gradient diversity the batch size and the rate too. Time is
counted in samples of one replica, and a round as ``ROUND_SAMPLES`` more of them: fixed numbers and
not a clock, so that the search finds the same again.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from .arithmetic import budget_to_reach, merges_an_epoch
from .lines import ONCE, PERIODIC, SEQUENTIAL, Line
from .problems import Source
from .settings import (
    AXES,
    LARGE_PERIODS,
    ONE_MERGE,
    Scores,
    Trial,
    nearest,
    nearest_rate,
    packed,
    settings_for,
    start_of,
    trials_of,
)
from .work import Pool, score, training

PURPOSES = ("score", "time")

# Never those of a test.
SEEDS = (1_000, 1_001)
MORE_SEEDS = {
    "digits": tuple(range(1_000, 1_008)),
    "classification": tuple(range(1_000, 1_004)),
    "regression": tuple(range(1_000, 1_004)),
}

# Numbers of replicas that are tuned.
TUNED_THREADS = {"gradient_diversity": (2, 4, 8, 16, 32, 64, 256, 1024)}
SOME_THREADS = (2, 4, 8, 16, 32, 64)
LEAST_PERIOD = 32

TIME_PROBLEM = "mnist"
# Three, since a curve that is nearly level crosses one of them by chance.
TIME_SCORES = (97.8, 97.9, 98.0)
TIME_BUDGETS = (2.0, 3.0, 5.0)
# Enough of them to tell small differences apart.
TIME_SEEDS = tuple(range(1_000, 1_008))
# Learning rates by batch size.
TIME_RATES = {1: (0.02, 0.028, 0.04, 0.056), 8: (0.11, 0.16, 0.22, 0.32), 16: (0.22, 0.32, 0.45)}
FEW_RATES = {1: (0.028, 0.04), 8: (0.22, 0.32), 16: (0.45, 0.64)}
BATCH_RATES = {8: (0.22, 0.32), 16: (0.45, 0.64)}
MANY_RATES = {1: (0.028, 0.04, 0.056), 8: (0.22, 0.32, 0.45)}
LOW_RATES = {1: (0.02, 0.028), 8: (0.16, 0.22)}
# From the first to the second, in equal ratios.
GROWING = ([8, 128], [16, 256], [32, 512])


@dataclass(frozen=True)
class Grid:
    """Settings that are tried with each other; a pair of periods is as in ``GROWING``."""

    rates: Mapping[int, Sequence[float]]
    periods: Sequence[int | list[int]]
    momenta: Sequence[float]


# By the least number of replicas. The updates of two or four agree in so much that there is nothing
# to gain by momentum.
TIME_GRIDS = {
    2: (Grid(FEW_RATES, (256, 512, 1024, 2048), (0.0,)),),
    4: (Grid(FEW_RATES, (128, 256, 512, 1024), (0.0,)),),
    8: (
        Grid(FEW_RATES, (64, 128, 256, 512), (0.0, 0.3)),
        Grid(BATCH_RATES, ([32, 256], [64, 256]), (0.0, 0.3)),
    ),
    16: (
        Grid(FEW_RATES, (64, 128, 256, [16, 256]), (0.3, 0.5)),
        Grid(BATCH_RATES, ([16, 128], [32, 128], [32, 256], [64, 256]), (0.3, 0.5)),
    ),
    32: (
        Grid(MANY_RATES, (32, 64, [8, 128], [16, 128], [16, 256]), (0.3, 0.5)),
        Grid(LOW_RATES, (32, [16, 64], [16, 128], [32, 128]), (0.5, 0.6)),
    ),
}
# Of other lines, which keep the rate and the momentum of the best score.
OTHER_PERIODS: Sequence[int | list[int]] = (64, 128, 256, 512, *GROWING)
# The time of a sample, by batch size, and that of a round beside its samples: what merging takes,
# and what a replica does once a round. From merging/cost.py and from trainings with two workers.
SAMPLE_TIME = {1: 1.0, 8: 0.91, 16: 0.87}
ROUND_SAMPLES = {2: 30, 8: 20, 32: 22, 64: 26}


class Search:
    """Tries settings of one line with n replicas on one problem, and remembers them.

    What an ``earlier`` search tried with as many seeds is not trained again.
    """

    def __init__(
        self,
        pool: Pool,
        source: Source,
        problem: str,
        line: Line,
        threads: int,
        seeds: Sequence[int],
        earlier: Sequence[Trial] = (),
    ) -> None:
        self.pool, self.source, self.problem = pool, source, problem
        self.line, self.threads, self.seeds = line, threads, seeds
        self._trials: dict[str, Trial] = {}
        for options, by_epochs in earlier:
            for epochs, scores in by_epochs.items():
                if len(scores) == len(seeds):
                    self._scores(options)[epochs] = scores

    @property
    def trials(self) -> list[Trial]:
        """What was tried for all budgets, in its order."""
        most = max(len(scores) for _, scores in self._trials.values())
        return [trial for trial in self._trials.values() if len(trial[1]) == most]

    def _scores(self, options: Mapping[str, Any]) -> dict[float | None, Scores]:
        key = json.dumps(options, sort_keys=True)
        return self._trials.setdefault(key, (dict(options), {}))[1]

    def value(self, options: Mapping[str, Any], epochs: float | None = None) -> float:
        """Mean validation score over the seeds, percent; minus infinity if one diverged."""
        known = self._scores(options)
        if epochs not in known:
            job = training(
                self.source, self.problem, self.line, self.threads, options, epochs=epochs,
                held_out=True,
            )  # fmt: skip
            what = f"tuning {self.problem}, {self.line.label}, n = {self.threads}, {options}"
            (found,) = self.pool.of_seeds(score, [job], self.seeds, what)
            known[epochs] = [round(s, 4) if math.isfinite(s) else None for s in found]
        finite = [score for score in known[epochs] if score is not None]
        return statistics.fmean(finite) if len(finite) == len(known[epochs]) else -math.inf

    def walk(self, axes: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
        """Go along each axis while the score rises, twice around."""
        for _ in range(2):
            before = dict(options)
            for axis in axes:
                options = self._along(axis, options)
            if options == before:
                break
        return options

    def _along(self, axis: str, options: dict[str, Any]) -> dict[str, Any]:
        for step in (1, -1):
            moved = False
            while (other := neighbour(axis, options, step, self.threads)) is not None:
                if self.value(other) <= self.value(options):
                    break
                options, moved = other, True
            if moved:
                break
        return options

    def soonest(self, candidates: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """Return the settings that reach ``TIME_SCORES`` soonest; None if none does.

        By the geometric mean of the times to each of them.
        """
        samples = len(self.source.load(self.problem).held_out().X)
        round_samples = ROUND_SAMPLES[nearest(self.threads, ROUND_SAMPLES)]
        costs: list[tuple[float, Mapping[str, Any]]] = []
        for options in candidates:
            scores = [self.value(options, budget) for budget in TIME_BUDGETS]
            reached = [budget_to_reach(TIME_BUDGETS, scores, target) for target in TIME_SCORES]
            if None in reached:
                continue
            epochs = statistics.geometric_mean(e for e in reached if e is not None)
            rounds = 0.0
            if self.threads > 1:
                rounds = merges_an_epoch(samples, self.threads, options["merge_every"])
            sample_time = SAMPLE_TIME[nearest(options["batch_size"], SAMPLE_TIME)]
            cost = epochs * (samples / self.threads * sample_time + rounds * round_samples)
            costs.append((cost, options))
        return dict(min(costs, key=lambda pair: pair[0])[1]) if costs else None


def neighbour(
    axis: str, options: Mapping[str, Any], step: int, threads: int
) -> dict[str, Any] | None:
    """Return the options one step further along an axis; None at its end."""
    values = AXES[axis]
    at = values.index(options[axis]) + step
    if not 0 <= at < len(values):
        return None
    if axis == "merge_every" and values[at] < LEAST_PERIOD and threads not in LARGE_PERIODS:
        return None
    moved = {**options, axis: values[at]}
    if axis == "batch_size":
        rate = options["learning_rate"] * values[at] / options[axis]
        moved["learning_rate"] = nearest_rate(rate)
    return moved


def tune(
    pool: Pool,
    source: Source,
    slugs: Sequence[str],
    names: Sequence[str] | None,
    purposes: Sequence[str],
    threads: Sequence[int] | None,
    save: Callable[[Mapping[str, Any]], None],
    *,
    resume: bool,
) -> dict[str, Any]:
    """Search the settings of these problems, lines, purposes and numbers of replicas (None: all).

    ``save`` is called with what was found so far, whenever there is more of it; with ``resume``,
    what settings.json has scores of is not trained again.

    Returns
    -------
    dict
        ``chosen`` and ``trials``, as ``settings.json`` has them: by purpose ("score" or "time"),
        problem, line and n.
    """
    found: dict[str, Any] = {"chosen": {}, "trials": {}}

    def begin(purpose: str, slug: str, line: Line, n: int, seeds: Sequence[int]) -> Search:
        earlier = trials_of(purpose, slug, line.name, n) if resume else ()
        return Search(pool, source, slug, line, n, seeds, earlier)

    def enter(purpose: str, search: Search, options: Mapping[str, Any]) -> None:
        for part, value in (("chosen", options), ("trials", packed(search.trials))):
            lines = found[part].setdefault(purpose, {}).setdefault(search.problem, {})
            lines.setdefault(search.line.name, {})[str(search.threads)] = value
        save(found)

    for slug in slugs:
        samples = len(source.load(slug).held_out().X)
        for line in (SEQUENTIAL, *PERIODIC, once_line()):
            if names is not None and line.name not in names:
                continue
            for n in threads_of(line, threads):
                if n * 8 > samples or (n > 64 and slug != TIME_PROBLEM):
                    continue
                if "score" in purposes:
                    seeds = MORE_SEEDS.get(slug, SEEDS)[: 1 if n > 64 else None]
                    search = begin("score", slug, line, n, seeds)
                    best = search.walk(*start_of(slug, line.name, n, line.options))
                    if line.name == "gradient_diversity" and n <= 64:
                        # Periods that grow are no neighbours of any other.
                        best = max([best, *growing_candidates(best)], key=search.value)
                    enter("score", search, best)
                else:
                    best = settings_for(slug, line.name, n, line.options)
                timed = slug == TIME_PROBLEM and n <= 64 and (line.timed or line is SEQUENTIAL)
                if timed and "time" in purposes:
                    search = begin("time", slug, line, n, TIME_SEEDS)
                    # None: too slow for the target; then the settings for the score stand.
                    enter("time", search, search.soonest(time_candidates(line, n, best)) or best)
    return found


def time_candidates(line: Line, threads: int, best: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what is tried for the least time, around the settings for the best score."""
    if line is SEQUENTIAL:
        return [{**best, **step} for step in _steps(TIME_RATES)]
    if line.name != "gradient_diversity":
        return [{**best, "merge_every": period} for period in OTHER_PERIODS]
    tried = [
        {**best, **step, "merge_every": period, "outer_momentum": momentum}
        for grid in TIME_GRIDS[max(n for n in TIME_GRIDS if n <= threads)]
        for step, period, momentum in product(_steps(grid.rates), grid.periods, grid.momenta)
        if step["batch_size"] <= (period if isinstance(period, int) else period[0])
    ]
    return [options for k, options in enumerate(tried) if options not in tried[:k]]


def _steps(rates: Mapping[int, Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {"batch_size": batch, "learning_rate": rate} for batch in rates for rate in rates[batch]
    ]


def growing_candidates(best: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return periods that grow, with weak and with stronger momentum."""
    return [
        {**best, "merge_every": pair, "outer_momentum": momentum}
        for pair, momentum in product(GROWING, (0.3, 0.5))
        if pair[0] >= best["batch_size"]
    ]


def once_line() -> Line:
    """Return the line whose settings all methods of one merge share: those of the average."""
    average = next(line for line in ONCE if line.method == "average")
    return replace(average, name=ONE_MERGE, label="one merge")


def threads_of(line: Line, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Return the numbers of replicas that are tuned, all or those that are wanted."""
    tuned = (1,) if line is SEQUENTIAL else TUNED_THREADS.get(line.name, SOME_THREADS)
    return tuple(n for n in tuned if wanted is None or n in wanted)
