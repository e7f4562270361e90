"""Resolve "auto" of ``merge_every`` and of the outer optimiser.

Everything follows from numbers that are the same on every machine, and never from a clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from omp_mlp import _core

OUTER_OPTIMIZERS = ("auto", "momentum", "nesterov", "bmuf", "slowmo")

FEW_MERGES = 8
"""With so few merges, outer momentum has no time to pay off, and the last merge is an average."""

# The cost of a merge for one of n workers, each with a core to itself, in multiply-adds of
# training. For each parameter: the worker reads its share of every replica's parameters, and loads
# the master. For each replica: the workers wait for each other, and reads are short. Fitted to
# benchmarks/merging/cost.py, with some 25 multiply-adds a nanosecond.
_MERGE_WORK_A_PARAMETER = 12
_MERGE_WORK_A_REPLICA = 10_000
# A merge should take at most this part of the time between merges, on the mean.
_MERGE_SHARE = 0.1
# But fewer merges than this in a training lose accuracy.
ENOUGH_MERGES = 512
# And a round of fewer samples than this is not worth its merge.
_SHORTEST = 8
# Rounds at the end are so many times longer than at the start, or fewer times if there would be too
# few merges, and a merge takes no longer than the shortest round. Growing rounds need two thirds of
# the merges that rounds of one length need for the same accuracy.
_GROWTH = 16
# Multiply-adds that take as long as to merge one parameter of a replica, which comes from memory.
WORK_OF_A_MERGE = 4.0
# With fewer samples a replica, outer momentum makes more noise than progress.
_ENOUGH_SAMPLES_OF_MOMENTUM = 1024
_LONGEST = 2**62  # samples of a period


# Scoring may take this part of a training, on the mean.
_SCORING_SHARE = 0.1
# In multiply-adds: what a scoring costs besides its forward passes (a copy of the master, calls,
# and softmax or squares in double for each output of a row) ...
_SCORING_WORK = 2_000_000
_SCORING_WORK_AN_OUTPUT = 300
# ... and what all scorings may cost in any case: some hundredths of a second.
_FREE_SCORING_WORK = 400_000_000


def count_parameters(layer_sizes: Sequence[int]) -> int:
    """Return the number of weights and biases."""
    return sum((a + 1) * b for a, b in pairwise(layer_sizes))


def work_a_sample(nonzeros: float, layer_sizes: Sequence[int]) -> float:
    """Return about how many multiply-adds it takes to train on a sample with so many nonzeros.

    A layer takes one for each weight forward, one for the gradient, and one to hand the gradient
    down. The first layer hands nothing down, and its weights of inputs that are zero cost nothing.
    """
    upper = sum(a * b for a, b in pairwise(layer_sizes[1:]))
    return 2.0 * nonzeros * layer_sizes[1] + 3.0 * upper


def validation_period(
    rounds: int,
    *,
    epochs: int,
    rows: int,
    nonzeros: float,
    training_work: float,
    layer_sizes: Sequence[int],
) -> int:
    """Return how many rounds "auto" lets pass from one scoring of ``rows`` samples to the next."""
    if rounds <= max(epochs, 1):
        return 1
    forward = nonzeros * layer_sizes[1] + sum(a * b for a, b in pairwise(layer_sizes[1:]))
    scoring = _SCORING_WORK + rows * (forward + _SCORING_WORK_AN_OUTPUT * layer_sizes[-1])
    allowed = max(_SCORING_SHARE * training_work, _FREE_SCORING_WORK)
    return math.ceil(rounds / max(allowed / scoring, 1.0))


def cheap_period(threads: int, layer_sizes: Sequence[int], work: float) -> float:
    """Return the samples between merges that make a merge cost a tenth of the time between them."""
    parameters = count_parameters(layer_sizes)
    merge = _MERGE_WORK_A_PARAMETER * parameters + _MERGE_WORK_A_REPLICA * threads
    return merge / (_MERGE_SHARE * max(work, 1.0))


def merge_period(
    merge_every: int | tuple[int, int] | str | None,
    *,
    is_periodic: bool,
    threads: int,
    batch_size: int,
    n_samples: int,
    samples_a_replica: int,
    layer_sizes: Sequence[int],
    nonzeros: Callable[[], float],
) -> tuple[int, int]:
    """Return the samples that each replica trains between merges, at the start and at the end.

    ``nonzeros``: counts those of a sample, if the period depends on them.
    """
    whole = max(samples_a_replica, 1)
    if merge_every is None:
        return whole, whole
    if isinstance(merge_every, str):
        if threads > 1 and is_periodic:
            work = work_a_sample(nonzeros(), layer_sizes)
            return growing_period(threads, batch_size, whole, layer_sizes, work)
        period = min(n_samples, whole) if threads == 1 else whole
        return period, period
    if isinstance(merge_every, int):
        _check_period("merge_every", merge_every, batch_size)
        return min(merge_every, whole), min(merge_every, whole)
    for k, period in enumerate(merge_every):
        _check_period(f"merge_every[{k}]", period, batch_size)
    if whole > 2**50:
        raise ValueError(
            "merge_every can grow over up to 2^50 samples a replica; "
            f"this training has {samples_a_replica}"
        )
    return merge_every


def growing_period(
    threads: int, batch_size: int, samples_a_replica: int, layer_sizes: Sequence[int], work: float
) -> tuple[int, int]:
    """Return the first and last of the periods that "auto" merges with."""
    cheap = cheap_period(threads, layer_sizes, work)
    mean = min(cheap, samples_a_replica / ENOUGH_MERGES)
    first = mean / _mean_round(_GROWTH)
    shortest, growth = max(_SHORTEST, batch_size), _GROWTH
    is_slow = WORK_OF_A_MERGE * count_parameters(layer_sizes) > shortest * work
    if first < _SHORTEST and not is_slow:  # too few merges if rounds grew so many times
        while growth > 1 and shortest * _mean_round(growth) > mean:
            growth //= 2
    period = max(round(max(first, shortest) / batch_size), 1) * batch_size
    return period, max(period, min(growth * period, _LONGEST))  # integers of the core hold it


def _mean_round(growth: int) -> float:
    """Return the mean length of rounds that grow so many times, in units of the first."""
    # A training of L samples has L / (first log(growth)) (1 - 1 / growth) of them.
    return math.log(growth) / (1 - 1 / growth) if growth > 1 else 1.0


def _check_period(name: str, period: int, batch_size: int) -> None:
    if period < batch_size:
        raise ValueError(f"{name} must be at least batch_size, {batch_size}; got {period}")


def count_merges(samples_a_replica: int, period: tuple[int, int], batch_size: int) -> int:
    """Return how many merges a training has."""
    if samples_a_replica == 0:
        return 0
    every = _core.Period(first=period[0], last=period[1])
    return _core.count_rounds(length=samples_a_replica, every=every, batch_size=batch_size)


@dataclass(frozen=True)
class OuterStep:
    """The outer step, by u = merged - base and M = momentum M + u.

    master = base + learning_rate M, or, if ``nesterov``, base + learning_rate (u + momentum M).
    ``follows_rate``: momentum is multiplied by the ratio of this round's to the last round's rate.
    """

    learning_rate: float
    momentum: float
    nesterov: bool
    follows_rate: bool

    @property
    def needs_base(self) -> bool:
        """Whether the step does more than take the merged parameters as they are."""
        return self.learning_rate != 1.0 or self.momentum > 0.0


NO_OUTER_STEP = OuterStep(learning_rate=1.0, momentum=0.0, nesterov=False, follows_rate=False)


def outer_step(
    optimizer: str,
    learning_rate: float | str,
    momentum: float | str,
    *,
    is_periodic: bool,
    threads: int,
    merges: int,
    samples_a_replica: int | None,
) -> OuterStep:
    """Resolve "auto" in an outer optimiser and its numbers.

    ``samples_a_replica``: of the whole training; None: they are enough for momentum.
    """
    name = "momentum" if optimizer == "auto" else optimizer
    default_rate, default_momentum = 1.0, 0.0
    if is_periodic and merges > FEW_MERGES and threads > 1:
        default_rate = 0.7 if name == "nesterov" else 1.0
        default_momentum = {
            "momentum": _momentum_of_threads(threads, samples_a_replica),
            "nesterov": 0.9,
            "bmuf": 1.0 - 1.0 / threads,
            "slowmo": 0.7,
        }[name]
    return OuterStep(
        learning_rate=default_rate if isinstance(learning_rate, str) else learning_rate,
        momentum=default_momentum if isinstance(momentum, str) else momentum,
        nesterov=name == "nesterov",
        follows_rate=name == "slowmo",
    )


def _momentum_of_threads(threads: int, samples_a_replica: int | None) -> float:
    has_few = samples_a_replica is not None and samples_a_replica < _ENOUGH_SAMPLES_OF_MOMENTUM
    if threads < 4 or has_few:
        return 0.0
    return 0.3 if threads <= 8 else 0.4 if threads <= 16 else 0.5


@dataclass(frozen=True)
class Merging:
    """When a training merges, and what becomes of what is merged."""

    period: tuple[int, int]  # samples that each replica trains between merges, first and last
    merges: int  # of all replicas; each ends a round
    outer: OuterStep
    ends_in_average: bool
    merges_a_round: int = 1  # with those within ranks; the last one is of all replicas

    def core_fields(self, method: str, method_options: list[Any]) -> dict[str, Any]:
        """Return the fields of the core's options, by their paths, with a method of the core."""
        first, last = self.period
        return {
            "merge.every.first": first,
            "merge.every.last": last,
            "merge.method": _core.merge_method(method),
            "merge.method_options": method_options,
            "merge.last_method": _core.merge_method("average") if self.ends_in_average else None,
            "merge.outer.learning_rate": self.outer.learning_rate,
            "merge.outer.momentum": self.outer.momentum,
            "merge.outer.nesterov": self.outer.nesterov,
            "merge.momentum_follows_rate": self.outer.follows_rate,
        }
